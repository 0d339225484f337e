// The list of units: only the rows in view are elements, so that tens of thousands are no heavier than twenty.
"use strict";
(() => {
  const { el, $, number } = Atlas;
  let found = { rows: [], chosen: null, effect: null }, active = -1, drawn = "";
  const height = () => parseFloat(getComputedStyle($("list")).getPropertyValue("--row"));

  Atlas.found = () => found;
  Atlas.showRows = (result) => {
    const kept = active >= 0 ? found.rows[active] : undefined;
    found = result;
    active = kept === undefined ? -1 : found.rows.indexOf(kept);
    if (active < 0 && found.rows.length) active = 0;
    $("room").style.height = `${found.rows.length * height()}px`;
    $("list").scrollTop = 0;
    if (active > 0) reveal();
    Atlas.drawList();
  };

  const effectLine = (row) => {
    const { effect, chosen } = found;
    if (!effect || Number.isNaN(effect.effect[row])) return null;
    const sure = Atlas.index.tested ? `, ${Atlas.q(effect.q[row])}` : "";
    return el("span", { className: effect.effect[row] >= 0 ? "finding up" : "finding down" },
      `${Atlas.change(chosen, effect.effect[row])} ${Atlas.perSigma(chosen, effect.effect[row], effect.low[row], effect.high[row])}${sure}`);
  };
  const findingLines = (row) => {
    if (Atlas.index.flag[row]) return [el("span", { className: "finding none" }, "not swept")];
    const tops = Atlas.oneOfAlike(Atlas.topOf(row)), sure = tops.filter((each) => each.sure);
    if (Atlas.index.tested && !sure.length) return [el("span", { className: "finding none" }, "nothing known for sure")];
    return (Atlas.index.tested ? sure : tops).slice(0, 3).map(({ place, effect }) =>
      el("span", { className: effect >= 0 ? "finding up" : "finding down" }, `${Atlas.change(place, effect)} ${number(effect, Atlas.placeOf(place).metric.unit, true)}`));
  };

  const option = (place) => {
    const row = found.rows[place], unit = Atlas.index.unit[row], { columns } = Atlas.index;
    const caution = columns.caution?.[row] ?? 0, pinned = Atlas.state.pins.includes(unit);
    const line = effectLine(row);
    const made = el("div", {
      id: `row-${row}`, className: "row", role: "option", "aria-selected": String(place === active), "aria-posinset": place + 1,
      "aria-setsize": found.rows.length,
      onclick: (event) => { active = place; Atlas.openUnit(unit); Atlas.drawList(); },
    },
    Atlas.small(row, 48),
    el("span", { className: "what" },
      el("span", { className: "name" }, Atlas.titled(unit),
        Atlas.nameOf(row) ? el("span", { className: "remark word", title: "what raising it adds, in words" }, `“${Atlas.nameOf(row)}”`) : null,
        caution ? el("span", { className: "mark", title: Atlas.cautionsOf(row).join(" ") }, "⚠ caution") : null,
        columns.fidelity && !Number.isNaN(columns.fidelity[row]) ? el("span", { className: "remark" }, `fidelity ${number(columns.fidelity[row])}`) : null),
      el("span", { className: "findings" }, line ?? findingLines(row))),
    pinned ? el("span", { className: "unseen" }, "pinned") : null,
    // for the mouse; the keyboard has p
    el("span", {
      className: "pin", "aria-hidden": "true", title: pinned ? "Unpin (p)" : "Pin to compare (p)",
      onclick: (event) => { event.stopPropagation(); Atlas.togglePin(unit); },
    }, pinned ? "★" : "☆"));
    if (Atlas.state.unit === unit) made.classList.add("open");
    made.style.transform = `translateY(${place * height()}px)`;
    if (Atlas.hasPictures(row)) hover(made, row);
    return made;
  };

  /** Over a row its small pictures give way to its own sheet, whose steps are played. */
  const hover = (line, row) => {
    const { samples, steps } = Atlas.index.pictures, box = line.firstChild, small = box.style.backgroundImage;
    let tiles = [];
    const play = Atlas.playing(line, () => tiles, steps.length, 0);
    line.addEventListener("mouseenter", async () => {
      try { await Atlas.sheet(row); } catch { return; }
      if (!line.matches(":hover")) return;
      tiles = [0, Math.min(1, samples.length - 1)].map((anchor) => Atlas.tile(row, anchor, 0, 48, false));
      box.replaceChildren(...tiles);
      box.style.backgroundImage = "none";
      play.start();
    });
    line.addEventListener("mouseleave", () => { tiles = []; box.replaceChildren(); box.style.backgroundImage = small; });
  };

  Atlas.drawList = () => {
    const list = $("list"), room = $("room"), one = height();
    const first = Math.max(0, Math.floor(list.scrollTop / one) - 4), last = Math.min(found.rows.length, Math.ceil((list.scrollTop + list.clientHeight) / one) + 4);
    room.replaceChildren(...Array.from({ length: Math.max(0, last - first) }, (_, k) => option(first + k)));
    if (active >= 0 && active >= first && active < last) list.setAttribute("aria-activedescendant", `row-${found.rows[active]}`);
    else list.removeAttribute("aria-activedescendant");
    drawn = `${first}-${last}`;
  };
  const reveal = () => {
    const list = $("list"), one = height(), top = active * one;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + one > list.scrollTop + list.clientHeight) list.scrollTop = top + one - list.clientHeight;
  };
  Atlas.moveActive = (by, to = null) => {
    if (!found.rows.length) return;
    active = Math.max(0, Math.min(found.rows.length - 1, to ?? active + by));
    reveal();
    Atlas.drawList();
  };
  Atlas.activeUnit = () => active >= 0 && found.rows.length ? Atlas.index.unit[found.rows[active]] : null;

  Atlas.startList = () => {
    const list = $("list");
    list.addEventListener("scroll", () => {
      const one = height(), first = Math.max(0, Math.floor(list.scrollTop / one) - 4), last = Math.min(found.rows.length, Math.ceil((list.scrollTop + list.clientHeight) / one) + 4);
      if (`${first}-${last}` !== drawn) Atlas.drawList();
    }, { passive: true });
    new ResizeObserver(() => { $("room").style.height = `${found.rows.length * height()}px`; Atlas.drawList(); }).observe(list);
    list.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const page = Math.max(1, Math.floor(list.clientHeight / height()) - 1);
      const moves = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: page, PageUp: -page };
      if (event.key in moves) Atlas.moveActive(moves[event.key]);
      else if (event.key === "Home") Atlas.moveActive(0, 0);
      else if (event.key === "End") Atlas.moveActive(0, found.rows.length - 1);
      else if (event.key === "Enter" && Atlas.activeUnit() !== null) { Atlas.openUnit(Atlas.activeUnit()); $("look").focus({ preventScroll: true }); }
      else return;
      event.preventDefault();
    });
  };
})();
