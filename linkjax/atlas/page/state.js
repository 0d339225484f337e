// The whole state of the page is in the address: what is after # can be bookmarked, sent, and gone back to.
"use strict";
(() => {
  const START = { view: "list", unit: null, q: "", e: "", sort: "auto", turned: false, caution: "", class: "", pins: [], pair: "", at: "" };
  const listeners = [];
  Atlas.MOST_PINS = 6;
  Atlas.state = { ...START };

  Atlas.address = (state) => {
    const words = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      if (name === "pins") { if (value.length) words.set("pins", value.join(",")); }
      else if (name === "turned") { if (value) words.set("turned", "1"); }
      else if (value !== START[name] && value !== null && value !== "") words.set(name, value);
    }
    return words.toString().replaceAll("%2C", ",");
  };
  const whole = (text) => /^\d+$/.test(text ?? "") ? Number(text) : null;
  const read = () => {
    let words;
    try { words = new URLSearchParams(location.hash.slice(1)); } catch { words = new URLSearchParams(); }
    const state = { ...START };
    for (const name of ["view", "q", "e", "sort", "caution", "class", "pair", "at"]) if (words.has(name)) state[name] = words.get(name);
    state.turned = words.get("turned") === "1";
    state.unit = whole(words.get("unit"));
    if (state.unit !== null && !words.has("view")) state.view = "unit";
    state.pins = [...new Set((words.get("pins") ?? "").split(",").map(whole).filter((unit) => unit !== null))].slice(0, Atlas.MOST_PINS);
    return state;
  };

  /** Change some of the state. step: leave a step to go back to; else the address is only brought up to date. */
  Atlas.go = (changes, step = false) => {
    const before = Atlas.state;
    Atlas.state = { ...before, ...changes };
    const address = `#${Atlas.address(Atlas.state)}`;
    if (address !== location.hash) history[step ? "pushState" : "replaceState"](null, "", address);
    listeners.forEach((listener) => listener(before));
  };
  Atlas.onState = (listener) => listeners.push(listener);
  Atlas.openUnit = (unit) => Atlas.go({ unit, view: "unit" }, true);
  Atlas.togglePin = (unit) => {
    const { pins } = Atlas.state;
    if (pins.includes(unit)) Atlas.go({ pins: pins.filter((each) => each !== unit) });
    else if (pins.length < Atlas.MOST_PINS) Atlas.go({ pins: [...pins, unit] });
    else Atlas.say(`${Atlas.MOST_PINS} units are pinned already; unpin one first`);
  };
  const follow = () => {
    const before = Atlas.state;
    Atlas.state = read();
    listeners.forEach((listener) => listener(before));
  };
  window.addEventListener("popstate", follow);
  window.addEventListener("hashchange", follow);
  Atlas.readState = () => { Atlas.state = read(); };
})();
