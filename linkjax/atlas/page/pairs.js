// Counterfactuals: pairs of classes, what lies between them, and the units that recur on the way.
"use strict";
(() => {
  const { el, number } = Atlas;
  const name = (label) => Atlas.index.flips.class_names[label] ?? Atlas.className(label);
  const title = ({ origin, target }) => `${name(origin)} → ${name(target)}`;
  const tried = (row) => `${row.flipped} of ${row.tried}`;

  /** The pairs in which a unit recurs more often than chance would have it. */
  Atlas.flipsOf = (row) => {
    const { flips } = Atlas.index;
    if (!flips) return "";
    const unit = Atlas.index.unit[row], mine = flips.units.filter((each) => each[0] === unit).sort((a, b) => b[3] - a[3]);
    const lines = mine.slice(0, 12).map(([, pair, method, count, q]) => {
      const found = flips.rows.find((each) => each.pair === pair && each.method === method);
      return el("li", {}, link(found, title(found)), ` (${flips.methods[method].replaceAll("_", " ")}): among the units that change most in ${count} of ${found.flipped} searches, ${Atlas.q(q)}`);
    });
    return el("section", {}, el("h3", {}, "Counterfactuals it takes part in"), lines.length ? el("ul", {}, lines) : el("p", {}, "It is no transition unit of any pair of classes here."));
  };
  const link = (row, text) => el("a", { href: `#${Atlas.address({ ...Atlas.state, view: "pairs", pair: String(row.pair) })}`, onclick: (event) => { if (event.ctrlKey || event.metaKey) return; event.preventDefault(); Atlas.go({ view: "pairs", pair: String(row.pair) }, true); } }, text);

  Atlas.viewPairs = async (look) => {
    const { flips } = Atlas.index;
    if (!flips) { look.replaceChildren(el("h2", {}, "Class pairs"), el("p", {}, "This run has no counterfactuals.")); return; }
    const chosen = flips.rows.filter((row) => String(row.pair) === Atlas.state.pair);
    if (chosen.length) return onePair(look, chosen);
    const walked = flips.rows.some((row) => "flip" in row);
    const columns = ["pair", "method", "flipped", "distance in r", ...(walked ? ["flips at t", "width of the boundary"] : [])];
    look.replaceChildren(el("h2", {}, "Class pairs"), el("p", { className: "remark" }, "Searches for the change of r that makes the drawn image another class; medians over those that flipped."),
      el("div", { className: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, columns.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, flips.rows.map((row) => el("tr", {},
        el("th", { scope: "row" }, link(row, title(row))), el("td", {}, flips.methods[row.method].replaceAll("_", " ")), el("td", {}, tried(row)), el("td", {}, number(row.distance)),
        walked ? [el("td", {}, number(row.flip)), el("td", {}, number(row.width))] : []))))));
  };

  const onePair = async (look, rows) => {
    const { flips, pictures } = Atlas.index, [first] = rows, wanted = Atlas.state.pair;
    const data = await Atlas.load(`pairs/${first.pair}`);
    if (Atlas.state.pair !== wanted || Atlas.state.view !== "pairs") return;
    const back = rows.length && flips.rows.find((row) => row.origin === first.target && row.target === first.origin);
    look.replaceChildren(el("div", { className: "line spread" }, el("h2", {}, title(first)), el("div", { className: "line" }, el("button", { type: "button", onclick: () => Atlas.go({ pair: "" }, true) }, "all pairs"),
      back ? el("button", { type: "button", onclick: () => Atlas.go({ pair: String(back.pair) }, true) }, "the other way") : null, Atlas.copyButton("Copy Python", () => Atlas.pythonOfPair(first), "the Python lines that give these searches"))));
    if (data.film && pictures) look.append(film(first, data.film, pictures));
    for (const row of rows) {
      const own = data.methods[row.method];
      look.append(el("h3", {}, flips.methods[row.method].replaceAll("_", " ")), el("p", {}, `${tried(row)} searches flipped the drawn image${row.flipped ? `, at a median distance of ${number(row.distance)} in r` : ""}${row.flip === undefined || row.flip === null ? "." : `; the class changes at t = ${number(row.flip)} of the way, over a width of ${number(row.width)}.`}`));
      if (own) look.append(boundary(own, row), units(own), parts(own));
    }
  };
  const film = (row, { method, t, origin, target }, { tile }) => {
    const box = el("div", { className: "tiles film" });
    Atlas.load(`films/${row.pair}`).then((shard) => box.replaceChildren(...t.map((at, k) => {
      const frame = el("span", { className: "tile", role: "img", "aria-label": `t = ${number(at)}: probability of ${name(row.origin)} ${number(origin[k])}, of ${name(row.target)} ${number(target[k])}` });
      const side = Math.max(72, Math.min(tile, 104));
      frame.style.width = frame.style.height = `${side}px`;
      frame.style.backgroundImage = `url("data:${shard.type};base64,${shard.data}")`;
      frame.style.backgroundSize = `${t.length * side}px ${side}px`;
      frame.style.backgroundPosition = `${-k * side}px 0`;
      return el("figure", {}, frame, el("figcaption", { className: "remark" }, `t = ${number(at)}`, el("br"), `p = ${number(target[k])}`));
    })), (error) => Atlas.say(error.message));
    return el("section", {}, el("h3", {}, "One path"), el("p", { className: "remark" }, `A search of median length (${Atlas.index.flips.methods[method].replaceAll("_", " ")}): t = 0 is the sample as the link draws it, 1 the counterfactual, beyond it the far side; p is the probability of ${name(row.target)}.`), box);
  };
  const boundary = (own, row) => {
    const distance = [...Atlas.unpack(own.distance)], values = (which) => [...Atlas.unpack(own.profile[which])];
    const median = values("median");
    if (!median.some(Number.isFinite)) return "";
    return el("figure", {}, Atlas.lineChart(distance, [{ values: values("low"), kind: "down" }, { values: median, kind: "" }, { values: values("high"), kind: "down" }], 0, 1,
      `Probability of ${name(row.target)} along the paths, from ${number(median.find(Number.isFinite))} to ${number(median.findLast(Number.isFinite))}, aligned where each flips`, 0),
    el("figcaption", { className: "remark" }, `probability of ${name(row.target)} at a distance in r from the flip; median, and dashed 10 % and 90 % of the paths`));
  };
  const table = (text, columns, lines) => el("section", {}, el("h4", {}, text), lines.length ? el("div", { className: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, columns.map((each) => el("th", { scope: "col" }, each)))), el("tbody", {}, lines))) : el("p", {}, "None is known."));
  const units = (own) => table("Units that change most", ["unit", "searches", "more often than chance"], own.units.slice(0, 10).map(([unit, count, q]) => el("tr", { className: q !== null && q <= Atlas.index.flips.fdr ? "" : "unsure" },
    el("th", { scope: "row" }, Atlas.unitLink(unit)), el("td", {}, count), el("td", {}, q === null ? "–" : Atlas.q(q)))));
  const parts = (own) => table("What changes in the image", ["part", "metric", "mean change", "standard error", "searches"], own.parts.map(([part, metric, mean, error, count]) => el("tr", {},
    el("th", { scope: "row" }, part), el("td", {}, metric.replaceAll("_", " ") + (metric === "area" ? " (log ratio)" : "")), el("td", { className: mean >= 0 ? "up" : "down" }, number(mean, "", true)), el("td", {}, number(error)), el("td", {}, count))));
})();
