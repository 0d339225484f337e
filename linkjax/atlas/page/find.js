// From what is asked (text or query, filters, order) to the rows of units, in order.
"use strict";
(() => {
  const SORTS = [
    ["auto", "strongest first", null],
    ["effect", "the chosen effect, raising first", null],
    ["size", "the chosen effect, by size", null],
    ["fidelity", "fidelity", "fidelity"],
    ["q", "least q", "q"],
    ["off_range", "share off range", "off_range"],
    ["caution", "caution", "caution"],
    ["side_effect", "side effect", "side_effect"],
    ["consistency", "consistency over classes", "consistency"],
    ["logit", "logit of the class, raised most", null],
    ["lost", "logit of the class, lost most without", null],
    ["cluster", "cluster of doubles", "cluster"],
    ["unit", "number", "unit"],
  ];
  const RISING = new Set(["q", "unit", "cluster", "off_range", "side_effect", "lost"]); // small ones first
  const texts = [];
  Atlas.sorts = () => SORTS.filter(([name, , column]) => {
    if (name === "logit" || name === "lost") return true;
    return !column || column === "unit" || column === "q" || column in Atlas.index.columns;
  });

  Atlas.known = () => ({
    parts: Atlas.index.parts.map((part) => part.id), metrics: Atlas.index.metrics.map((metric) => metric.id), names: Atlas.index.query_names,
    obtained: Atlas.index.obtained,
  });

  /** Whether a text means to be a query: it compares, or names an effect. */
  Atlas.looksLikeQuery = (text) => /[<>=!()]/.test(text) || /^\s*(not\s+)?(representative|caution)\b/.test(text) ||
    text.split(/\s+/).some((word) => word.includes(".") && Atlas.placeNamed(word) !== null);

  const EFFECT = ["effect", "low", "high", "q", "consistency"];
  const WEAK = 10; // F of the first stage below which effects per change obtained are not reported (linkjax/analysis/units/per_obtained.py)
  const effectShards = new Map();
  /** Effect, interval, q and consistency of all units, of one place. */
  Atlas.loadEffect = async (place) => {
    if (!effectShards.has(place)) {
      const { index } = Atlas, count = index.metrics.length;
      const file = index.known.includes(place) ? Atlas.load(`effects/${Math.floor(place / count)}-${place % count}`) : Promise.resolve(null);
      const made = file.then((shard) => {
        const names = index.obtained ? [...EFFECT, "per_obtained"] : EFFECT;
        const arrays = Object.fromEntries(names.map((name) => [name, shard ? Atlas.unpack(shard[name]) : new Float32Array(index.unit.length).fill(NaN)]));
        const sure = new Uint8Array(arrays.q.length);
        for (let i = 0; i < sure.length; i++) sure[i] = Atlas.index.tested ? arrays.q[i] <= Atlas.index.fdr32 : Number.isFinite(arrays.effect[i]);
        return { ...arrays, sure };
      });
      effectShards.set(place, made);
      made.catch(() => effectShards.delete(place));
    }
    return effectShards.get(place);
  };
  const classShards = new Map();
  Atlas.loadClass = async (label) => {
    if (!classShards.has(label)) {
      classShards.set(label, Atlas.load(`classes/${label}`).then((shard) =>
        Object.fromEntries(Object.entries(shard).map(([name, packed]) => [name, Atlas.unpack(packed)]))));
      classShards.get(label).catch(() => classShards.delete(label));
    }
    return classShards.get(label);
  };

  const column = (name, effects, loaded) => {
    const { index } = Atlas;
    if (name === "unit") return { values: index.unit, single: false };
    if (name === "consistency" && effects.length) {
      const all = effects.map((place) => loaded.get(place).consistency);
      return { values: Float32Array.from(all[0], (_, i) => all.some((each) => Number.isNaN(each[i])) ? NaN : Math.min(...all.map((each) => each[i]))), single: true };
    }
    return { values: index.columns[name], single: index.exact[name] === "float32" };
  };

  /** The rows asked for, in order: {rows, effects (places the query names), problem}. */
  Atlas.find = async (state) => {
    const { index } = Atlas, count = index.unit.length, text = state.q.trim();
    let kept = new Uint8Array(count).fill(1), effects = [], problem = "", query = null, near = null;
    const loaded = new Map();
    if (text && Atlas.looksLikeQuery(text)) {
      try { query = Atlas.parseQuery(text, Atlas.known()); } catch (error) {
        if (!(error instanceof Atlas.QueryError)) throw error;
        problem = error.message;
      }
    }
    effects = query ? query.effects.map(([part, metric]) => part * index.metrics.length + metric) : [];
    const chosen = effects[0] ?? (state.e ? Atlas.placeNamed(state.e) : null);
    const wanted = new Set([...effects, ...(chosen === null ? [] : [chosen])]);
    await Promise.all([...wanted].map(async (place) => loaded.set(place, await Atlas.loadEffect(place))));
    const label = state.class === "" ? null : Number(state.class);
    const ofClass = label !== null && ["logit", "lost"].includes(state.sort) ? await Atlas.loadClass(label).catch(() => ({})) : {};
    if (query) {
      const place = ([part, metric]) => part * index.metrics.length + metric;
      kept = Atlas.answerQuery(query, count, {
        effect: (at) => loaded.get(place(at)).effect,
        obtained: (at) => loaded.get(place(at)).per_obtained,
        strong: (row) => index.columns.first_stage[row] >= WEAK,
        significant: (at) => loaded.get(place(at)).sure,
        column: (name) => column(name, effects, loaded),
      });
    } else if (text && !problem) {
      if (!texts.length) for (let row = 0; row < count; row++) texts.push(Atlas.textOf(row));
      const words = text.toLowerCase().split(/\s+/).map((word) => word.length > 3 ? word.replace(/s$/, "") : word);
      near = Atlas.nearnessTo(text); // of a word of the list also units that have another name, but come near
      for (let row = 0; row < count; row++) kept[row] = Atlas.hasWords(texts[row], words) || (near && near[row] > 0);
    }
    if (state.caution) {
      const caution = index.columns.caution;
      for (let row = 0; row < count; row++) {
        const code = caution ? caution[row] : 0;
        const fits = { none: code === 0 && !index.flag[row], any: code !== 0, dead: index.flag[row] !== 0 }[state.caution];
        if (!fits) kept[row] = 0;
      }
    }
    const rows = [];
    for (let row = 0; row < count; row++) if (kept[row]) rows.push(row);
    const key = near && state.sort === "auto" && chosen === null ? (row) => near[row] : score(state, chosen, loaded, ofClass, query);
    // stable, as NumPy's; what has no value comes last whichever way round
    const turn = state.turned ? -1 : 1;
    rows.sort((a, b) => {
      const x = key(a), y = key(b), none = Number.isNaN(x) - Number.isNaN(y);
      return none || turn * (y - x) || a - b;
    });
    return { rows, chosen, effect: chosen === null ? null : loaded.get(chosen), problem, query, ofClass };
  };

  /** Row → number, largest first. */
  const score = (state, chosen, loaded, ofClass, query) => {
    const { index } = Atlas, { columns } = index;
    const scaled = chosen === null ? null : loaded.get(chosen).effect, spread = index.spread[chosen];
    const inSd = (row) => spread > 0 ? scaled[row] / spread : NaN;
    if (state.sort === "effect" && scaled) return inSd;
    if ((state.sort === "size" || state.sort === "auto") && scaled) return (row) => Math.abs(inSd(row));
    if (state.sort === "unit") return (row) => -index.unit[row];
    if (state.sort === "q") return (row) => scaled ? -loaded.get(chosen).q[row] : -index.least_q[row];
    if (state.sort === "logit") return (row) => ofClass.logit?.[row] ?? NaN;
    if (state.sort === "lost") return (row) => ofClass.lost_logit ? -ofClass.lost_logit[2 * row] : NaN;
    if (state.sort === "side_effect") return (row) => -Math.abs(columns.side_effect[row]);
    if (columns[state.sort]) return (row) => (RISING.has(state.sort) ? -1 : 1) * columns[state.sort][row];
    return (row) => (query ? index.largest : index.strength)[row]; // of a query the order of linkjax.select
  };
})();
