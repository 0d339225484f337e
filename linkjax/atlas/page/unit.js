// One unit's page: pictures, what it does and how sure that is, what it moves beside, its doubles, what is lost without it.
"use strict";
(() => {
  const { el, number } = Atlas;
  const FIRST = 12; // effects shown before "all"
  const BY_PLACE = new Set(["effect", "low", "high", "q", "consistency", "class_effect"]), BY_UNIT = new Set(["doubles", "per_obtained", "examples", "photographs"]);

  /** An array [..., known places] as [..., all places], none where nothing is known. */
  Atlas.atAllPlaces = (array) => {
    const { known, parts, metrics } = Atlas.index, all = parts.length * metrics.length, rows = array.length / known.length;
    const made = new Float32Array(rows * all).fill(NaN);
    for (let row = 0; row < rows; row++) known.forEach((place, k) => { made[row * all + place] = array[row * known.length + k]; });
    return made;
  };

  Atlas.rowOf = (unit) => Atlas.index.row.get(unit);
  /** All that is known of one unit: name → array or list. */
  Atlas.loadUnit = async (row) => {
    const { units_a_shard: size } = Atlas.index, shard = await Atlas.load(`units/${Math.floor(row / size)}`);
    const one = (packed) => Atlas.row(Atlas.unpack(packed), row % size);
    const found = { tests: {} };
    for (const [name, value] of Object.entries(shard)) {
      if (name === "tests") for (const [test, packed] of Object.entries(value)) found.tests[test] = Atlas.atAllPlaces(one(packed));
      else if (BY_PLACE.has(name)) found[name] = Atlas.atAllPlaces(one(value));
      else if (BY_UNIT.has(name)) found[name] = value[row % size];
      else found[name] = value?.d !== undefined ? one(value) : value;
    }
    return found;
  };

  Atlas.unitLink = (unit, remark = "") => {
    const known = Atlas.rowOf(unit) !== undefined;
    if (!known) return el("span", {}, `${Atlas.called(unit)} (not swept)${remark}`);
    return el("span", {}, el("a", { href: `#${Atlas.address({ ...Atlas.state, unit, view: "unit" })}`, onclick: (event) => { if (event.ctrlKey || event.metaKey) return; event.preventDefault(); Atlas.openUnit(unit); } }, Atlas.called(unit)), remark);
  };

  Atlas.viewUnit = async (look) => {
    const { unit } = Atlas.state, row = Atlas.rowOf(unit);
    if (row === undefined) {
      look.replaceChildren(el("h2", {}, unit === null ? "No unit chosen" : Atlas.titled(unit)), el("p", {}, unit === null ? "Choose one in the list: arrows move, Enter opens." : "This unit was not swept in this run."));
      return;
    }
    const head = el("div", { className: "line spread" }, el("h2", {}, Atlas.titled(unit)), el("div", { className: "line" }, pinButton(unit), Atlas.copyButton("Copy Python", () => Atlas.pythonOf([unit]), "the Python lines that give these numbers"), Atlas.copyButton("Copy link", () => location.href, "this page's address")));
    const cautions = Atlas.cautionsOf(row).map((text) => el("p", { className: "notice" }, "⚠ ", text));
    const sentence = el("p", { className: "sentence" }, Atlas.sentence(row));
    look.replaceChildren(head, sentence, ...cautions, pictures(row), Atlas.namesSection(row), el("p", { className: "waits" }, "…"));
    const data = await Atlas.loadUnit(row);
    if (Atlas.state.view !== "unit" || Atlas.state.unit !== unit) return;
    look.lastChild.remove();
    if (!Atlas.index.flag[row]) look.append(effects(row, data), obedience(row, data), await Atlas.otherDirections(row, data));
    look.append(Atlas.examplesOf(row, data), Atlas.photographsOf(row, data), sideEffects(row, data), doubles(row, data), lost(data), raised(data), values(data), Atlas.inOthers(row), Atlas.flipsOf(row));
  };

  const pinButton = (unit) => {
    const pinned = Atlas.state.pins.includes(unit);
    return el("button", { type: "button", "aria-pressed": String(pinned), onclick: () => Atlas.togglePin(unit) }, pinned ? "★ pinned" : "☆ pin (p)");
  };

  /** Strips, a row an anchor, and a slider that puts all of them to one step in a large picture. */
  const pictures = (row) => {
    if (!Atlas.hasPictures(row)) return el("p", { className: "remark" }, Atlas.index.flag[row] ? "No pictures: it was not swept." : "This atlas has no pictures of it.");
    const { samples, steps, tile } = Atlas.index.pictures, last = steps.length - 1, side = Math.max(64, Math.min(tile, 112));
    const room = Atlas.$("look").clientWidth - 32; // all anchors beside each other, where they can
    const large = Math.max(72, Math.min(136, Math.floor(room / samples.length) - 2));
    const big = samples.map((_, anchor) => Atlas.tile(row, anchor, last, large));
    const value = el("output", {}, `step ${steps.length} of ${steps.length}`);
    const show = (at) => { big.forEach((each) => each.show(at)); value.textContent = `step ${at + 1} of ${steps.length}`; slider.value = at; };
    const slider = el("input", { type: "range", min: 0, max: last, step: 1, value: last, "aria-label": `Step of ${Atlas.called(Atlas.index.unit[row])}, from low to high`, oninput: () => show(Number(slider.value)) });
    const strips = samples.map((sample, anchor) => el("div", { className: "strip" },
      el("span", { className: "remark" }, Atlas.className(Atlas.index.labels[sample])),
      el("div", { className: "tiles" }, steps.map((_, at) => {
        const one = Atlas.tile(row, anchor, at, side);
        one.addEventListener("mouseenter", () => show(at));
        return one;
      }))));
    const player = el("div", { className: "player" }, el("div", { className: "tiles" }, big), el("div", { className: "line" }, el("span", { "aria-hidden": "true" }, "low"), slider, el("span", { "aria-hidden": "true" }, "high"), value));
    return el("section", { className: "pictures", "aria-label": "Pictures" }, player, el("div", { className: "strips" }, strips));
  };

  const head = (...names) => el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)));
  const table = (title, columns, rows, note = null) => el("section", {}, el("h3", {}, title), note ? el("p", { className: "remark" }, note) : null,
    rows.length ? el("div", { className: "wide" }, el("table", {}, el("thead", {}, head(...columns)), el("tbody", {}, rows))) : null);
  const cells = (first, ...rest) => el("tr", {}, el("th", { scope: "row" }, first), rest.map((each) => el("td", {}, each)));

  /** Effects, significant and strong ones first; a row chosen shows itself by class. */
  const effects = (row, data) => {
    const { index } = Atlas, count = data.effect.length, spread = index.spread;
    const sd = (place, values = data.effect) => spread[place] > 0 ? values[place] / spread[place] : NaN;
    const sure = (place) => index.tested && data.q[place] <= index.fdr32;
    const places = Array.from({ length: count }, (_, place) => place).filter((place) => !Number.isNaN(data.effect[place]));
    places.sort((a, b) => sure(b) - sure(a) || Math.abs(sd(b) || 0) - Math.abs(sd(a) || 0));
    const scaled = places.some(sure) ? places.filter(sure) : places; // grey ones may go beyond the ends of the line
    const most = Math.max(0.1, ...scaled.slice(0, FIRST).flatMap((place) => [sd(place, data.low), sd(place, data.high), sd(place)].map(Math.abs).filter(Number.isFinite)));
    let shown = FIRST, part = "";
    const body = el("tbody"), classes = el("div", { className: "by-class" });
    const more = el("button", { type: "button", onclick: () => { shown = shown === FIRST ? count : FIRST; fill(); } });
    const choose = el("select", { onchange: () => { part = choose.value; fill(); } }, el("option", { value: "" }, "all parts"), index.parts.map((each) => el("option", { value: each.name }, each.name)));
    const line = (place) => {
      const { part: own, metric, id } = Atlas.placeOf(place), effect = data.effect[place];
      const tests = Object.entries(data.tests).map(([name, values]) => `${name} ${number(values[place])}`).join(", ");
      return el("tr", { className: sure(place) ? "" : "unsure" },
        el("th", { scope: "row" }, el("button", { type: "button", className: "plain", title: `${metric.text}; show it by class`, onclick: () => byClass(place) }, `${own.name} ${metric.name.replaceAll("_", " ")}`)),
        el("td", { className: effect >= 0 ? "up" : "down" }, effect >= 0 ? metric.up : metric.down),
        el("td", {}, number(effect, metric.unit, true)),
        el("td", {}, Atlas.intervalChart(sd(place), sd(place, data.low), sd(place, data.high), most, `${id}: ${Atlas.perSigma(place, effect, data.low[place], data.high[place])}`)),
        el("td", {}, `${number(data.low[place], "", true)} … ${number(data.high[place], "", true)}`),
        el("td", { title: tests }, index.tested ? Atlas.q(data.q[place]).replace("q = ", "") : "not tested"),
        el("td", {}, Number.isNaN(data.consistency[place]) ? "–" : `${number(100 * data.consistency[place])} %`),
        index.obtained ? el("td", { className: "obtained" }, ofObtained(place)) : null);
    };
    const ofObtained = (place) => {
      if (!sure(place)) return "";
      if (data.per_obtained === null) return "moves too little";
      const [, value, low, high] = data.per_obtained.find(([each]) => each === place);
      return `${number(value, Atlas.placeOf(place).metric.unit, true)} (${low === null ? "−∞" : number(low, "", true)} … ${high === null ? "∞" : number(high, "", true)})`;
    };
    const fill = () => {
      const mine = places.filter((place) => !part || Atlas.placeOf(place).part.name === part);
      body.replaceChildren(...mine.slice(0, shown).map(line));
      more.textContent = shown === FIRST ? `All ${mine.length}` : `First ${FIRST}`;
      more.hidden = mine.length <= FIRST;
    };
    const byClass = (place) => {
      if (!data.class_effect) return;
      const width = count, mine = index.classes.map((label, k) => [label, data.class_effect[k * width + place]]).filter(([, value]) => !Number.isNaN(value));
      const most = Math.max(...mine.map(([, value]) => Math.abs(value)));
      classes.replaceChildren(el("h4", {}, `${Atlas.placeOf(place).id} by class, in standard deviations per σ`), el("ul", { className: "bars" },
        mine.sort((a, b) => b[1] - a[1]).map(([label, value]) => el("li", {}, el("span", {}, Atlas.className(label)), Atlas.barChart(value, most, `${Atlas.className(label)}: ${number(value, "", true)}`), el("span", {}, number(value, "", true))))));
    };
    fill();
    if (places.length) byClass(places[0]);
    const sures = places.filter(sure).length;
    return el("section", {}, el("div", { className: "line spread" }, el("h3", {}, "What raising it does"), el("label", {}, "Part ", choose)),
      el("p", { className: "remark" }, index.tested ? `${sures} of ${places.length} effects pass q ≤ ${index.fdr}; the others are grey. Intervals: bootstrap over classes and anchors. Drawn in standard deviations.` : "Nothing was tested: intervals are ± 1.96 standard errors."),
      el("div", { className: "wide" }, el("table", {}, el("thead", {}, head("effect", "", "per σ", "interval", "", "q", "classes agree", ...(index.obtained ? ["per σ obtained"] : []))), body)), more, classes);
  };

  const obedience = (row, data) => el("section", {}, el("h3", {}, "Does it do as asked?"), el("p", {}, Atlas.fidelityText(row)),
    data.obtained ? el("figure", {}, Atlas.obedienceChart(data.asked, data.obtained, `Asked against obtained activation in ${data.obtained.shape[0]} anchors. ${Atlas.fidelityText(row)}`), el("figcaption", { className: "remark" }, "obtained (up) against asked (right), a line an anchor; dashed: as asked")) : null);

  const sideEffects = (row, data) => {
    const rows = [...data.side_unit].map((unit, k) => [unit, data.side[k]]).filter(([unit, value]) => unit >= 0 && Number.isFinite(value) && value !== 0);
    return table("Units it moves beside", ["unit", "change, in its σ, per σ"], rows.map(([unit, value]) => cells(Atlas.unitLink(unit), number(value, "", true))), rows.length ? null : "None is known.");
  };
  /** Units near in what they say; those of its cluster are doubles. */
  const doubles = (row, data) => {
    const { cluster } = Atlas.index.columns, own = cluster?.[row] ?? -1;
    const isDouble = (unit) => { const other = Atlas.rowOf(unit); return own >= 0 && other !== undefined && cluster[other] === own; };
    const near = data.doubles ?? [], some = near.some(([unit]) => isDouble(unit));
    const note = some ? "A double is a unit that the picture can hardly tell from this one (or from its opposite, −): they say the same thing, and are one finding." : near.length ? "No other unit says the same thing; these come nearest." : "No other unit says the same thing, or nearly.";
    return table(some || !near.length ? "Doubles" : "Nearest units", ["unit", "cosine", ""], near.map(([unit, cosine]) => cells(Atlas.unitLink(unit), cosine === null ? "–" : number(cosine, "", true), isDouble(unit) ? "double" : "")), note);
  };

  /** What the classifier loses when the unit is held at zero. */
  const lost = (data) => {
    const { ablation_logit: logit, ablation_accuracy: accuracy, ablated_classes: classes } = data;
    if (!logit) return table("Without it", [], [], "Not known: no ablation in this run.");
    const rows = classes.map((label, k) => [label, logit[k], accuracy[k], logit[classes.length + k]]).filter((each) => Number.isFinite(each[1])).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 6);
    return table("Without it", ["class", "logit, held at 0", "recognised", "logit, held at its mean"], rows.map(([label, change, share, mean]) => cells(Atlas.className(label), number(change, "", true), `${number(100 * share, "", true)} %`, number(mean, "", true))), "Changes when the classifier has to do without the unit; classes that change most.");
  };
  const raised = (data) => {
    const { logit_response: logit } = data;
    if (!logit || !logit.length) return "";
    const order = [...logit.keys()].filter((k) => Number.isFinite(logit[k])).sort((a, b) => logit[b] - logit[a]), some = order.length > 8 ? [...order.slice(0, 4), ...order.slice(-4)] : order;
    const most = Math.max(...some.map((k) => Math.abs(logit[k])));
    return table("Classes it speaks for", ["class", "logit per σ, in the drawn image", ""], some.map((k) => cells(Atlas.className(k), number(logit[k], "", true), Atlas.barChart(logit[k], most, `${Atlas.className(k)} ${number(logit[k], "", true)}`))));
  };

  /** What the unit is in the classes: median, and 10 % to 90 %. */
  const values = (data) => {
    const all = data.activations;
    if (!all) return "";
    const rows = Atlas.index.classes.map((label, k) => [label, all[3 * k], all[3 * k + 1], all[3 * k + 2]]).filter((each) => Number.isFinite(each[2])).sort((a, b) => b[2] - a[2]);
    const some = rows.length > 16 ? [...rows.slice(0, 10), ...rows.slice(-6)] : rows, low = Math.min(...some.map((each) => each[1])), high = Math.max(...some.map((each) => each[3]));
    return table("Its values in the classes", ["class", "median", "10 % … 90 %", ""], some.map(([label, lowest, middle, highest]) => cells(Atlas.className(label), number(middle), `${number(lowest)} … ${number(highest)}`,
      Atlas.rangeChart(lowest, middle, highest, low, high, `${Atlas.className(label)}: median ${number(middle)}`))), rows.length > 16 ? "The 10 highest and 6 lowest classes." : null);
  };
})();
