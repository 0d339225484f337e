// What all else uses: arrays out of shards, loading, elements, numbers.
"use strict";
window.Atlas = {};
(() => {
  const waiting = new Map(), held = new Map();
  const MOST_HELD = 600; // shards kept in memory; the oldest go

  // Every data file calls this with its name and content.
  window.__shard = (name, payload) => {
    const wanted = waiting.get(name);
    waiting.delete(name);
    if (wanted) wanted(payload);
  };

  /** A data file's content, loaded once: a script beside the page, since a page from disk may not read other files. */
  Atlas.load = (name) => {
    if (held.has(name)) {
      const kept = held.get(name);
      held.delete(name);
      held.set(name, kept);
      return kept;
    }
    const made = new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(name, resolve);
      script.src = `data/${name}.js`;
      script.onload = () => script.remove();
      script.onerror = () => {
        script.remove();
        held.delete(name);
        waiting.delete(name);
        reject(new Error(`${script.src.slice(-60)} is missing; make the atlas again`));
      };
      document.head.append(script);
    });
    held.set(name, made);
    if (held.size > MOST_HELD) held.delete(held.keys().next().value);
    return made;
  };

  const bytes = (text) => {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  };
  const halves = (words) => Float32Array.from(words, (word) => {
    const sign = word & 0x8000 ? -1 : 1, exponent = (word >> 10) & 31, rest = word & 1023;
    if (exponent === 31) return rest ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 25) * (rest + 1024) : 2 ** -24 * rest);
  });

  /** A packed array as a typed array, with its `shape`. */
  Atlas.unpack = (packed) => {
    const { buffer } = bytes(packed.d);
    const kinds = { f4: Float32Array, i4: Int32Array, i2: Int16Array, u1: Uint8Array };
    const array = packed.t === "f2" ? halves(new Uint16Array(buffer)) : new kinds[packed.t](buffer);
    array.shape = packed.s;
    return array;
  };

  /** A row of an array [n, …]: a view, with the shape of what is left. */
  Atlas.row = (array, index) => {
    const shape = array.shape.slice(1), size = shape.reduce((a, b) => a * b, 1);
    const view = array.subarray(index * size, (index + 1) * size);
    view.shape = shape;
    return view;
  };

  /** An element: properties, listeners (onclick: …), attributes (aria-…, data-…, role), children. Text is never HTML. */
  Atlas.el = (tag, given = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name in made && !name.includes("-") && name !== "list" && name !== "role") made[name] = value;
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  };
  Atlas.svg = (tag, given = {}, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
    made.append(...children.flat());
    return made;
  };
  Atlas.$ = (id) => document.getElementById(id);

  const UP = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  /** A number to three digits with its unit and a true minus sign; – where there is none. */
  Atlas.number = (value, unit = "", signed = false) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    let text;
    if (size === Infinity) text = "∞";
    else if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
      const [front, power] = size.toExponential(1).split("e");
      const raised = String(Math.abs(power)).replace(/\d/g, (digit) => UP[digit]);
      text = `${front}×10${power < 0 ? "⁻" : ""}${raised}`;
    } else text = size >= 1000 || Number.isInteger(size) ? String(Math.round(size)) : size.toPrecision(size >= 100 ? 3 : 2 + (size >= 1));
    const sign = value < 0 ? "−" : signed && value > 0 ? "+" : "";
    const named = { pixel: "px", radian: "rad", 1: "", "": "" }[unit] ?? unit;
    return sign + text + (named ? `\u00a0${named}` : "");
  };
  Atlas.q = (value) => {
    if (Number.isNaN(value)) return "not tested";
    const text = Atlas.number(value), { fdr } = Atlas.index;
    // a digit more where two would put it on the wrong side of the threshold
    return value < 0.001 ? "q < 0.001" : `q = ${value > fdr && Number(text) <= fdr ? value.toPrecision(3) : text}`;
  };
})();
