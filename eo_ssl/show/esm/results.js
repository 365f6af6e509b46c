// Everything measured, as a table: sort by a heading, filter by task, labels, start and name.
const CELL = "padding:3px 6px;border-bottom:1px solid #e3e7ec;white-space:nowrap;";
const share = (f) => `${+(100 * f).toPrecision(3)}%`;
const plain = (s) => s.toLowerCase().replace(/[^a-z0-9+]+/g, " ");

// One strip on an axis that all rows of a task share: interval, seeds as dots, mean as a bar.
function strip(row, span) {
  const x = (v) => 4 + 132 * (v - span[0]) / (span[1] - span[0] || 1);
  const seeds = row.values.map((v) => `<circle cx="${x(v)}" cy="9" r="2.2" fill="none" stroke="${FAINT}"/>`).join("");
  const own = line(x(row.low), 9, x(row.high), 9, `stroke="${S2}" stroke-width="3"`) + seeds + line(x(row.mean), 3, x(row.mean), 15, `stroke="${INK}" stroke-width="2"`);
  return `<svg viewBox="0 0 140 18" width="120" height="18" aria-hidden="true">${line(4, 9, 136, 9)}${own}</svg>`;
}

function render({ rows, tasks, note }, el) {
  const columns = [ // key, name, what it is sorted by
    ["label", "method", (r) => r.label],
    ["task", "task", (r) => tasks.findIndex((t) => t[0] === r.task)],
    ["fraction", "labels", (r) => r.fraction],
    ["seeds", "seeds", (r) => r.seeds],
    ["mean", "score, %", (r) => r.mean],
    ["width", "interval, points", (r) => r.high - r.low],
  ];
  const state = { task: tasks[0][0], fraction: "all", start: "all", text: "", sort: columns[4], down: true };
  const spans = Object.fromEntries(tasks.map(([task]) => {
    const own = rows.filter((r) => r.task === task), all = own.flatMap((r) => [r.low, r.high, ...r.values]);
    return [task, [Math.min(...all), Math.max(...all)]];
  }));
  const root = frame(el, "Explorer: everything measured");
  if (note) node("p", { style: "margin:0 0 8px;font-weight:600;color:#8a4b00" }, root, note);
  const controls = box(root, `${ROW}gap:6px 16px;margin-bottom:8px`);
  const fractions = [...new Set(rows.map((r) => r.fraction))].sort((a, b) => a - b);
  const filter = (key, name, options) => select(controls, name, options, (v) => { state[key] = v; draw(); });
  filter("task", "task", [...tasks, ["all", "all tasks"]]);
  filter("fraction", "labels", [["all", "any share"], ...fractions.map((f) => [String(f), share(f)])]);
  filter("start", "start", [["all", "any"], ...[...new Set(rows.map((r) => r.start))].map((s) => [s, s])]);
  const search = node("label", { style: "display:flex;gap:6px;align-items:center" }, controls);
  node("span", { style: `color:${FAINT}` }, search, "method contains");
  const input = node("input", { type: "search", "aria-label": "method contains", style: "font:inherit;padding:2px 4px;width:110px" }, search);
  input.addEventListener("input", () => { state.text = plain(input.value); draw(); });
  const words = status(root, `margin:0 0 6px;color:${FAINT}`);
  const pane = node("div", { role: "region", tabindex: 0, "aria-label": "results, scrolls", style: "overflow:auto;max-height:460px" }, root);
  const table = node("table", { style: "border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums;margin:0" }, pane);
  const head = node("tr", {}, node("thead", {}, table)), body = node("tbody", {}, table);
  const top = { scope: "col", style: `${CELL}text-align:left;position:sticky;top:0;background:#fff;font-weight:600` };
  const buttons = columns.map((column) => {
    const cell = node("th", top, head);
    const button = node("button", { type: "button", style: `font:inherit;padding:0;border:0;background:none;cursor:pointer;color:${INK}` }, cell);
    button.addEventListener("click", () => {
      state.down = state.sort === column ? !state.down : !["label", "task"].includes(column[0]);
      state.sort = column;
      draw();
    });
    return [cell, button, column];
  });
  node("th", top, head, "interval, seeds");

  function draw() {
    const [, sorted, value] = state.sort, sign = state.down ? -1 : 1;
    const chosen = (r) => ["task", "fraction", "start"].every((key) => [String(r[key]), "all"].includes(state[key])) && plain(r.label).includes(state.text);
    const found = rows.filter(chosen).sort((a, b) => sign * (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0));
    buttons.forEach(([cell, button, column]) => {
      const own = column === state.sort;
      cell.setAttribute("aria-sort", own ? (state.down ? "descending" : "ascending") : "none");
      if (column[0] === "task") cell.style.display = state.task === "all" ? "" : "none";
      button.textContent = own ? `${column[1]} ${state.down ? "▼" : "▲"}` : column[1];
    });
    body.replaceChildren();
    for (const r of found) {
      const entry = node("tr", {}, body), cell = (words, style = "") => node("td", { style: CELL + style }, entry, words);
      node("th", { scope: "row", style: `${CELL}text-align:left;font-weight:400` }, entry, r.label);
      if (state.task === "all") cell(tasks.find((t) => t[0] === r.task)[1]);
      cell(r.labels === null ? share(r.fraction) : `${share(r.fraction)} (${r.labels})`).dataset.labels = "";
      cell(String(r.seeds));
      cell(`${(100 * r.mean).toFixed(1)} ${r.metric}`, "font-weight:600;");
      cell(`${(100 * r.low).toFixed(1)} to ${(100 * r.high).toFixed(1)}`);
      cell("").innerHTML = strip(r, spans[r.task]);
    }
    const mixed = new Set(found.map((r) => r.metric)).size > 1 ? " Scores of different tasks are different measures: do not compare them." : "";
    words.textContent = `${found.length} of ${rows.length} rows, by ${sorted}, ${state.down ? "largest first" : "smallest first"}.${mixed}`;
  }
  draw();
}
