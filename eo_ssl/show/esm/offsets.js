// Lay the smaller optical map over the larger radar map; every cell is the cosine of the two places that meet.
function render(spec, el) {
  const { large: H, small: h } = spec, offsets = H - h + 1, side = 300, cell = side / H;
  const cases = spec.cases.map((c) => ({ ...c, cosine: bytes(c.cosine, true) })), rgb = scale(bytes(spec.colours), -1, 1);
  const state = { which: 0, y: 0, x: 0, seen: new Set() };
  const cosine = (c, Y, X, y, x) => c.cosine[((Y * H + X) * h + y) * h + x] / 127;

  cases.forEach((c) => {
    const mean = (oy, ox) => sum(range(h * h, (k) => cosine(c, Math.floor(k / h) + oy, k % h + ox, Math.floor(k / h), k % h))) / (h * h);
    c.surface = range(offsets * offsets, (k) => mean(Math.floor(k / offsets), k % offsets));
    c.best = c.surface.indexOf(Math.max(...c.surface));
  });
  const all = cases.flatMap((c) => c.surface), warm = scale(bytes(spec.heat), Math.min(...all), Math.max(...all));

  const root = frame(el, "Explorer: slide the smaller map over the larger one");
  choice(box(root, "margin-bottom:8px"), "pair", cases.map((c) => c.name), 0, (i) => { state.which = i; state.seen = new Set(); draw(); });
  const [left, right] = beside(root, side, 20);
  box(left, BOLD, "radar (below), optical map (on top)");
  const [canvas, pen] = drawing(left, side, side, "The optical map over the radar image. Drag it, or move it with the arrow keys.", true);
  box(left, HINT, "drag the square or use the arrow keys; colour: cosine where two places meet");
  const tiles = box(right, `${ROW}gap:14px`), shown = box(tiles), map = box(tiles);
  box(shown, `${BOLD}color:${S2}`, "Sentinel-2");
  const optical = node("img", { alt: "the optical crop that is laid over the radar image", style: "width:112px;border-radius:4px;image-rendering:pixelated;display:block" }, shown);
  box(map, BOLD, "mean cosine by offset");
  const [surface, brush] = drawing(map, 112, 112, "Mean cosine at each offset visited");
  const words = status(right, "margin:10px 0 6px");
  button(right, "go to the maximum", () => {
    const { best } = cases[state.which];
    state.seen = new Set(range(offsets * offsets, (i) => i));
    move(best % offsets, Math.floor(best / offsets));
  });
  const pictures = cases.map((c) => photo(c.radar, () => draw()));

  function draw() {
    const c = cases[state.which], k = state.y * offsets + state.x;
    state.seen.add(k);
    wipe(pen, side, side, pictures[state.which]);
    pen.globalAlpha = 0.72;
    cells(pen, h, h, cell, (y, x) => rgb(cosine(c, y + state.y, x + state.x, y, x)), 1, state.x * cell, state.y * cell);
    pen.globalAlpha = 1;
    outline(pen, [state.x * cell, state.y * cell, h * cell, h * cell], S2, 2.5, 0);
    const tile = 112 / offsets;
    wipe(brush, 112, 112);
    cells(brush, offsets, offsets, tile, (y, x) => (state.seen.has(y * offsets + x) ? warm(c.surface[y * offsets + x]) : "#eef1f4"));
    outline(brush, [state.x * tile + 1, state.y * tile + 1, tile - 2, tile - 2], INK, 2, 0);
    optical.src = c.optical;
    const top = Math.max(...[...state.seen].map((i) => c.surface[i]));
    const truth = c.truth < 0 ? "The optical crop shows another place." : k === c.truth ? "This is where the crop was cut." : "The crop was cut elsewhere.";
    words.innerHTML = `offset (${state.y}, ${state.x}): mean cosine <b>${signed(c.surface[k], 3)}</b>. `
      + `Largest so far <b>${signed(top, 3)}</b>, after ${state.seen.size} of ${offsets * offsets} offsets. ${truth}`;
  }

  const move = (x, y) => { state.x = clamp(x, 0, offsets - 1); state.y = clamp(y, 0, offsets - 1); draw(); };
  let held = null;
  canvas.style.cursor = "grab";
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = place(canvas, event, H, H);
    held = [x - state.x, y - state.y];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held || !event.buttons) { held = null; return; }  // a menu swallows the end of a drag
    const [x, y] = place(canvas, event, H, H);
    move(Math.round(x - held[0]), Math.round(y - held[1]));
  });
  canvas.addEventListener("pointerup", () => { held = null; });
  arrows(canvas, (dx, dy) => move(state.x + dx, state.y + dy));
  draw();
}
