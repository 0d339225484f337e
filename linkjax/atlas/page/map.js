// Units in the plane by what they do in the image; doubles joined by lines; pictures where there is room for them.
"use strict";
(() => {
  const { el } = Atlas;
  let zoom = 1, middle = [0, 0], current = -1;
  const images = new Map(); // sheets of small pictures

  Atlas.viewMap = (look) => {
    const { index } = Atlas, { places, share } = index.map, count = index.unit.length;
    const rows = [...Array(count).keys()].filter((row) => Number.isFinite(places[2 * row]));
    if (!rows.length) { look.replaceChildren(el("h2", {}, "Map"), el("p", {}, "No unit has measured effects.")); return; }
    const found = new Set(Atlas.found().rows), reach = Math.max(...rows.flatMap((row) => [Math.abs(places[2 * row]), Math.abs(places[2 * row + 1])])) || 1;
    const sure = (row) => index.top.sure[row * index.top.sure.shape[1]] === 1;
    const canvas = el("canvas", { tabIndex: 0, role: "img", "aria-label": `Map of ${rows.length} units by their effects. The list holds the same units; arrows move from unit to unit, Enter opens, + and − zoom.` });
    const told = el("p", { role: "status", "aria-live": "polite", className: "remark" }, "");
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement), color = (name) => style.getPropertyValue(name).trim();
    let width = 0, height = 0;
    const x = (row) => width / 2 + (places[2 * row] - middle[0]) / reach * zoom * (Math.min(width, height) / 2 - 16);
    const y = (row) => height / 2 - (places[2 * row + 1] - middle[1]) / reach * zoom * (Math.min(width, height) / 2 - 16);
    const sheetOf = (url) => {
      if (!images.has(url)) {
        const image = new Image();
        image.onload = () => canvas.isConnected && draw();
        image.src = url;
        images.set(url, image);
      }
      const image = images.get(url);
      return image.complete && image.naturalWidth ? image : null;
    };
    const members = new Map();
    if (index.columns.cluster) rows.forEach((row) => { const name = index.columns.cluster[row]; if (name >= 0) members.set(name, [...(members.get(name) ?? []), row]); });
    const doubles = [...members.values()].filter((each) => each.length > 1);

    const draw = () => {
      const scale = window.devicePixelRatio || 1;
      width = canvas.clientWidth;
      height = canvas.clientHeight;
      canvas.width = width * scale;
      canvas.height = height * scale;
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.clearRect(0, 0, width, height);
      pen.strokeStyle = color("--rule");
      pen.lineWidth = 1;
      for (const each of doubles) for (const row of each.slice(1)) { pen.beginPath(); pen.moveTo(x(each[0]), y(each[0])); pen.lineTo(x(row), y(row)); pen.stroke(); }
      const inView = rows.filter((row) => x(row) > -40 && x(row) < width + 40 && y(row) > -40 && y(row) < height + 40);
      const pictures = index.pictures && inView.length <= Math.max(40, width * height / 6000), side = 44;
      const order = [...inView.filter((row) => !found.has(row)), ...inView.filter((row) => found.has(row))];
      for (const row of order) {
        const [at, up] = [x(row), y(row)], mine = found.has(row);
        pen.globalAlpha = mine ? 1 : 0.22;
        let drawn = false;
        if (pictures && Atlas.hasPictures(row)) {
          const { url, x: left, y: top } = Atlas.smallPlace(row), { tile } = index.pictures.small, sheet = sheetOf(url);
          if (sheet) {
            pen.drawImage(sheet, left + tile, top, tile, tile, at - side / 2, up - side / 2, side, side);
            pen.strokeStyle = sure(row) ? color("--up") : color("--soft");
            pen.lineWidth = 2;
            pen.setLineDash(sure(row) ? [] : [3, 3]);
            pen.strokeRect(at - side / 2, up - side / 2, side, side);
            pen.setLineDash([]);
            drawn = true;
          }
        }
        if (!drawn) {
          pen.beginPath();
          pen.arc(at, up, 4.5, 0, 7);
          pen.lineWidth = 1.5;
          pen.strokeStyle = sure(row) ? color("--up") : color("--soft");
          pen.fillStyle = sure(row) ? color("--up") : color("--ground");
          pen.fill();
          pen.stroke();
        }
      }
      pen.globalAlpha = 1;
      if (current >= 0 && Number.isFinite(places[2 * current])) {
        pen.strokeStyle = color("--down");
        pen.lineWidth = 3;
        pen.beginPath();
        pen.arc(x(current), y(current), pictures ? 34 : 9, 0, 7);
        pen.stroke();
      }
    };
    const tell = () => { told.textContent = current < 0 ? "" : Atlas.sentence(current); };
    const nearest = (left, top) => {
      const away = (row) => (x(row) - left) ** 2 + (y(row) - top) ** 2;
      const best = rows.reduce((a, b) => (away(b) < away(a) ? b : a));
      return away(best) < 900 ? best : -1;
    };
    const zoomBy = (factor, left = width / 2, top = height / 2) => {
      const unit = reach / zoom / (Math.min(width, height) / 2 - 16), next = Math.max(1, Math.min(60, zoom * factor)), after = unit * zoom / next;
      middle = [middle[0] + (left - width / 2) * (unit - after), middle[1] - (top - height / 2) * (unit - after)];
      zoom = next;
      if (zoom === 1) middle = [0, 0];
      draw();
    };
    const move = (dx, dy) => { // to the nearest unit in a direction
      if (current < 0) current = rows[0];
      const ahead = rows.filter((row) => row !== current).map((row) => [row, x(row) - x(current), y(row) - y(current)])
        .filter(([, right, down]) => right * dx + down * dy > Math.abs(right * dy) + Math.abs(down * dx));
      if (ahead.length) [current] = ahead.reduce((a, b) => (Math.hypot(b[1], b[2]) < Math.hypot(a[1], a[2]) ? b : a));
      tell();
      draw();
    };
    let held = null;
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomBy(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { held = { x: event.clientX, y: event.clientY, moved: 0 }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (held) {
        const unit = reach / zoom / (Math.min(width, height) / 2 - 16);
        middle = [middle[0] - (event.clientX - held.x) * unit, middle[1] + (event.clientY - held.y) * unit];
        held = { x: event.clientX, y: event.clientY, moved: held.moved + Math.abs(event.clientX - held.x) + Math.abs(event.clientY - held.y) };
        draw();
      } else {
        const at = nearest(event.offsetX, event.offsetY);
        if (at !== current) { current = at; tell(); draw(); }
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      const clicked = held && held.moved < 5;
      held = null;
      const at = clicked ? nearest(event.offsetX, event.offsetY) : -1;
      if (at >= 0) Atlas.openUnit(index.unit[at]);
    });
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key in moves) move(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") zoomBy(1.5);
      else if (event.key === "-") zoomBy(1 / 1.5);
      else if (event.key === "Enter" && current >= 0) Atlas.openUnit(index.unit[current]);
      else if (event.key === "p" && current >= 0) Atlas.togglePin(index.unit[current]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const button = (text, name, onclick) => el("button", { type: "button", "aria-label": name, onclick }, text);
    const parts = (k) => `${Math.round(100 * share[k])} %`;
    look.replaceChildren(el("div", { className: "line spread" }, el("h2", {}, "Map"), el("div", { className: "line" }, button("+", "Zoom in", () => zoomBy(1.5)), button("−", "Zoom out", () => zoomBy(1 / 1.5)), button("all", "Show all", () => { zoom = 1; middle = [0, 0]; draw(); }))),
      el("p", { className: "remark" }, `Near each other: units that change the image alike (principal components of all effects; these two show ${parts(0)} and ${parts(1)} of the differences). Filled, or in a whole frame: something is sure; a ring, or a dashed frame: nothing. Faint: not among those found. Lines join doubles (${doubles.length} cluster${doubles.length === 1 ? "" : "s"}).`), told, canvas);
    canvas.style.width = "100%";
    canvas.style.height = "max(320px, calc(100vh - 260px))";
    new ResizeObserver(() => canvas.isConnected && draw()).observe(canvas);
  };
})();
