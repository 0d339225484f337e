// Parts × metrics: how many units surely change each; a click asks for them.
"use strict";
(() => {
  const { el } = Atlas;
  Atlas.viewMatrix = (look) => {
    const { index } = Atlas, { parts, metrics, counts } = index, most = Math.max(1, ...counts);
    const rows = parts.map((part, p) => el("tr", {}, el("th", { scope: "row" }, part.name), metrics.map((metric, m) => {
      const count = counts[p * metrics.length + m], id = `${part.id}.${metric.id}`;
      if (!(index.spread[p * metrics.length + m] > 0)) return el("td", { className: "void" });
      const button = el("button", { type: "button", title: `${part.name} ${metric.name}: ${metric.text}`, "aria-label": `${part.name} ${metric.name}: ${count} units`, onclick: () => Atlas.go({ q: index.tested ? id : "", e: id, sort: "auto", turned: false, view: "list" }, true) }, count || "·");
      button.style.setProperty("--share", count ? `${12 + Math.round(48 * Math.sqrt(count / most))}%` : "0%");
      return el("td", {}, button);
    })));
    const units = index.unit.length, dead = index.flag.reduce((sum, each) => sum + (each ? 1 : 0), 0);
    const sure = index.top.sure.filter((_, k) => k % index.top.sure.shape[1] === 0).reduce((a, b) => a + b, 0);
    look.replaceChildren(el("h2", {}, "Which units change what"),
      el("p", {}, index.tested ? `Of ${units} ${index.names ? "readouts" : "units"}, ${sure} surely change something in the image (q ≤ ${index.fdr})${dead ? `; ${dead} were not swept` : ""}. Each number counts the units that surely change this in this part; choose one to see them.` : `${units} units were swept, but no effect was tested: this run has no selection. Choose a cell to sort by its effect.`),
      el("div", { className: "wide" }, el("table", { className: "matrix" }, el("caption", { className: "unseen" }, "Units with a significant effect, by part and metric"),
        el("thead", {}, el("tr", {}, el("td"), metrics.map((metric) => el("th", { scope: "col", title: metric.text }, el("span", {}, metric.name.replaceAll("_", " ")))))), el("tbody", {}, rows))));
  };
})();
