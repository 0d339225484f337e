// Beside what raising a unit does: the same unit along the other directions, and the images in which it is highest.
"use strict";
(() => {
  const { el, number } = Atlas;
  const MOST = 10; // effects told
  const LINKED = 12; // units linked
  const rowOf = () => new Map([...Atlas.index.beside.unit].map((unit, k) => [unit, k]));

  /** The unit raised along the kernel where the run raised it along steering directions, or the other way round. */
  Atlas.otherDirections = async (row, data) => {
    const { index } = Atlas, { beside } = index, unit = index.unit[row];
    if (!beside) return "";
    const title = `Along ${Atlas.alongWords(beside.directions)}, beside`;
    if (!rowOf().has(unit)) return el("section", {}, el("h3", {}, title), el("p", { className: "remark" }, `This unit was not raised along ${Atlas.alongWords(beside.directions)}; ${beside.unit.length} units were: `, [...beside.unit.slice(0, LINKED)].flatMap((each, k) => [k ? ", " : "", Atlas.unitLink(each)]), beside.unit.length > LINKED ? ", …" : "."));
    const shard = await Atlas.load(`beside/units/${unit}`), other = { ...shard };
    for (const name of ["effect", "low", "high", "q"]) other[name] = Atlas.atAllPlaces(Atlas.unpack(shard[name]));
    const own = Atlas.alongWords(index.directions), theirs = Atlas.alongWords(beside.directions);
    const sure = (of, tested, fdr, place) => tested && of.q[place] <= Math.fround(fdr);
    const mine = (place) => sure(data, index.tested, index.fdr, place), yours = (place) => sure(other, beside.tested, beside.fdr, place);
    const sd = (of, place) => index.spread[place] > 0 ? Math.abs(of.effect[place] / index.spread[place]) || 0 : 0;
    const size = (place) => Math.max(mine(place) ? sd(data, place) : 0, yours(place) ? sd(other, place) : 0);
    const places = [...index.known].filter((place) => mine(place) || yours(place)).sort((a, b) => size(b) - size(a));
    const cell = (of, place, known, tested) => el("td", { className: known ? of.effect[place] >= 0 ? "up" : "down" : "none", title: `${Atlas.perSigma(place, of.effect[place], of.low[place], of.high[place])}, ${tested ? Atlas.q(of.q[place]) : "not tested"}` },
      `${number(of.effect[place], Atlas.placeOf(place).metric.unit, true)}${known ? "" : ", not sure"}`);
    const lines = places.slice(0, MOST).map((place) => {
      const { part, metric } = Atlas.placeOf(place);
      return el("tr", {}, el("th", { scope: "row" }, `${part.name} ${metric.name.replaceAll("_", " ")}`), cell(data, place, mine(place), index.tested), cell(other, place, yours(place), beside.tested));
    });
    const ownFidelity = index.columns.fidelity?.[row];
    const counts = [mine, yours].map((each) => places.filter(each).length);
    return el("section", { className: "beside" }, el("h3", {}, title),
      el("p", {}, `Asked to rise by 1, it rises by ${number(ownFidelity)} along ${own}, and by ${number(other.fidelity)} along ${theirs}; ${counts[0]} effects pass along the first, ${counts[1]} along the second.`),
      strips(row),
      lines.length ? el("div", { className: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, ["effect per σ asked", own, theirs].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, lines))) : null,
      places.length > MOST ? el("p", { className: "remark" }, `The strongest ${MOST} of ${places.length} that pass along either.`) : null);
  };
  /** The first anchor's strip along both, under each other. */
  const strips = (row) => {
    const { pictures, beside } = Atlas.index;
    if (!beside.pictures || !Atlas.hasPictures(row)) return null;
    const strip = (of, words) => el("div", { className: "strip" }, el("span", { className: "remark" }, words), el("div", { className: "tiles" }, of.steps.map((_, at) => Atlas.tile(row, 0, at, Math.min(of.tile, 80), true, of))));
    return el("div", { className: "strips" }, strip(pictures, `along ${Atlas.alongWords(Atlas.index.directions)}`), strip(beside.pictures, `along ${Atlas.alongWords(beside.directions)}`));
  };

  const KINDS = ["shared", "private", "undecided", "dead"];
  /** What is known of a unit's partners in other classifiers: [{name, kind, partner, agreement, low, high, mutual}]. */
  Atlas.partnersOf = (row) => Object.entries(Atlas.index.compared ?? {}).map(([name, of]) => ({
    name, kind: KINDS[of.kind[row]], partner: of.partner[row], agreement: of.agreement[row], low: of.low[row], high: of.high[row], mutual: of.mutual[row] === 1, used: of.used?.[row],
  }));
  /** What share of the classifier's own moves to other classes the unit makes, where counterfactuals were compared. */
  const usedWords = (row) => {
    const used = Atlas.partnersOf(row)[0]?.used;
    return Number.isFinite(used) ? ` It makes ${number(100 * used)} % of this classifier’s moves to other classes, of their squared length in r.` : "";
  };
  Atlas.inOthers = (row) => {
    if (!Atlas.index.compared) return "";
    const lines = Atlas.partnersOf(row).map(({ name, kind, partner, agreement, low, high, mutual }) => el("tr", { className: kind === "shared" ? "" : "unsure" },
      el("th", { scope: "row" }, name), el("td", {}, partner < 0 ? "–" : `unit ${partner}`), el("td", {}, number(agreement, "", true)), el("td", {}, `${number(low, "", true)} … ${number(high, "", true)}`), el("td", {}, kind), el("td", {}, mutual ? "yes" : "no")));
    return el("section", { className: "others" }, el("h3", {}, "In other classifiers"),
      el("p", { className: "remark" }, "The unit of each that moves with it most, within classes, on the same samples. Shared: it surely agrees, and above chance; private: surely no single unit does; undecided: neither is sure.", usedWords(row)),
      el("div", { className: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, ["classifier", "its unit", "correlation", "interval", "", "each the other’s"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, lines))));
  };

  /** A row of stored pictures: [name, words, what is told below it] each. */
  const tiles = (shard, { tile, most }, shown) => {
    const side = Math.max(64, Math.min(tile, 80)), box = el("div", { className: "tiles film" });
    if (shown.length) Atlas.stored(shard).then((url) => box.replaceChildren(...shown.map(([label, ...below], k) => {
      const one = el("span", { className: "tile", role: "img", "aria-label": label });
      one.style.width = one.style.height = `${side}px`;
      one.style.backgroundImage = `url("${url}")`;
      one.style.backgroundSize = `${most * side}px ${side}px`;
      one.style.backgroundPosition = `${-k * side}px 0`;
      return el("figure", {}, one, el("figcaption", { className: "remark" }, below.flatMap((each, at) => (at ? [el("br"), each] : [each]))));
    })), (error) => Atlas.say(error.message));
    return box;
  };
  /** Samples of the pairs in which the unit is highest, drawn again. */
  Atlas.examplesOf = (row, data) => {
    const about = Atlas.index.examples, unit = Atlas.index.unit[row];
    if (!about) return "";
    const shown = (data.examples ?? []).map(([label, value]) => [`${Atlas.className(label)}, in which ${Atlas.called(unit)} is ${number(value)}`, Atlas.className(label), number(value)]);
    return el("section", {}, el("h3", {}, "Images in which it is highest"), el("p", { className: "remark" }, shown.length ? "Samples of the pairs, drawn again, with its activation in them. It says what the unit answers to; what raising it changes is above." : "It is the same in all samples of the pairs."), tiles(`examples/${unit}`, about, shown));
  };
  /** Photographs in which it is highest. */
  Atlas.photographsOf = (row, data) => {
    const about = Atlas.index.photographs, unit = Atlas.index.unit[row];
    if (!about) return "";
    const shown = (data.photographs ?? []).map(([name, value, seen]) => {
      const as = seen === null ? null : about.seen[seen] ?? Atlas.className(seen);
      return [`Photograph ${name}${as ? `, seen as ${as}` : ""}, in which ${Atlas.called(unit)} is ${number(value)}`, name, ...(as ? [`seen as ${as}`] : []), number(value)];
    });
    return el("section", { className: "photographs" }, el("h3", {}, "Photographs in which it is highest"), el("p", { className: "remark" }, shown.length ? "Of the photographs encoded, with its activation in them; the middle of each." : "It is the same in all photographs."), tiles(`photographs/${unit}`, about, shown));
  };
})();
