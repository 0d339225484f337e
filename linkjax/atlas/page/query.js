// The query language of `linkjax select` (linkjax/analysis/query.py): the same words, the same answers.
"use strict";
(() => {
  const TOKEN = /\s*(?:(0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?)|([\p{L}\p{Nl}_][\p{L}\p{M}\p{N}\p{Pc}_]*)|(<=|>=|==|!=|[<>().,+\-]))/uy;
  const RESERVED = new Set(["and", "or", "not"]);
  const LONGEST = 2000, LARGEST = 1e30;
  const EXPECTED = "expected comparisons of part.metric, names and numbers, joined by and, or, not";

  class QueryError extends Error {}
  const fail = (text) => { throw new QueryError(text); };

  const tokens = (text) => {
    const found = [];
    TOKEN.lastIndex = 0;
    const end = text.trimEnd().length;
    while (TOKEN.lastIndex < end) {
      const start = TOKEN.lastIndex, match = TOKEN.exec(text);
      if (!match) fail(`${EXPECTED}, such as ear.area > 0, found ‘${text.slice(start).trim().slice(0, 20)}’`);
      if (match[1] !== undefined) found.push({ kind: "number", value: numeral(match[1]) });
      else if (match[2] !== undefined) found.push({ kind: "word", text: match[2].normalize("NFKC") });
      else found.push({ kind: match[3], text: match[3] });
    }
    return found;
  };

  const WHOLE = /^(?:0(?:_?0)*|[1-9](?:_?\d)*|0[xX](?:_?[\da-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+)$/;
  const BROKEN = /^(?:(?:\d(?:_?\d)*)?\.\d(?:_?\d)*|\d(?:_?\d)*\.?)(?:[eE][+-]?\d(?:_?\d)*)?$/;
  const numeral = (text) => {
    if (!WHOLE.test(text) && !(BROKEN.test(text) && /[.eE]/.test(text))) fail(`${EXPECTED}, found ‘${text}’`);
    return Number(text.replaceAll("_", ""));
  };

  /** Text → tree; precedence as in Python: or, and, not, comparisons (chained), signs, names. */
  const read = (text) => {
    const all = tokens(text);
    let at = 0, deep = 0;
    const peek = () => all[at], is = (kind) => all[at]?.kind === kind;
    const word = (name) => all[at]?.kind === "word" && all[at].text === name;
    const unexpected = () => fail(`${EXPECTED}, such as ear.area > 0, found ${peek() ? `‘${peek().text ?? peek().value}’` : "an end"}`);
    const joined = (name, next) => () => {
      const nodes = [next()];
      while (word(name)) { at++; nodes.push(next()); }
      return nodes.length === 1 ? nodes[0] : { kind: name, nodes };
    };
    const negation = () => {
      if (++deep > 300) fail("it is nested too deeply to be read");
      let node;
      if (word("not")) { at++; node = { kind: "not", node: negation() }; }
      else node = comparison();
      deep--;
      return node;
    };
    const comparison = () => {
      const nodes = [sign()], signs = [];
      while (peek() && ["<", "<=", ">", ">=", "==", "!="].includes(peek().kind)) { signs.push(peek().kind); at++; nodes.push(sign()); }
      return signs.length ? { kind: "compare", nodes, signs } : nodes[0];
    };
    const sign = () => {
      if (is("-") || is("+")) {
        if (++deep > 300) fail("it is nested too deeply to be read");
        const minus = is("-");
        at++;
        const node = { kind: minus ? "minus" : "plus", node: sign() };
        deep--;
        return node;
      }
      return primary();
    };
    const primary = () => {
      const token = peek();
      if (!token) unexpected();
      if (token.kind === "number") { at++; return { kind: "number", value: token.value }; }
      if (token.kind === "(") {
        at++;
        const node = either();
        if (!is(")")) unexpected();
        at++;
        return node;
      }
      if (token.kind !== "word" || RESERVED.has(token.text)) unexpected();
      at++;
      if (token.text === "True" || token.text === "False") return { kind: "number", value: Number(token.text === "True") };
      if (is("(")) {
        if (token.text !== "abs") fail(`${EXPECTED}, found ‘${token.text}(’`);
        at++;
        const node = either();
        if (is(",")) at++;
        if (!is(")")) fail("expected abs of one thing");
        at++;
        return { kind: "abs", node };
      }
      if (is(".")) {
        at++;
        const metric = peek();
        if (metric?.kind !== "word") unexpected();
        at++;
        const obtained = is(".") && all[at + 1]?.text === "per_obtained";
        if (obtained) at += 2;
        if (is(".") || is("(")) unexpected();
        return { kind: "effect", part: token.text, metric: metric.text, obtained };
      }
      return { kind: "name", name: token.text };
    };
    const both = joined("and", negation), either = joined("or", both);
    const tree = either();
    if (at < all.length) unexpected();
    return tree;
  };

  /** Levenshtein's distance, for "did you mean". */
  const distance = (a, b) => {
    let row = Array.from({ length: b.length + 1 }, (_, i) => i);
    for (let i = 1; i <= a.length; i++) {
      const next = [i];
      for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
      row = next;
    }
    return row[b.length];
  };
  const hint = (word, known) => {
    const [near] = known.map((each) => [distance(word, each), each]).sort((a, b) => a[0] - b[0]);
    return near && near[0] <= Math.max(2, word.length / 2) ? ` (did you mean ‘${near[1]}’?)` : `: known are ${[...known].sort().join(", ")}`;
  };

  /** Check a tree's words; `top` where something true or false is wanted, else a number. Gathers its effects. */
  const check = (node, known, effects, top) => {
    if ((node.kind === "and" || node.kind === "or") && top) node.nodes.forEach((each) => check(each, known, effects, true));
    else if (node.kind === "not" && top) check(node.node, known, effects, true);
    else if (node.kind === "compare" && top) node.nodes.forEach((each) => check(each, known, effects, false));
    else if (node.kind === "effect") {
      const part = known.parts.indexOf(node.part), metric = known.metrics.indexOf(node.metric);
      if (part < 0) fail(`unknown part ‘${node.part}’${hint(node.part, known.parts)}`);
      if (metric < 0) fail(`unknown metric ‘${node.metric}’${hint(node.metric, known.metrics)}`);
      if (node.obtained && !known.obtained) fail("this selection has no effects per change obtained; make it again with linkjax select");
      node.place = [part, metric];
      if (!effects.some(([p, m]) => p === part && m === metric)) effects.push(node.place);
    } else if (node.kind === "name") {
      if (!known.names.includes(node.name)) {
        fail(`unknown name ‘${node.name}’${known.parts.includes(node.name) ? `; write ${node.name}.metric` : hint(node.name, known.names)}`);
      }
      if (top && !["representative", "caution"].includes(node.name)) fail(`expected ‘${node.name}’ compared with a number, such as ${node.name} > 0.5`);
    } else if (top) fail(`${EXPECTED}, such as ear.area > 0`);
    else if (node.kind === "number") {
      if (!(Math.abs(node.value) < LARGEST)) fail(`expected numbers below ${LARGEST}`);
    } else if (["minus", "plus", "abs"].includes(node.kind)) check(node.node, known, effects, false);
    else fail(`${EXPECTED}, such as ear.area > 0`);
  };

  /** Read a query and check its words. known: identifiers of parts and metrics, names of columns, whether effects per change obtained are there. */
  Atlas.parseQuery = (text, known) => {
    if ([...text].length > LONGEST) fail(`expected at most ${LONGEST} characters, found ${[...text].length}`);
    const effects = [], tree = read(text);
    check(tree, known, effects, true);
    return { text, tree, effects };
  };

  const COMPARE = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    "==": (a, b) => a === b, "!=": (a, b) => a !== b,
  };

  /**
   * Which of `count` units a query holds for.
   * at.effect, .obtained and .significant([part, metric]): arrays by unit; at.column(name): {values, single};
   * at.strong(i): whether a unit moves enough to divide by what it obtains.
   * Precision is that of NumPy: a number written in a query is rounded to float32 where it meets a float32 column.
   */
  Atlas.answerQuery = (query, count, at) => {
    const value = (node) => {
      if (node.kind === "effect" && node.obtained) {
        return { of: at.obtained(node.place), single: true, sure: Uint8Array.from(at.significant(node.place), (sure, i) => sure && at.strong(i) ? 1 : 0) };
      }
      if (node.kind === "effect") return { of: at.effect(node.place), single: true, sure: at.significant(node.place) };
      if (node.kind === "name") { const { values, single } = at.column(node.name); return { of: values, single }; }
      if (node.kind === "number") return { constant: node.value, weak: true };
      const inner = value(node.node);
      const turn = node.kind === "abs" ? Math.abs : node.kind === "minus" ? (x) => -x : (x) => x;
      if (inner.of === undefined) return { constant: turn(inner.constant), weak: false };
      return { of: Array.from(inner.of, turn), single: node.kind === "abs" && inner.single, sure: inner.sure };
    };
    const getter = (word, other) => {
      if (word.of !== undefined) return (i) => Number(word.of[i]);
      const fixed = word.weak && other.single ? Math.fround(word.constant) : word.constant;
      return () => fixed;
    };
    const holds = (node) => {
      const found = new Uint8Array(count);
      if (node.kind === "and" || node.kind === "or") {
        const all = node.nodes.map(holds), every = node.kind === "and";
        for (let i = 0; i < count; i++) found[i] = every ? all.every((each) => each[i]) : all.some((each) => each[i]);
      } else if (node.kind === "not") {
        const inner = holds(node.node);
        for (let i = 0; i < count; i++) found[i] = !inner[i];
      } else if (node.kind === "compare") {
        found.fill(1);
        const words = node.nodes.map(value);
        node.signs.forEach((sign, k) => {
          const left = getter(words[k], words[k + 1]), right = getter(words[k + 1], words[k]), compare = COMPARE[sign];
          for (let i = 0; i < count; i++) if (found[i] && !compare(left(i), right(i))) found[i] = 0;
        });
        for (const word of words) if (word.sure) for (let i = 0; i < count; i++) if (!word.sure[i]) found[i] = 0;
      } else {
        const word = value(node), truth = word.sure ?? word.of;
        for (let i = 0; i < count; i++) found[i] = truth[i] ? 1 : 0;
      }
      return found;
    };
    return holds(query.tree);
  };
  Atlas.QueryError = QueryError;
})();
