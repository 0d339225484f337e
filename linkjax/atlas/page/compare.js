// Up to six units beside each other: the same step of all, and what they do, line by line.
"use strict";
(() => {
  const { el, number } = Atlas;
  const MOST_LINES = 24;
  Atlas.viewCompare = async (look) => {
    const { pins } = Atlas.state, rows = pins.map(Atlas.rowOf).filter((row) => row !== undefined);
    if (!rows.length) {
      look.replaceChildren(el("h2", {}, "Compare"), el("p", {}, `Pin up to ${Atlas.MOST_PINS} units with ☆ or the key p; they are shown here side by side.`));
      return;
    }
    const data = await Promise.all(rows.map(Atlas.loadUnit)), { index } = Atlas;
    if (Atlas.state.view !== "compare" || Atlas.state.pins.join() !== pins.join()) return;
    const tiles = [], shown = index.pictures && rows.some(Atlas.hasPictures);
    const steps = shown ? index.pictures.steps.length : 1;
    const slider = el("input", { type: "range", min: 0, max: steps - 1, value: steps - 1, "aria-label": "Step of all units, from low to high", oninput: () => tiles.forEach((tile) => tile.show(Number(slider.value))) });
    const heads = rows.map((row) => el("th", { scope: "col" }, Atlas.unitLink(index.unit[row]), " ", el("button", { type: "button", className: "plain", "aria-label": `Unpin ${Atlas.called(index.unit[row])}`, onclick: () => Atlas.togglePin(index.unit[row]) }, "✕")));
    const pictures = shown ? index.pictures.samples.map((sample, anchor) => el("tr", {}, el("th", { scope: "row" }, Atlas.className(index.labels[sample])), rows.map((row) => {
      if (!Atlas.hasPictures(row)) return el("td", {}, "–");
      const tile = Atlas.tile(row, anchor, steps - 1, 96);
      tiles.push(tile);
      return el("td", {}, tile);
    }))) : [];
    const sd = (k, place) => index.spread[place] > 0 ? data[k].effect[place] / index.spread[place] : NaN;
    const sure = (k, place) => index.tested && data[k].q[place] <= index.fdr32;
    const places = [...data[0].effect.keys()].filter((place) => rows.some((_, k) => index.tested ? sure(k, place) : Number.isFinite(sd(k, place))));
    const size = (place) => Math.max(...rows.map((_, k) => (sure(k, place) || !index.tested) ? Math.abs(sd(k, place)) || 0 : 0));
    places.sort((a, b) => size(b) - size(a));
    const lines = places.slice(0, MOST_LINES).map((place) => {
      const { part, metric } = Atlas.placeOf(place);
      return el("tr", {}, el("th", { scope: "row" }, `${part.name} ${metric.name.replaceAll("_", " ")}`), rows.map((_, k) => {
        const effect = data[k].effect[place];
        return el("td", { className: index.tested && !sure(k, place) ? "unsure" : effect >= 0 ? "up" : "down", title: Number.isNaN(effect) ? "" : `${Atlas.perSigma(place, effect, data[k].low[place], data[k].high[place])}, ${Atlas.q(data[k].q[place])}` }, number(effect, metric.unit, true));
      }));
    });
    const numbers = [["fidelity", "fidelity"], ["off_range", "off range"], ["side_effect", "side effect"], ["cluster", "cluster"]].filter(([name]) => index.columns[name]).map(([name, text]) =>
      el("tr", {}, el("th", { scope: "row" }, text), rows.map((row) => el("td", {}, number(index.columns[name][row])))));
    look.replaceChildren(el("div", { className: "line spread" }, el("h2", {}, `Compare ${rows.length} units`), el("div", { className: "line" }, Atlas.copyButton("Copy Python", () => Atlas.pythonOf(pins), "the Python lines that give these numbers"), Atlas.copyButton("Copy --units", () => Atlas.unitList(pins), "the units as a list for --units"))),
      shown ? el("div", { className: "line" }, "low", slider, "high") : "",
      el("div", { className: "wide" }, el("table", { className: "compare" }, el("thead", {}, el("tr", {}, el("td"), heads)), el("tbody", {}, pictures, numbers,
        el("tr", {}, el("th", { scope: "row" }, "in words"), rows.map((row) => el("td", { className: "words" }, Atlas.sentence(row)))), lines))),
      el("p", { className: "remark" }, places.length ? `Effects per σ${index.tested ? `; grey: q > ${index.fdr}` : ""}. ${places.length > MOST_LINES ? `The strongest ${MOST_LINES} of ${places.length}.` : ""}` : "None of them has a significant effect."));
  };
})();
