// Pictures: small ones of all units from sheets, and each unit's own sheet of anchors × steps.
"use strict";
(() => {
  const { el } = Atlas;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  Atlas.hasPictures = (row) => Atlas.index.pictures !== null && Atlas.index.pictures.has[row] === 1;

  /** Where a unit's small pictures lie: sheet's address and place in pixels of the sheet. */
  Atlas.smallPlace = (row) => {
    const { small } = Atlas.index.pictures, aSheet = small.columns * small.rows, place = row % aSheet;
    return { url: `small/${Math.floor(row / aSheet)}.${small.suffix}`, x: (place % small.columns) * 2 * small.tile, y: Math.floor(place / small.columns) * small.tile };
  };
  /** Two small pictures beside each other: lowest and highest step in the first anchor. */
  Atlas.small = (row, side) => {
    const box = el("span", { className: "small", "aria-hidden": "true" });
    box.style.width = `${2 * side}px`;
    box.style.height = `${side}px`;
    if (!Atlas.hasPictures(row)) return box;
    const { small } = Atlas.index.pictures, { url, x, y } = Atlas.smallPlace(row), zoom = side / small.tile;
    box.style.backgroundImage = `url("${url}")`;
    box.style.backgroundSize = `${2 * small.columns * side}px ${small.rows * side}px`;
    box.style.backgroundPosition = `${-x * zoom}px ${-y * zoom}px`;
    return box;
  };

  /** Pictures in a data file as a data address. */
  Atlas.stored = async (name) => {
    const shard = await Atlas.load(name);
    return `data:${shard.type};base64,${shard.data}`;
  };
  /** A unit's sheet; of: which pictures, those of the run or those along the other directions. */
  Atlas.sheet = (row, of = Atlas.index.pictures) => Atlas.stored(`${of.folder}strips/${Atlas.index.unit[row]}`);

  /** One picture of a sheet, which can be changed: .show(step). */
  Atlas.tile = (row, anchor, step, side, described = true, of = Atlas.index.pictures) => {
    const { steps, samples } = of;
    const box = el("span", described ? { className: "tile", role: "img" } : { className: "tile", "aria-hidden": "true" });
    box.style.width = box.style.height = `${side}px`;
    box.style.backgroundSize = `${steps.length * side}px ${samples.length * side}px`;
    box.show = (at) => {
      box.style.backgroundPosition = `${-at * side}px ${-anchor * side}px`;
      if (described) box.setAttribute("aria-label", Atlas.pictureText(row, anchor, at, of));
    };
    box.show(step);
    Atlas.sheet(row, of).then((url) => { box.style.backgroundImage = `url("${url}")`; }, (error) => Atlas.say(error.message));
    return box;
  };
  Atlas.pictureText = (row, anchor, step, of = Atlas.index.pictures) => {
    const { steps, samples } = of, label = Atlas.index.labels[samples[anchor]], along = of.folder ? `, along ${Atlas.alongWords(Atlas.index.beside.directions)}` : "";
    return `${Atlas.className(label)} with ${Atlas.called(Atlas.index.unit[row])} at step ${step + 1} of ${steps.length}, from low to high${along}`;
  };

  /** Let a tile run through its steps while it is hovered or focused. */
  Atlas.playing = (target, tiles, steps, rest) => {
    let timer = null, at = 0;
    const stop = () => { clearInterval(timer); timer = null; tiles().forEach((tile) => tile.show(rest)); };
    const start = () => {
      if (timer || still.matches) return;
      at = 0;
      const path = [...Array(steps).keys(), ...[...Array(Math.max(0, steps - 2)).keys()].reverse().map((k) => k + 1)];
      timer = setInterval(() => { if (!target.isConnected) return stop(); tiles().forEach((tile) => tile.show(path[at % path.length])); at++; }, 220);
    };
    target.addEventListener("mouseenter", start);
    target.addEventListener("mouseleave", stop);
    return { start, stop };
  };
})();
