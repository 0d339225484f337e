// What can be taken away: CSV, Parquet, a list for --units, Python lines, a PNG of pictures.
"use strict";
(() => {
  const { el, $ } = Atlas;
  const save = (name, content) => {
    const link = el("a", { href: URL.createObjectURL(content), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  Atlas.copy = async (text) => {
    try { await navigator.clipboard.writeText(text); } catch { // pages from disk may not be let
      const area = el("textarea", { className: "unseen", value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    Atlas.say("copied");
  };
  Atlas.copyButton = (name, text, what) => el("button", { type: "button", title: `Copy ${what}`, onclick: () => Atlas.copy(text()) }, name);

  const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  /** The rows found as a table: what is known of each unit, and the chosen effect; [{name, kind, values}]. */
  Atlas.table = () => {
    const { index } = Atlas, { rows, chosen, effect } = Atlas.found(), tops = rows.map((row) => Atlas.topOf(row)[0]);
    const kindOf = (values, name) => index.exact[name] === "bool" ? "bool" : values instanceof Float32Array ? "float" : "int";
    const taken = (name, values, kind = kindOf(values, name)) => ({ name, kind, values: rows.map((row) => values[row]) });
    const place = chosen === null ? null : Atlas.placeOf(chosen);
    return [
      taken("unit", index.unit), ...(index.names ? [taken("name", index.names, "text")] : []), ...Object.entries(index.columns).map(([name, values]) => taken(name, values)), taken("least_q", index.least_q),
      { name: "strongest", kind: "text", values: tops.map((top) => top ? Atlas.placeOf(top.place).id : "") },
      ...["effect", "low", "high", "q"].map((name) => ({ name: `strongest_${name}`, kind: "float", values: tops.map((top) => top ? top[name] : NaN) })),
      ...(place ? ["effect", "low", "high", "q"].map((name) => taken(`${place.id}.${name}`, effect[name], "float")) : []),
    ];
  };
  Atlas.csv = () => {
    const columns = Atlas.table(), text = (value) => value === undefined || Number.isNaN(value) ? "" : quoted(String(value));
    const lines = columns[0].values.map((_, k) => columns.map(({ values }) => text(values[k])).join(","));
    return [columns.map(({ name }) => quoted(name)).join(","), ...lines].join("\n") + "\n";
  };
  /** The units found, or pinned, as `--units` takes them: ranges where numbers follow each other. */
  Atlas.unitList = (units) => {
    const sorted = [...units].sort((a, b) => a - b), parts = [];
    for (let i = 0; i < sorted.length; i++) {
      let j = i;
      while (sorted[j + 1] === sorted[j] + 1) j++;
      parts.push(j > i ? `${sorted[i]}-${sorted[j]}` : String(sorted[i]));
      i = j;
    }
    return parts.join(",");
  };
  const foundUnits = () => Atlas.found().rows.map((row) => Atlas.index.unit[row]);

  /** Sheets of some units below each other, as a PNG. Data addresses do not taint a canvas; files from disk would. */
  Atlas.png = async (units) => {
    const rows = units.map(Atlas.rowOf).filter((row) => row !== undefined && Atlas.hasPictures(row));
    if (!rows.length) return null;
    const { steps, samples, tile } = Atlas.index.pictures, width = steps.length * tile, each = samples.length * tile + 24;
    const canvas = el("canvas", { width, height: rows.length * each }), pen = canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.font = "14px system-ui, sans-serif";
    for (const [place, row] of rows.entries()) {
      const image = new Image();
      image.src = await Atlas.sheet(row);
      await image.decode();
      pen.fillStyle = "#000";
      const [top] = Atlas.topOf(row);
      pen.fillText(`${Atlas.called(Atlas.index.unit[row])}${top?.sure ? `: ${Atlas.change(top.place, top.effect)}` : ""}`, 4, place * each + 17, width - 8);
      pen.drawImage(image, 0, place * each + 24);
    }
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  };

  Atlas.startTake = () => {
    const button = (name, title, onclick) => el("button", { type: "button", title, onclick }, name);
    $("take").replaceChildren(
      button("CSV", "Save the units found as a table", () => save("units.csv", new Blob([Atlas.csv()], { type: "text/csv" }))),
      button("Parquet", "Save the units found as a table with its types", () => save("units.parquet", new Blob(Atlas.parquet(Atlas.table()), { type: "application/vnd.apache.parquet" }))),
      button("--units", "Copy the units found as a list for --units", () => Atlas.copy(Atlas.unitList(foundUnits()))),
      button("PNG", "Save the pictures of the pinned units, or of the first six found", async () => {
        const content = await Atlas.png(Atlas.state.pins.length ? Atlas.state.pins : foundUnits().slice(0, Atlas.MOST_PINS));
        if (content) save("units.png", content); else Atlas.say("there are no pictures of these units");
      }),
      button("Python", "Copy the Python lines that find the same units", () => Atlas.copy(Atlas.pythonOfSearch())));
  };

  const folder = (role) => JSON.stringify(Atlas.index.sources[role]?.path ?? "");
  const opened = (role) => `import linkjax\n\ntable = linkjax.open(${folder(role)})\n`;
  /** Python that gives the numbers of some units. */
  Atlas.pythonOf = (units) => {
    const { tested } = Atlas.index, names = ["effect", ...(tested ? ["low", "high", "q"] : ["effect_se"]), "fidelity"];
    return `${opened(tested ? "selection" : "sweep")}table[${JSON.stringify(names)}].sel(unit=${JSON.stringify([...units])})\n`;
  };
  /** Python that finds what is found here. */
  Atlas.pythonOfSearch = () => {
    const { query, rows } = Atlas.found(), { tested, fdr } = Atlas.index;
    if (query && tested && !Atlas.state.caution) return `${opened("selection")}linkjax.select(table, ${JSON.stringify(query.text.trim())}, fdr=${fdr}).to_dataframe()\n`;
    return Atlas.pythonOf(rows.map((row) => Atlas.index.unit[row]).slice(0, 200));
  };
  /** Python that gives the searches of a pair of classes. */
  Atlas.pythonOfPair = ({ origin, target }) => `${opened("counterfactual")}table.isel(sample=((table.label == ${origin}) & (table.target == ${target})).values)\n`;
})();
