// A token under the pointer: its window, its shifted window, and what has reached it after one, two or three blocks.

// First and last place (exclusive) of the window that holds `at` along one axis; a shifted one is cut at the border, as the mask does.
function span(at, side, window, shift) {
  const low = Math.floor((at - shift) / window) * window + shift;
  return [Math.max(0, low), Math.min(side, low + window)];
}

// Windows are squares on a grid, so what is seen is always a rectangle: rows × columns, each a span [low, high).
function seenAlong(at, side, window, blocks) {
  const scale = blocks.includes("merge") ? 2 : 1;
  let grid = side / scale, [low, high] = [Math.floor(at / scale), Math.floor(at / scale) + 1];
  for (const block of [...blocks].reverse()) {
    if (block === "merge") { low *= 2; high *= 2; grid *= 2; continue; }
    const shift = grid <= window ? 0 : block, wide = Math.min(window, grid);
    low = span(low, grid, wide, shift)[0];
    high = span(high - 1, grid, wide, shift)[1];
  }
  return [low, high];
}

// The blocks in order: shifts of 0 and `shift` in turn, a merging after the second.
function order(count, shift, shifted, merged) {
  const blocks = [0, shifted ? shift : 0, 0].slice(0, count);
  if (merged && count > 2) blocks.splice(2, 0, "merge");
  return blocks;
}

function render({ side, window, shift, metres, title, picture }, el) {
  const TOKEN = CHOSEN, PLAIN = "#ffffff", MOVED = "#ff7722", size = 384, cell = size / side;
  const state = { row: Math.floor(side / 2) - 1, column: Math.floor(side / 2) - 1, blocks: 1, shifted: true, merged: false };
  const root = frame(el, "Explorer: what a token sees through its windows");
  box(root, `${HINT}margin-bottom:6px`, title);
  const controls = box(root, `${ROW}gap:8px 26px;align-items:flex-end;margin-bottom:10px`);
  slider(controls, "attention blocks", { min: 1, max: 3, step: 1, value: 1, format: String }, (v) => { state.blocks = v; draw(); });
  choice(controls, "every second block", ["shifted", "not shifted"], 0, (i) => { state.shifted = i === 0; draw(); });
  choice(controls, "merging after two blocks", ["no", "yes"], 0, (i) => { state.merged = i === 1; draw(); });
  const [left, right] = beside(root, size, 18);
  const [canvas, pen] = drawing(left, size, size, "Satellite picture cut into tokens. Choose a token with the arrow keys.", true);
  const key = box(right, `${HINT}line-height:1.7`);
  const swatch = (colour, dash) => `<span style="display:inline-block;width:22px;height:0;border-top:3px ${dash} ${colour};background:#556;box-shadow:0 0 0 2px #556;vertical-align:middle;margin:0 8px 0 2px"></span>`;
  key.innerHTML = `${swatch(TOKEN, "solid")}the token<br>${swatch(PLAIN, "solid")}its window<br>${swatch(MOVED, "dashed")}its shifted window<br>in colour: what has reached it<br>hover, touch, or use the arrow keys`;
  const words = status(right), image = photo(picture, () => draw());

  function seen(count) {
    const blocks = order(count, shift, state.shifted, state.merged);
    return [seenAlong(state.row, side, window, blocks), seenAlong(state.column, side, window, blocks)];
  }

  function frameOf([top, bottom], [left, right], colour, dash = []) {
    outline(pen, [left * cell + 1.5, top * cell + 1.5, (right - left) * cell - 3, (bottom - top) * cell - 3], colour, 2.5, 5, dash);
  }

  function draw() {
    const [rows, columns] = seen(state.blocks);
    wipe(pen, size, size, image);
    pen.fillStyle = "rgba(245,246,248,0.78)";
    pen.beginPath();
    pen.rect(0, 0, size, size);
    pen.rect(columns[0] * cell, rows[0] * cell, (columns[1] - columns[0]) * cell, (rows[1] - rows[0]) * cell);
    pen.fill("evenodd");
    const grid = range(side - 1, (i) => (i + 1) * cell).flatMap((v) => [[[v, 0], [v, size]], [[0, v], [size, v]]]);
    stroke(pen, grid, "rgba(255,255,255,0.45)", 0.5);
    frameOf(span(state.row, side, window, 0), span(state.column, side, window, 0), PLAIN);
    if (state.shifted) frameOf(span(state.row, side, window, shift), span(state.column, side, window, shift), MOVED, [7, 4]);
    frameOf([state.row, state.row + 1], [state.column, state.column + 1], TOKEN);
    const count = ([r, c]) => (r[1] - r[0]) * (c[1] - c[0]), all = side * side;
    const per = [1, 2, 3].map((n) => `${n === state.blocks ? "<b>" : ""}${n} block${n > 1 ? "s" : ""}: ${count(seen(n))} (${percent(count(seen(n)) / all)})${n === state.blocks ? "</b>" : ""}`);
    const far = (c, [a, b]) => Math.max(c - a, b - 1 - c);
    const metresFar = Math.max(far(state.row, rows), far(state.column, columns)) * metres;
    const coarse = state.merged && state.blocks > 2 ? " After merging, it shares one token with three neighbours." : "";
    words.innerHTML = `Row ${state.row + 1}, column ${state.column + 1} of ${side}. Tokens that have reached it after ${per.join(", ")}. `
      + `The farthest is ${Math.round(metresFar)} m away along a row or column.${coarse}`;
  }

  walk(canvas, () => [side, side], state, draw);
  draw();
}
