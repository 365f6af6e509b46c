// An N × N matrix of cosines, or of what `what` says, between radar and optical patches; a cell shows its two.
function render(spec, el) {
  const { size: n, names } = spec, tables = spec.matrices.map((m) => bytes(m, true)), overlap = bytes(spec.overlap);
  const rgb = scale(bytes(spec.colours), -1, 1), side = 400, cell = side / n;
  const state = { which: tables.length - 1, row: 0, column: 0, mark: true };
  const value = (i, j) => tables[state.which][i * n + j] / 127;

  const root = frame(el, "Explorer: similarity of every radar patch with every optical patch");
  const controls = box(root, `${ROW}gap:8px 24px;margin-bottom:8px`);
  choice(controls, spec.of, names, state.which, (i) => { state.which = i; draw(); });
  tick(controls, "outline neighbours that share ground", true, (on) => { state.mark = on; draw(); });
  const [left, right] = beside(root, side, 18);
  const [canvas, pen] = drawing(left, side, side, "Similarity matrix: rows are radar patches, columns optical patches. Move with the arrow keys.", true);
  box(left, `${HINT}margin-top:2px`, "rows: Sentinel-1 · columns: Sentinel-2 · hover, touch or use the arrow keys");
  const images = box(right, "display:flex;gap:10px");
  const [radar, optical] = [["Sentinel-1", S1], ["Sentinel-2", S2]].map(([name, colour], line) => {
    const one = box(images);
    box(one, `${BOLD}color:${colour}`, name);
    const picture = node("div", { role: "img", style: `width:104px;height:104px;border-radius:4px;background-image:url(${spec.sprite});background-size:${n * 104}px 208px;image-rendering:pixelated` }, one);
    const caption = box(one, HINT);
    return (patch) => {
      picture.style.backgroundPosition = `${-patch * 104}px ${-line * 104}px`;
      picture.setAttribute("aria-label", `${name} patch ${patch + 1}`);
      caption.textContent = `patch ${patch + 1}`;
    };
  });
  const words = status(right);

  function draw() {
    const { row, column } = state;
    wipe(pen, side, side);
    cells(pen, n, n, cell, (i, j) => rgb(value(i, j)), -0.3);
    overlap.forEach((on, k) => { if (on && state.mark) outline(pen, [(k % n) * cell + 1, Math.floor(k / n) * cell + 1, cell - 2, cell - 2], INK, 1, 0); });
    outline(pen, [column * cell, row * cell, cell, cell], CHOSEN, 2);
    radar(row);
    optical(column);
    const what = row === column ? "the same place: this cell should be deep red" : overlap[row * n + column] ? "neighbours that share ground: a false negative" : "two different places";
    words.innerHTML = `${spec.what} <b>${signed(value(row, column))}</b>, ${what}.<br>The true partner of radar patch ${row + 1} has ${spec.what} <b>${signed(value(row, row))}</b> and rank <b>${spec.ranks[state.which][row]}</b> of ${spec.compared[row]}.`;
  }

  walk(canvas, () => [n, n], state, draw);
  draw();
}
