// The N × N matrix of cosines between radar and optical embeddings; a cell shows its two patches.
function render({ model, el }) {
  const n = model.get("size"), names = model.get("names"), tables = model.get("matrices").map((m) => bytes(m, true));
  const overlap = bytes(model.get("overlap")), colours = bytes(model.get("colours")), side = 400, cell = side / n, thumb = model.get("thumb");
  const state = { which: tables.length - 1, row: 0, column: 0, mark: true };
  const value = (i, j) => tables[state.which][i * n + j] / 127;

  const root = frame(el, "Explorer: similarity of every radar patch with every optical patch");
  const controls = node("div", { style: "display:flex;flex-wrap:wrap;gap:8px 24px;margin-bottom:8px" }, root);
  choice(controls, "encoders", names, state.which, (i) => { state.which = i; draw(); });
  const tick = node("label", { style: "display:flex;gap:5px;align-items:center" }, controls);
  const box = node("input", { type: "checkbox", style: "accent-color:#4477aa" }, tick);
  node("span", {}, tick, "outline neighbours that share ground");
  box.checked = true;
  box.addEventListener("change", () => { state.mark = box.checked; draw(); });

  const main = node("div", { style: "display:flex;flex-wrap:wrap;gap:18px" }, root);
  const left = node("div", { style: "flex:0 1 400px" }, main), right = node("div", { style: "flex:1 1 220px;min-width:200px" }, main);
  const [canvas, pen] = drawing(left, side, side, "Similarity matrix: rows are radar patches, columns optical patches. Move with the arrow keys.", true);
  node("div", { style: `color:${FAINT};font-size:12.5px;margin-top:2px` }, left, "rows: Sentinel-1 · columns: Sentinel-2 · hover, touch or use the arrow keys");
  const images = node("div", { style: "display:flex;gap:10px" }, right);
  const [radar, optical] = [["Sentinel-1", S1], ["Sentinel-2", S2]].map(([name, colour]) => {
    const one = node("div", {}, images);
    node("div", { style: `color:${colour};font-weight:600;font-size:13px` }, one, name);
    const window_ = node("div", { role: "img", style: `width:104px;height:104px;border-radius:4px;background-image:url(${model.get("sprite")});background-size:${n * 104}px 208px;image-rendering:pixelated` }, one);
    const caption = node("div", { style: `color:${FAINT};font-size:12.5px` }, one);
    return { window: window_, caption };
  });
  const words = node("p", { role: "status", "aria-live": "polite", style: "margin:10px 0 0" }, right);

  function show(part, patch, line, sensor) {
    part.window.style.backgroundPosition = `${-patch * 104}px ${-line * 104}px`;
    part.window.setAttribute("aria-label", `${sensor} patch ${patch + 1}`);
    part.caption.textContent = `patch ${patch + 1}`;
  }

  function draw() {
    const rgb = scale(colours, -1, 1);
    pen.clearRect(0, 0, side, side);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
      pen.fillStyle = rgb(value(i, j));
      pen.fillRect(j * cell, i * cell, cell + 0.3, cell + 0.3);
    }
    pen.lineWidth = 1;
    pen.strokeStyle = INK;
    if (state.mark) for (let k = 0; k < n * n; k++) if (overlap[k]) pen.strokeRect((k % n) * cell + 1, Math.floor(k / n) * cell + 1, cell - 2, cell - 2);
    const { row, column } = state;
    for (const [width, colour] of [[4.5, INK], [2, "#ffdd33"]]) {
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.strokeRect(column * cell, row * cell, cell, cell);
    }
    show(radar, row, 0, "Sentinel-1");
    show(optical, column, 1, "Sentinel-2");
    let rank = 1;
    for (let j = 0; j < n; j++) if (j !== row && !overlap[row * n + j] && value(row, j) > value(row, row)) rank++;
    const what = row === column ? "the same place: this pair should be bright" : overlap[row * n + column] ? "neighbours that share ground: a false negative" : "two different places";
    words.innerHTML = `cosine <b>${signed(value(row, column))}</b>, ${what}.<br>The true partner of radar patch ${row + 1} has cosine <b>${signed(value(row, row))}</b> and rank <b>${rank}</b> of ${n}.`;
  }

  const move = (row, column) => {
    state.row = Math.min(n - 1, Math.max(0, row));
    state.column = Math.min(n - 1, Math.max(0, column));
    draw();
  };
  const point = (event) => { const [x, y] = place(canvas, event, side, side); move(Math.floor(y / cell), Math.floor(x / cell)); };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    move(state.row + step[0], state.column + step[1]);
  });
  draw();
}
export default { render };
