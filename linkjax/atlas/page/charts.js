// Small drawings: intervals, obedience, bars. Each says in words what it shows.
"use strict";
(() => {
  const { svg, number } = Atlas;
  const sheet = (width, height, text, ...children) => svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": text, class: "chart" }, ...children);

  /** An effect with its interval on a line around zero. most: what the ends of the line stand for. */
  Atlas.intervalChart = (effect, low, high, most, text) => {
    const width = 110, height = 16, place = (value) => width / 2 + Math.max(-1, Math.min(1, value / most)) * (width / 2 - 4);
    const kind = effect >= 0 ? "up" : "down";
    return sheet(width, height, text,
      svg("line", { x1: width / 2, x2: width / 2, y1: 0, y2: height, class: "axis" }),
      Number.isNaN(low) ? [] : svg("line", { x1: place(low), x2: place(high), y1: height / 2, y2: height / 2, class: `interval ${kind}` }),
      svg("circle", { cx: place(effect), cy: height / 2, r: 4, class: `dot ${kind}` }));
  };

  /** Asked against obtained activation, a line for each anchor, and the diagonal on which a unit would do as asked. */
  Atlas.obedienceChart = (asked, obtained, text) => {
    const [anchors, steps] = obtained.shape, width = 220, height = 160, edge = 8;
    const all = [...asked, ...obtained].filter(Number.isFinite), low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
    const x = (value) => edge + (value - low) / span * (width - 2 * edge), y = (value) => height - edge - (value - low) / span * (height - 2 * edge);
    const lines = Array.from({ length: anchors }, (_, a) => {
      const points = Array.from({ length: steps }, (_, s) => [asked[a * steps + s], obtained[a * steps + s]]).filter((pair) => pair.every(Number.isFinite));
      return svg("polyline", { points: points.map(([p, q]) => `${x(p)},${y(q)}`).join(" "), class: "line" });
    });
    return sheet(width, height, text, svg("line", { x1: x(low), y1: y(low), x2: x(high), y2: y(high), class: "axis dashed" }), ...lines);
  };

  /** A bar from zero, to the right where positive. */
  Atlas.barChart = (value, most, text) => {
    const width = 120, height = 12, length = Math.min(1, Math.abs(value) / most) * (width / 2 - 2);
    return sheet(width, height, text,
      svg("line", { x1: width / 2, x2: width / 2, y1: 0, y2: height, class: "axis" }),
      svg("rect", { x: value >= 0 ? width / 2 : width / 2 - length, y: 2, width: length || 0, height: height - 4, class: value >= 0 ? "bar up" : "bar down" }));
  };

  /** A range and its middle between two ends that all such ranges share. */
  Atlas.rangeChart = (low, middle, high, first, last, text) => {
    const width = 150, height = 12, place = (value) => 4 + (value - first) / (last - first || 1) * (width - 8);
    return sheet(width, height, text,
      svg("line", { x1: place(low), x2: place(high), y1: height / 2, y2: height / 2, class: "interval up" }),
      svg("circle", { cx: place(middle), cy: height / 2, r: 4, class: "dot up" }));
  };

  /** Lines over a common axis: [{name, values, kind}], with the axis' ends named. */
  Atlas.lineChart = (places, lines, low, high, text, middle = null) => {
    const width = 320, height = 140, left = 34, edge = 16;
    const first = places[0], last = places[places.length - 1];
    const x = (value) => left + (value - first) / (last - first || 1) * (width - left - 6), y = (value) => height - edge - (value - low) / (high - low || 1) * (height - edge - 8);
    const made = lines.map(({ values, kind }) => svg("polyline", {
      points: values.map((value, k) => [places[k], value]).filter((pair) => pair.every(Number.isFinite)).map(([p, q]) => `${x(p).toFixed(1)},${y(q).toFixed(1)}`).join(" "), class: `line ${kind}`,
    }));
    const words = [[left - 4, y(low), number(low), "end"], [left - 4, y(high) + 8, number(high), "end"], [left, height - 3, number(first), "start"], [width - 6, height - 3, number(last), "end"]];
    return sheet(width, height, text,
      svg("line", { x1: left, x2: width - 6, y1: y(low), y2: y(low), class: "axis" }),
      middle === null ? [] : svg("line", { x1: x(middle), x2: x(middle), y1: 8, y2: height - edge, class: "axis dashed" }),
      ...made, ...words.map(([at, up, label, anchor]) => svg("text", { x: at, y: up, "text-anchor": anchor, class: "label" }, label)));
  };
})();
