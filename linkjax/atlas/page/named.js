// Words for units: what raising one adds to pictures, what is seen in those in which it is high, and whether that agrees.
"use strict";
(() => {
  const { el, number } = Atlas;
  const VERDICTS = [
    "", "", "",
    "Both say the same: it answers to what raising it adds.",
    "The two disagree: it answers to one thing, and raising it adds another. Look at both kinds of pictures.",
  ];
  const quoted = (word) => `“${word}”`;
  const q = (value) => Number.isNaN(value) ? "not tested" : value < 0.001 ? "q < 0.001" : `q = ${number(value)}`;

  /** The words of a unit: `at` 0 what raising it adds, 1 what lowering it adds; null where there is no name. */
  const nameOf = (row, at, part = 0) => {
    const { named } = Atlas.index, count = named.parts.length, place = (2 * row + at) * count + part, word = named.name[place];
    return word < 0 ? null : { word: named.words[word], q: named.q[place], clarity: named.clarity[row * count + part] };
  };
  const nearest = (row, at, part = 0) => {
    const { named } = Atlas.index, place = (2 * row + at) * named.parts.length + part;
    return { word: named.words[named.nearest[place]], q: named.q[place] };
  };

  /** A unit's name for lists, or "" where it has none. */
  Atlas.nameOf = (row) => (Atlas.index.named && !Atlas.index.flag[row] ? nameOf(row, 0)?.word ?? "" : "");

  /** The words that are the names of most units. */
  Atlas.commonNames = (most) => {
    if (!Atlas.index.named) return [];
    const counts = new Map();
    Atlas.index.unit.forEach((_, row) => { const word = Atlas.nameOf(row); if (word) counts.set(word, (counts.get(word) ?? 0) + 1); });
    return [...counts].sort((a, b) => b[1] - a[1]).slice(0, most).map(([word]) => word);
  };

  /** What free text is looked for in beside findings: a unit's names, lower case. */
  Atlas.namesOf = (row) => {
    const { named } = Atlas.index;
    if (!named || Atlas.index.flag[row]) return [];
    const words = named.parts.flatMap((_, part) => [nameOf(row, 0, part)?.word]).filter(Boolean);
    if (named.seen && named.seen[row] >= 0) words.push(named.words[named.seen[row]]);
    return words.map((word) => ` ${word} named`.toLowerCase());
  };

  /** How near units are to a word of the list that a text means, by row; null where it means none. */
  Atlas.nearnessTo = (text) => {
    const { named } = Atlas.index, wanted = text.trim().toLowerCase();
    if (!named || !wanted) return null;
    const at = named.words.findIndex((word) => word.toLowerCase() === wanted);
    if (at < 0) return null;
    const width = named.near.shape[1], found = new Float32Array(Atlas.index.unit.length).fill(NaN);
    for (let row = 0; row < found.length; row++) {
      if (Atlas.index.flag[row]) continue;
      for (let k = row * width; k < (row + 1) * width; k++) if (named.near[k] === at) found[row] = named.cosine[k];
    }
    return found;
  };

  /** The section of a unit's page. */
  Atlas.namesSection = (row) => {
    const { named } = Atlas.index;
    if (!named || Atlas.index.flag[row]) return "";
    const ends = [["Raising it adds", 0], ["Lowering it adds", 1]].map(([does, at]) => {
      const name = nameOf(row, at);
      if (name) return el("li", {}, `${does} `, el("strong", {}, quoted(name.word)), ` (${q(name.q)}).`);
      if (!named.rises[row]) return at ? null : el("li", { className: "unsure" }, "No name by raising it: it does not surely rise by half of what it is asked to, so what changes is not known to be its own.");
      const near = nearest(row, at);
      return el("li", { className: "unsure" }, `${does}: no name; the nearest word, ${quoted(near.word)}, is no nearer than random directions come to theirs (${q(near.q)}).`);
    });
    const listed = ends.filter(Boolean), clarity = named.clarity[row * named.parts.length];
    if (Number.isFinite(clarity)) listed.push(el("li", {}, `From anchor to anchor the change is ${clarity > 0.5 ? "much the same" : clarity > 0.2 ? "the same in part" : "another"} (mean cosine ${number(clarity)}).`));
    if (named.seen) {
      const seen = named.seen[row];
      listed.push(seen >= 0 ? el("li", {}, "In the pictures in which it is highest: ", el("strong", {}, quoted(named.words[seen])), ` (${q(named.seen_q[row])}).`)
        : el("li", { className: "unsure" }, "The pictures in which it is highest have no name."));
      const said = VERDICTS[named.verdict[row]];
      if (said) listed.push(el("li", {}, said));
    }
    named.parts.slice(1).forEach((part, k) => {
      const name = nameOf(row, 0, k + 1);
      listed.push(name ? el("li", {}, `The ${part} alone: `, el("strong", {}, quoted(name.word)), ` (${q(name.q)}).`) : el("li", { className: "unsure" }, `The ${part} alone: no name.`));
    });
    const width = named.near.shape[1], near = [...named.near.subarray(row * width, (row + 1) * width)].map((word, k) => `${named.words[word]} ${number(named.cosine[row * width + k])}`);
    return el("section", { className: "named" }, el("h3", {}, "In words"), el("ul", {}, listed),
      el("p", { className: "remark" }, `Nearest of ${named.words.length} words, by cosine: ${near.join(", ")}. Held against ${named.random_directions} random directions and mixtures of them; the embedder knows what it was trained on, and no more.`));
  };
})();
