"use strict";
/* What the page does with scripts: it searches, sorts and filters the rows, opens cells, draws
   their pictures when they come into view, and holds models side by side. All text is set as text;
   HTML comes from the page alone. */
(() => {
  const byId = (id) => document.getElementById(id);
  const known = JSON.parse(byId("specs").textContent);
  const darkness = matchMedia("(prefers-color-scheme: dark)");
  const narrowness = matchMedia("(max-width: 700px)");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  document.documentElement.classList.add("scripted");

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function tableOf(headers, rows, caption) {
    const table = element("table");
    table.append(element("caption", caption));
    const head = table.createTHead().insertRow();
    headers.forEach((title) => head.append(element("th", title, { scope: "col" })));
    const body = table.createTBody();
    for (const [first, ...rest] of rows) {
      const row = body.insertRow();
      row.append(element("th", first, { scope: "row" }));
      rest.forEach((cell) => row.append(element("td", cell)));
    }
    const wide = element("div", null, { class: "wide", role: "region", tabindex: "0" });
    wide.setAttribute("aria-label", caption);
    wide.append(table);
    return wide;
  }

  /* Pictures: a spec by its kind, with the data of the picture and the theme of the reader. */

  const theme = () => known.themes[darkness.matches ? "dark" : "light"];
  const shown = (value) => (value === null || value === undefined ? "" : value.toFixed(3));

  function withLines(spec, data) {
    const looks = data.curves.map((curve) => known.looks[curve.of]);
    const labels = data.curves.map((curve) => curve.label);
    const ranges = {
      color: looks.map((look) => theme().palette[look[0]]),
      strokeDash: looks.map((look) => look[1]),
      shape: looks.map((look) => look[2]),
    };
    for (const layer of spec.layer) {
      for (const channel of Object.keys(ranges)) {
        if (!layer.encoding || !layer.encoding[channel]) continue;
        layer.encoding[channel].scale = { domain: labels, range: ranges[channel] };
        if (labels.length < 2) layer.encoding[channel].legend = null;
      }
      if (layer.encoding && layer.encoding.y && layer.encoding.y.field) {
        layer.encoding.y.scale = { domain: data.limits, nice: false, padding: 8 };
      }
    }
    const shift = (nth) => (nth - (labels.length - 1) / 2) * 0.05;
    spec.data.values = data.curves.flatMap((curve, nth) =>
      data.x.map((layer, at) => ({
        label: curve.label, layer, x: layer + shift(nth), mean: curve.mean[at],
        low: curve.low[at], high: curve.high[at], hollow: curve.hollow[at] === "1",
      })).filter((row) => row.mean !== null)
    );
    /* A layer without any row has no extent, of which the library would complain. */
    const some = [spec.data.values.some((row) => row.hollow),
      spec.data.values.some((row) => !row.hollow)];
    if (data.null) {
      spec.layer[0].data = {
        values: data.x.map((x, at) => (
          { x, null_low: data.null[0][at], null_high: data.null[1][at] }
        )).filter((row) => row.null_low !== null),
      };
    }
    spec.layer = spec.layer.filter((layer) => {
      const sifted = layer.transform && layer.transform[0].filter;
      return !sifted || some[sifted === "datum.hollow" ? 0 : 1];
    });
    return spec;
  }

  function withMap(spec, data) {
    const [strong, weak] = theme().written;
    spec.params[0].value = strong;
    spec.params[1].value = weak;
    spec.encoding.x.title = data.x;
    spec.encoding.y.title = data.y;
    if (data.of) spec.layer[0].encoding.color.title = data.of;
    const rows = data.rows.map((row, at) => [String(row), at]);
    if (data.y !== "model") rows.reverse(); /* the first layer lies at the bottom */
    /* Hatched cells are drawn apart from the others: without an order theirs would come last. */
    spec.encoding.x.sort = data.columns.map(String);
    spec.encoding.y.sort = rows.map(([row]) => row);
    spec.data.values = rows.flatMap(([row, at]) =>
      data.columns.map((column, to) => {
        const trivial = Boolean(data.trivial[at]) && data.trivial[at][to] === "1";
        const said = trivial ? "the same in any model" : "not there";
        return { row, column: String(column), value: data.values[at][to], trivial, said };
      })
    );
    return spec;
  }

  function withTraining(spec, data) {
    spec.data.values = data.runs.flatMap((run) =>
      run.step.map((step, at) => (
        { seed: run.seed, step, accuracy: run.accuracy[at], loss: run.loss[at] }
      ))
    );
    if (data.gate !== null) spec.data.values.push({ gate: data.gate });
    spec.vconcat[0].layer[0].encoding.y.title = data.called;
    return spec;
  }

  const fillers = {
    state: withLines, erasing: withLines, curve: withLines,
    map: withMap, grid: withMap, training: withTraining,
  };

  function finished(data, width) {
    const spec = fillers[data.kind](structuredClone(known.specs[data.kind]), data);
    if (spec.vconcat) spec.vconcat.forEach((part) => { part.width = width; });
    else if (!spec.width) spec.width = width;
    const mark = theme().palette[0];
    const config = { ...theme().config, line: { color: mark }, point: { color: mark } };
    return { ...spec, config };
  }

  function rowsBehind(data) {
    if (data.curves) {
      const many = data.curves.length > 1;
      const titles = data.curves.flatMap((curve) => [
        many ? curve.label : "mean", many ? `${curve.label}, interval` : "interval",
      ]);
      if (data.null) titles.push("null");
      const ends = (low, high) => (low === null ? "" : `${shown(low)} to ${shown(high)}`);
      return [["layer", ...titles], data.x.map((layer, at) => [
        layer,
        ...data.curves.flatMap((curve) => [
          shown(curve.mean[at]) + (curve.hollow[at] === "1" ? " (hollow)" : ""),
          ends(curve.low[at], curve.high[at]),
        ]),
        ...(data.null ? [ends(data.null[0][at], data.null[1][at])] : []),
      ])];
    }
    if (data.runs) {
      return [["seed", "step", data.called, "loss"], data.runs.flatMap((run) =>
        run.step.map((step, at) => [
          run.seed, step, shown(run.accuracy[at]), shown(run.loss[at]),
        ])
      )];
    }
    return [[data.y, ...data.columns], data.rows.map((row, at) => [
      row,
      ...data.values[at].map((value, to) => {
        const trivial = data.trivial[at] && data.trivial[at][to] === "1";
        return shown(value) + (trivial ? " (any model)" : "");
      }),
    ])];
  }

  const dataOf = (figure) => JSON.parse(figure.querySelector("script.drawn").textContent);

  function draw(figure) {
    const place = figure.querySelector(".drawing");
    const width = Math.max(220, Math.min(560, figure.clientWidth - 90));
    const options = {
      mode: "vega-lite", renderer: "svg",
      actions: { export: { svg: true, png: false }, source: false, compiled: false, editor: false },
    };
    figure.dataset.state = "drawing";
    return vegaEmbed(place, finished(dataOf(figure), width), options).then(
      (result) => { figure.view = result; figure.dataset.state = "drawn"; },
      (error) => { figure.dataset.state = "failed"; place.textContent = String(error.message); }
    );
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting || entry.target.dataset.state) continue;
      draw(entry.target);
    }
  }, { rootMargin: "200px" });

  function watch(root) {
    for (const figure of root.querySelectorAll("figure.picture")) {
      watcher.observe(figure);
      const behind = figure.querySelector("details.behind");
      if (!behind) continue;
      behind.addEventListener("toggle", () => {
        if (behind.querySelector("table")) return;
        const title = figure.querySelector("figcaption b").textContent;
        behind.append(tableOf(...rowsBehind(dataOf(figure)), title));
      });
    }
  }

  function forget(root) {
    for (const figure of root.querySelectorAll("figure.picture")) {
      watcher.unobserve(figure);
      if (figure.view) figure.view.finalize();
    }
  }

  darkness.addEventListener("change", () => {
    document.querySelectorAll("figure.picture[data-state=drawn]").forEach(draw);
  });

  watch(document);
  const results = byId("results");
  if (!results) {
    document.body.dataset.done = "true";
    return;
  }

  /* Cells: an address with a cell's name opens it, wherever it comes from. */

  const dialog = byId("dialog");
  const inside = dialog.querySelector(".shown");
  let before = null;

  function show(content, label) {
    forget(inside);
    inside.replaceChildren(content);
    dialog.setAttribute("aria-label", label);
    if (!dialog.open) {
      before = document.activeElement;
      dialog.showModal();
    }
    dialog.scrollTop = 0;
    watch(inside);
  }

  function follow() {
    const template = location.hash.startsWith("#cell-") && byId(location.hash.slice(1));
    if (template && template.content) {
      const content = template.content.cloneNode(true);
      show(content, content.querySelector(".cell").dataset.name);
    } else if (dialog.open) dialog.close();
  }

  dialog.addEventListener("close", () => {
    forget(inside);
    inside.replaceChildren();
    const cell = location.hash;
    if (cell.startsWith("#cell-")) {
      history.replaceState(null, "", location.pathname + location.search);
      /* Following a link has taken the focus from it. */
      before = [...document.querySelectorAll("#grid a")].find((link) => link.hash === cell);
    }
    if (before && before.isConnected) before.focus();
  });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  addEventListener("hashchange", follow);

  /* Rows: read from the table that is there, shown by a grid that draws only those in view. */

  const titles = [...results.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = [...results.tBodies[0].rows].map((row, place) => ({
    id: row.dataset.id, row, place, set: row.dataset, words: row.textContent.toLowerCase(),
  }));
  const chosen = new Set();
  const keys = {
    Seeds: (row) => Number(row.set.seeds),
    Score: (row) => (row.set.score === undefined ? -Infinity : Number(row.set.score)),
  };
  const keyOf = (title, nth) => keys[title] || ((row) => row.row.cells[nth].textContent);

  function copied(cell) {
    const made = element("div", null, { class: "copied" });
    made.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
    return made;
  }

  function box(row) {
    const made = element("input", null, {
      type: "checkbox", "aria-label": `Compare ${row.set.name}`,
    });
    made.checked = chosen.has(row.id);
    made.addEventListener("change", () => {
      if (made.checked) chosen.add(row.id); else chosen.delete(row.id);
      tell();
    });
    return made;
  }

  function column(title, nth) {
    const key = keyOf(title, nth);
    return {
      title, field: `of${nth}`, headerSortTristate: true,
      mutator: (value, data) => key(data),
      formatter: (cell) => copied(cell.getData().row.cells[nth]),
      sorter: (a, b) => (typeof a === "number" ? a - b : collator.compare(a, b)),
      minWidth: {
        Score: 165, Model: 150, Verdict: 190, Task: 110, Architecture: 134, Seeds: 84,
      }[title] || 108,
      widthGrow: { Model: 2, Task: 1.5, Verdict: 4, Score: 1 }[title] || 0.5,
      visible: !narrowness.matches || ["Model", "Score", "Verdict"].includes(title),
    };
  }

  const first = {
    title: "", field: "id", headerSort: false, width: 40, hozAlign: "center",
    formatter: (cell) => box(cell.getData()),
    titleFormatter: () => element("span", "Compare", { class: "unseen" }),
  };
  const grid = new Tabulator("#grid", {
    data: rows, index: "id", columns: [first, ...titles.map(column)], layout: "fitColumns",
    height: "min(78vh, 60rem)", placeholder: "No row is left. Show all, or search for less.",
    renderVertical: "virtual", headerSortClickElement: "header",
  });

  const filters = [...document.querySelectorAll("[data-filter]")];
  const search = byId("search");
  const count = byId("count");
  const compareButton = byId("compare");

  function tell() {
    const left = grid.getDataCount("active");
    count.textContent = `${left} of ${rows.length} rows`
      + (chosen.size ? `; ${chosen.size} chosen` : "");
    compareButton.disabled = chosen.size < 2;
  }

  function sift() {
    const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.filter((select) => select.value);
    grid.setFilter((row) =>
      asked.every((word) => row.words.includes(word))
      && wanted.every((select) => row.set[select.dataset.filter] === select.value)
    );
    tell();
  }

  search.addEventListener("input", sift);
  filters.forEach((select) => select.addEventListener("change", sift));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    search.value = "";
    filters.forEach((select) => { select.value = ""; });
    chosen.clear();
    grid.clearSort();
    grid.setData(rows);
    sift();
  });

  /* The keyboard sorts as the mouse does. */
  function reachable() {
    for (const header of document.querySelectorAll("#grid .tabulator-col.tabulator-sortable")) {
      header.tabIndex = 0;
      header.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        header.click();
      });
    }
  }

  grid.on("rowClick", (event, row) => {
    if (event.target.closest("a, input, button, [tabulator-field=id]")) return;
    row.getElement().querySelector(".copied a").click();
  });
  grid.on("tableBuilt", () => {
    reachable();
    tell();
    results.closest(".wide").classList.add("replaced");
    document.body.dataset.done = "true";
    follow();
  });
  grid.on("dataFiltered", (_, active) => { count.dataset.left = active.length; });

  /* Paper gets the rows that are left, in their order, in the table that stands without scripts;
     what is folded up stays so. Where a cell is open, it gets the cell. */
  addEventListener("beforeprint", () => {
    const active = grid.getRows("active").map((row) => row.getData());
    const left = new Set(active.map((row) => row.id));
    rows.forEach(({ id, row }) => { row.hidden = !left.has(id); });
    results.tBodies[0].append(...active.map(({ row }) => row));
    /* A dialog is cut off at one sheet: what it shows is put into the page for as long. */
    if (dialog.open) {
      const paper = element("div", null, { id: "paper" });
      paper.append(inside.cloneNode(true));
      document.body.append(paper);
    }
  });
  addEventListener("afterprint", () => byId("paper")?.remove());

  /* Side by side: numbers that were compared when the page was made. */

  const comparisons = JSON.parse(byId("comparisons").textContent);

  function paired(task, one, other) {
    const found = task.pairs[`${one} ${other}`];
    const names = [one, other].map((id) => task.models[id].name);
    const part = element("section");
    part.append(element("h3", `A: ${names[0]}; B: ${names[1]}`));
    if (!found) {
      part.append(element("p", "They have no seeds in common, or the task has too many models for "
        + "all pairs of them on this page: see `mecheval compare`."));
      return part;
    }
    const lines = found.rows.map(([title, ...rest]) => [task.said[title], ...rest]);
    part.append(tableOf(task.headers, lines, `Differences of ${names.join(" and ")}`));
    const said = element("ul");
    found.said.forEach((nth) => said.append(element("li", task.said[nth])));
    part.append(said);
    return part;
  }

  function beside(task, ids) {
    const part = element("section");
    part.append(element("h2", task.task));
    const cells = ids.map((id) => task.models[id].cells);
    const lines = task.numbers
      .map((title, nth) => [title, ...cells.map((column) => column[nth])])
      .filter(([, ...values]) => values.some(Boolean));
    part.append(tableOf(
      ["Number", ...ids.map((id) => task.models[id].name)], lines, `${task.task}: all numbers`
    ));
    ids.slice(1).forEach((id) => part.append(paired(task, ids[0], id)));
    return part;
  }

  compareButton.addEventListener("click", () => {
    const content = element("article", null, { class: "comparison" });
    content.append(element("h2", "Side by side"));
    let n = 0;
    for (const task of comparisons) {
      const ids = Object.keys(task.models).filter((id) => chosen.has(id));
      if (ids.length < 2) continue;
      content.append(beside(task, ids));
      n += ids.length;
    }
    if (n < chosen.size) {
      content.append(element("p", `${chosen.size - n} of the chosen rows are alone on their task, `
        + "and have nothing to be compared with."));
    }
    show(content, "Models side by side");
  });

  addEventListener("resize", () => grid.redraw());
  narrowness.addEventListener("change", () => {
    titles.forEach((title, nth) => {
      const always = ["Model", "Score", "Verdict"].includes(title);
      if (always || !narrowness.matches) grid.showColumn(`of${nth}`);
      else grid.hideColumn(`of${nth}`);
    });
  });
  globalThis.mecheval = { finished, dataOf };
})();
