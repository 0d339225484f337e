// How to use the page, and where its numbers come from.
"use strict";
(() => {
  const { el } = Atlas;
  const KEYS = [["/", "to the search"], ["↑ ↓ or k j", "move in the list"], ["Enter", "open the unit"], ["p", "pin or unpin"], ["m", "matrix of parts and metrics"], ["g", "map of units"], ["c", "compare what is pinned"], ["x", "class pairs"], ["Esc", "back to the list"], ["?", "this page"]];
  const terms = () => [
    ["σ", "one standard deviation of the unit's activation over the training pairs: effects are per σ."],
    ["effect", "mean slope of a measurement on the unit's value over anchors, in the measurement's own unit, with its bootstrap interval over classes and anchors."],
    ["per σ obtained", "the same effect where the unit really rises by one σ in the drawn image, not where it was asked to; not reported where it moves too little. In a query: ear.area.per_obtained."],
    ["q", `expected share of false discoveries if this effect and all surer ones of the same measurement are believed; significant here: q ≤ ${Atlas.index.fdr}.`],
    ["fidelity", "how far the unit's activation rises in the drawn image where it was asked to rise by 1; 1 is as asked."],
    ["off range", "share of the values asked that the class never shows in training."],
    ["side effect", "change of the other unit that changes most, in its own σ."],
    ["doubles", "units that the picture can hardly tell apart: of which w says the same, or its opposite."],
    ["name", "the word of a list towards which pictures move when the unit is raised, by an image–text embedder, where it is nearer than random directions come to theirs; “no name” else. A word of the list in the search finds units by nearness to it."],
    ["map", "units near each other change the image alike: principal components of their effects. Small pictures when zoomed."],
  ];
  Atlas.viewGuide = (look) => {
    const { sources } = Atlas.index, list = (pairs) => el("dl", {}, pairs.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
    const names = Atlas.known();
    look.replaceChildren(el("h2", {}, "Guide"),
      el("p", {}, "Words look for findings (“ear larger”), numbers for units (“#42”). A query compares effects and numbers: "), el("p", {}, el("code", {}, `${names.parts[Math.min(1, names.parts.length - 1)]}.${names.metrics[0]} > 0 and fidelity > 0.5`), ". A comparison of an effect holds only where the effect is significant. Also: ", el("code", {}, "and, or, not, ( ), abs( ), < <= > >= == !="), "."),
      el("h3", {}, "Parts"), el("p", {}, el("code", {}, names.parts.join(", "))), el("h3", {}, "Metrics"), list(Atlas.index.metrics.map((metric) => [metric.id, `${metric.text}${metric.unit && metric.unit !== "1" ? ` (${metric.unit})` : ""}`])),
      el("h3", {}, "Numbers of a unit"), el("p", {}, el("code", {}, names.names.join(", "))),
      el("h3", {}, "Terms"), list(terms()), el("h3", {}, "Keys"), list(KEYS),
      el("h3", {}, "Made from"), list(Object.entries(sources).map(([role, source]) => [role, `${source.path} (${source.id.slice(0, 12)})`])));
  };
})();
