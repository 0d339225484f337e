// Numbers to words: findings, sentences, cautions. All that the page says in words is made here.
"use strict";
(() => {
  const { number } = Atlas;
  const CAUTIONS = [
    "",
    "Most values asked of it are ones its class never shows in training: what is drawn may look like nothing.",
    "It surely does not do as asked: its activation follows less than half, or more than one and a half times.",
  ];

  /** A place's part, metric, and name in queries. */
  Atlas.placeOf = (place) => {
    const { index } = Atlas, count = index.metrics.length;
    const part = index.parts[Math.floor(place / count)], metric = index.metrics[place % count];
    return { part, metric, id: `${part.id}.${metric.id}`, place };
  };
  Atlas.placeNamed = (id) => {
    const [part, metric] = id.split(".");
    const { index } = Atlas, p = index.parts.findIndex((each) => each.id === part), m = index.metrics.findIndex((each) => each.id === metric);
    return p < 0 || m < 0 ? null : p * index.metrics.length + m;
  };
  Atlas.change = (place, effect) => {
    const { part, metric } = Atlas.placeOf(place);
    return `${part.name}: ${effect >= 0 ? metric.up : metric.down}`;
  };
  Atlas.perSigma = (place, effect, low, high) => {
    const { unit } = Atlas.placeOf(place).metric;
    const between = Number.isNaN(low) ? "" : `, ${number(low, "", true)} … ${number(high, "", true)}`;
    return `${number(effect, unit, true)} per σ${between}`;
  };

  /** The strongest findings of a unit, significant ones first. */
  Atlas.topOf = (row) => {
    const { top } = Atlas.index, width = top.place.shape[1], found = [];
    for (let k = row * width; k < (row + 1) * width; k++) {
      found.push({ place: top.place[k], sure: top.sure[k] === 1, effect: top.effect[k], low: top.low[k], high: top.high[k], q: top.q[k] });
    }
    return found.filter((each) => !Number.isNaN(each.effect));
  };

  /** The first of those that say nearly the same of a part, as area and share of the area do. */
  Atlas.oneOfAlike = (tops) => {
    const said = new Set();
    return tops.filter(({ place }) => {
      const { part, metric } = Atlas.placeOf(place), group = `${part.id} ${metric.alike}`;
      return !said.has(group) && said.add(group);
    });
  };

  const made = (place, effect) => {
    const { part, metric } = Atlas.placeOf(place);
    return `the ${part.name} ${effect >= 0 ? metric.up : metric.down}`;
  };
  const clause = ({ place, effect, low, high, q }) =>
    `${made(place, effect)} (${Atlas.perSigma(place, effect, low, high)}, ${Atlas.q(q)})`;

  /** A unit in a sentence or two, made from its numbers alone. */
  Atlas.sentence = (row) => {
    const unit = Atlas.index.unit[row], called = Atlas.called(unit);
    if (Atlas.index.flag[row]) return `${Atlas.titled(unit)} was not swept: it hardly varies, or no direction raises it. Nothing is known of it.`;
    const all = Atlas.oneOfAlike(Atlas.topOf(row)), sure = all.filter((each) => each.sure);
    if (!Atlas.index.tested) {
      return all.length
        ? `Nothing was tested in this run (there is no selection). The largest effects of raising ${called}: ${all.slice(0, 3).map(clause).join("; ")}.`
        : `Nothing is known of ${called}.`;
    }
    if (!sure.length) {
      const most = all[0] ? ` The largest effect seen may be chance: ${clause(all[0])}.` : "";
      return `Nothing is known for sure of what ${called} does to the image: no effect passes q ≤ ${Atlas.index.fdr}.${most}`;
    }
    return `Raising ${called} makes ${sure.slice(0, 3).map(clause).join("; ")}${sure.length > 3 ? "; and more" : ""}.`;
  };

  /** How far the unit itself goes where it was asked to, in words. */
  Atlas.fidelityText = (row) => {
    const { columns } = Atlas.index, value = columns.fidelity?.[row], error = columns.fidelity_se?.[row];
    if (value === undefined || Number.isNaN(value)) return "Whether it does as asked was not measured.";
    const between = error === undefined || Number.isNaN(error) ? "" : ` (95 %: ${number(value - 1.96 * error)} … ${number(value + 1.96 * error)})`;
    return `Asked to rise by 1, it rises by ${number(value)}${between} in the drawn image.`;
  };

  Atlas.cautionsOf = (row) => {
    const code = Atlas.index.columns.caution?.[row] ?? 0, off = Atlas.index.columns.off_range?.[row], texts = [];
    if (code & 1) texts.push(`${CAUTIONS[1]} (${Math.round(100 * off)} % of them)`);
    if (code & 2) texts.push(CAUTIONS[2]);
    return texts;
  };
  /** What a unit is called, in the middle of a sentence and at its beginning: by number, a readout by its name. */
  Atlas.called = (unit) => Atlas.index.names ? Atlas.index.names[Atlas.rowOf(unit)] ?? `readout ${unit}` : `unit ${unit}`;
  Atlas.titled = (unit) => Atlas.index.names ? Atlas.called(unit) : `Unit ${unit}`;
  Atlas.alongWords = (directions) => ({ steer: "steering directions", own: "their own part of these", local: "each sample’s own directions", kernel: "the link’s kernel" })[directions] ?? directions;
  Atlas.className = (label) => Atlas.index.class_names[label] ?? `class ${label}`;

  /** What free text is looked for in: what is true of the unit as a whole, and each of its findings. Lower case. */
  Atlas.textOf = (row) => {
    const { index } = Atlas, { first, code } = index.findings, whole = [`unit ${index.unit[row]}`, ...(index.names ? [index.names[row]] : [])], sure = [...code.subarray(first[row], first[row + 1])];
    if (index.flag[row]) whole.push("dead not swept");
    else if (!sure.length) whole.push("nothing known");
    const caution = index.columns.caution?.[row] ?? 0;
    if (caution & 1) whole.push("caution off range");
    if (caution & 2) whole.push("caution disobedient");
    whole.push(...Atlas.partnersOf(row).map(({ kind, name }) => `${kind} ${name}`));
    const findings = sure.map((each) => {
      const { part, metric, id } = Atlas.placeOf(each >> 1);
      return ` ${part.name} ${each & 1 ? metric.up : metric.down} ${metric.name} ${id}`.toLowerCase();
    });
    return { unit: index.unit[row], whole: ` ${whole.join(" ")}`.toLowerCase(), findings: [...findings, ...Atlas.namesOf(row)] };
  };

  /** Whether one finding, with what is true of the whole unit, has all the words; a number is the unit's own. */
  Atlas.hasWords = ({ unit, whole, findings }, words) => {
    const missing = words.filter((word) => /^#?\d+$/.test(word) ? Number(word.replace("#", "")) !== unit : !whole.includes(` ${word}`));
    return !missing.length || findings.some((finding) => missing.every((word) => finding.includes(` ${word}`)));
  };
})();
