// Start, keys, and what is shown when the state changes.
"use strict";
(() => {
  const { $, el } = Atlas;
  const VIEWS = [["matrix", "Matrix", "viewMatrix"], ["map", "Map", "viewMap"], ["unit", "Unit", "viewUnit"], ["compare", "Compare", "viewCompare"], ["pairs", "Class pairs", "viewPairs"], ["guide", "Guide", "viewGuide"]];
  const KEYS = { m: "matrix", g: "map", u: "unit", c: "compare", x: "pairs", "?": "guide" };
  let asked = 0, saying = null;

  /** Tell the reader something for a moment. */
  Atlas.say = (text) => {
    $("foot").textContent = text;
    clearTimeout(saying);
    saying = setTimeout(foot, 4000);
  };
  const foot = () => {
    const { sources } = Atlas.index;
    $("foot").textContent = `${Atlas.index.unit.length} ${Atlas.index.names ? "readouts" : "units"} · made from ${Object.keys(sources).join(", ")}`;
  };

  const options = (select, pairs) => select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
  const fillForm = () => {
    const { index } = Atlas;
    options($("part"), [["", "–"], ...index.parts.map((part) => [part.id, part.name])]);
    options($("metric"), [["", "–"], ...index.metrics.map((metric) => [metric.id, metric.name.replaceAll("_", " ")])]);
    options($("sort"), Atlas.sorts());
    options($("caution"), [["", "all units"], ["none", "without caution"], ["any", "with caution"], ["dead", "not swept"]]);
    options($("class"), [["", "–"], ...Object.entries(index.class_names)]);
    $("words").replaceChildren(...Atlas.suggestions().map((value) => el("option", { value })));
  };
  Atlas.suggestions = () => {
    const { index } = Atlas, { counts, metrics } = index;
    const best = [...counts.keys()].filter((place) => counts[place]).sort((a, b) => counts[b] - counts[a]).slice(0, 12);
    return [...best.map((place) => `${Atlas.placeOf(place).id} > 0`), ...Atlas.commonNames(12)];
  };
  const shownInForm = () => {
    const state = Atlas.state;
    if ($("text").value !== state.q) $("text").value = state.q;
    const [part, metric] = state.e.split(".");
    $("part").value = part ?? "";
    $("metric").value = metric ?? "";
    for (const name of ["sort", "caution", "class"]) $(name).value = state[name];
    $("turn").textContent = state.turned ? "↑" : "↓";
    $("turn").setAttribute("aria-pressed", String(state.turned));
  };

  const listens = () => {
    $("text").addEventListener("input", () => Atlas.go({ q: $("text").value }));
    $("search").addEventListener("submit", (event) => { event.preventDefault(); $("list").focus(); });
    const effect = () => {
      const { index } = Atlas, part = $("part").value || index.parts[0].id, metric = $("metric").value || index.metrics[0].id;
      const sort = ["effect", "size", "auto"].includes(Atlas.state.sort) ? Atlas.state.sort : "auto";
      Atlas.go({ e: $("part").value || $("metric").value ? `${part}.${metric}` : "", sort });
    };
    $("part").addEventListener("change", effect);
    $("metric").addEventListener("change", effect);
    for (const name of ["sort", "caution", "class"]) $(name).addEventListener("change", () => {
      const changes = { [name]: $(name).value };
      if (name === "class" && changes.class !== "" && !["logit", "lost"].includes(Atlas.state.sort)) changes.sort = "logit";
      if (name === "class" && changes.class === "" && ["logit", "lost"].includes(Atlas.state.sort)) changes.sort = "auto";
      Atlas.go(changes);
    });
    $("turn").addEventListener("click", () => Atlas.go({ turned: !Atlas.state.turned }));
    $("skip").addEventListener("click", (event) => { event.preventDefault(); $("list").focus(); });
    document.addEventListener("keydown", keys);
  };
  const keys = (event) => {
    const typing = event.target.closest("input[type=search], textarea, select");
    if (event.key === "Escape") { event.preventDefault(); if (narrow()) Atlas.go({ view: "list" }); $("list").focus(); return; }
    if (typing) {
      if (event.target.id === "text" && event.key === "ArrowDown" && !event.target.value) { event.preventDefault(); $("list").focus(); }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); if (narrow()) Atlas.go({ view: "list" }); $("text").focus(); $("text").select(); }
    else if (event.key === "p") {
      const unit = $("list").contains(document.activeElement) ? Atlas.activeUnit() : Atlas.state.view === "unit" ? Atlas.state.unit : Atlas.activeUnit();
      if (unit !== null) Atlas.togglePin(unit);
    } else if (event.key in KEYS) Atlas.go({ view: KEYS[event.key] }, true);
  };
  const narrow = () => window.matchMedia("(max-width: 800px)").matches;

  const menu = () => {
    const { view, pins } = Atlas.state, shown = [...(narrow() ? [["list", "Units"]] : []), ...VIEWS];
    $("views").replaceChildren(...shown.filter(([name]) => name !== "pairs" || Atlas.index.flips).map(([name, text]) => el("button", {
      type: "button", "aria-current": name === view || (view === "list" && name === "matrix" && !narrow()) ? "page" : null, onclick: () => { Atlas.go({ view: name }, true); },
    }, name === "compare" && pins.length ? `${text} (${pins.length})` : text)));
  };

  /** Find again and show; only what changed. */
  const update = async (before) => {
    const state = Atlas.state;
    shownInForm();
    menu();
    document.body.dataset.view = state.view;
    const searched = ["q", "e", "sort", "turned", "caution", "class"].some((name) => state[name] !== before?.[name]) || !before;
    if (searched) {
      const mine = ++asked, start = performance.now();
      let result;
      try { result = await Atlas.find(state); } catch (error) { Atlas.say(error.message); return; }
      if (mine !== asked) return;
      $("problem").hidden = !result.problem;
      $("problem").textContent = result.problem ? `Query: ${result.problem}` : "";
      $("text").setAttribute("aria-invalid", String(Boolean(result.problem)));
      if (!result.problem) {
        $("count").textContent = `${result.rows.length} of ${Atlas.index.unit.length} ${Atlas.index.names ? "readouts" : "units"}`;
        Atlas.showRows(result);
      }
      Atlas.lastSearch = performance.now() - start;
    } else Atlas.drawList();
    const looked = ["view", "unit", "pair"].some((name) => state[name] !== before?.[name]) || !before ||
      (state.pins.join() !== before.pins.join() && ["compare", "unit"].includes(state.view)) || (searched && state.view === "map");
    if (looked) await look(state, before);
  };
  const look = async (state, before) => {
    const [, name, view] = VIEWS.find(([each]) => each === state.view) ?? VIEWS[0];
    document.title = state.view === "unit" && state.unit !== null ? `${Atlas.titled(state.unit)} · ${Atlas.index.title}` : `${name} · ${Atlas.index.title}`;
    try { await Atlas[view]($("look"), before); } catch (error) { Atlas.say(error.message); throw error; }
    if (before && (state.view !== before.view || state.unit !== before.unit)) $("look").scrollTop = 0;
  };

  const start = async () => {
    const index = await Atlas.load("index");
    const open = (value) => value !== null && typeof value === "object" && value.d !== undefined ? Atlas.unpack(value)
      : value !== null && typeof value === "object" && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, open(each)])) : value;
    Atlas.index = open(index);
    Atlas.index.fdr32 = Math.fround(index.fdr);
    Atlas.index.row = new Map([...Atlas.index.unit].map((unit, row) => [unit, row]));
    $("title").textContent = index.title;
    fillForm();
    foot();
    Atlas.startList();
    Atlas.startTake();
    Atlas.readState();
    listens();
    Atlas.onState(update);
    window.matchMedia("(max-width: 800px)").addEventListener("change", () => { menu(); Atlas.drawList(); });
    await update(null);
    Atlas.ready = performance.now();
    document.body.dataset.ready = "1";
  };
  start().catch((error) => { $("foot").textContent = error.message; throw error; });
})();
