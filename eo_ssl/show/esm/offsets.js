// Lay the smaller optical map over the larger radar map; every cell is the cosine of the two places that meet.
function render({ model, el }) {
  const [H, h] = [model.get("large"), model.get("small")], offsets = H - h + 1, side = 300, cell = side / H;
  const cases = model.get("cases").map((c) => ({ ...c, cosine: bytes(c.cosine, true) }));
  const colours = bytes(model.get("colours")), heat = bytes(model.get("heat"));
  const state = { which: 0, y: 0, x: 0, seen: new Set() };
  const cosine = (c, Y, X, y, x) => c.cosine[((Y * H + X) * h + y) * h + x] / 127;

  function mean(c, oy, ox) {
    let sum = 0;
    for (let y = 0; y < h; y++) for (let x = 0; x < h; x++) sum += cosine(c, y + oy, x + ox, y, x);
    return sum / (h * h);
  }
  cases.forEach((c) => {
    c.surface = Array.from({ length: offsets * offsets }, (_, k) => mean(c, Math.floor(k / offsets), k % offsets));
    c.best = c.surface.indexOf(Math.max(...c.surface));
  });
  const all = cases.flatMap((c) => c.surface), low = Math.min(...all), high = Math.max(...all);

  const root = frame(el, "Explorer: slide the smaller map over the larger one");
  const controls = node("div", { style: "margin-bottom:8px" }, root);
  choice(controls, "pair", cases.map((c) => c.name), 0, (i) => { state.which = i; state.seen = new Set(); draw(); });
  const main = node("div", { style: "display:flex;flex-wrap:wrap;gap:20px" }, root);
  const left = node("div", { style: "flex:0 1 300px" }, main), right = node("div", { style: "flex:1 1 260px;min-width:220px" }, main);
  node("div", { style: "font-weight:600;font-size:13px" }, left, "radar (below), optical map (on top)");
  const [canvas, pen] = drawing(left, side, side, "The optical map over the radar image. Drag it, or move it with the arrow keys.", true);
  node("div", { style: `color:${FAINT};font-size:12.5px` }, left, "drag the square or use the arrow keys; colour: cosine where two places meet");
  const tiles = node("div", { style: "display:flex;gap:14px;flex-wrap:wrap" }, right);
  const shown = node("div", {}, tiles);
  node("div", { style: `font-weight:600;font-size:13px;color:${S2}` }, shown, "Sentinel-2");
  const optical = node("img", { alt: "the optical crop that is laid over the radar image", style: "width:112px;border-radius:4px;image-rendering:pixelated;display:block" }, shown);
  const map = node("div", {}, tiles);
  node("div", { style: "font-weight:600;font-size:13px" }, map, "mean cosine by offset");
  const [surface, brush] = drawing(map, 112, 112, "Mean cosine at each offset visited");
  const words = node("p", { role: "status", "aria-live": "polite", style: "margin:10px 0 6px" }, right);
  const reveal = node("button", { type: "button", style: "font:inherit;padding:3px 10px;border:1px solid #b8c0ca;border-radius:6px;background:#f6f8fa;color:inherit;cursor:pointer" }, right, "go to the maximum");

  const pictures = cases.map((c) => { const image = new Image(); image.onload = () => draw(); image.src = c.radar; return image; });

  function draw() {
    const c = cases[state.which], k = state.y * offsets + state.x;
    state.seen.add(k);
    pen.clearRect(0, 0, side, side);
    if (pictures[state.which].complete) { pen.imageSmoothingEnabled = false; pen.drawImage(pictures[state.which], 0, 0, side, side); }
    const rgb = scale(colours, -1, 1);
    pen.globalAlpha = 0.72;
    for (let y = 0; y < h; y++) for (let x = 0; x < h; x++) {
      pen.fillStyle = rgb(cosine(c, y + state.y, x + state.x, y, x));
      pen.fillRect((x + state.x) * cell + 0.5, (y + state.y) * cell + 0.5, cell - 1, cell - 1);
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = S2; pen.lineWidth = 2.5;
    pen.strokeRect(state.x * cell, state.y * cell, h * cell, h * cell);
    const tile = 112 / offsets, warm = scale(heat, low, high);
    brush.clearRect(0, 0, 112, 112);
    for (let i = 0; i < offsets * offsets; i++) {
      brush.fillStyle = state.seen.has(i) ? warm(c.surface[i]) : "#eef1f4";
      brush.fillRect((i % offsets) * tile + 0.5, Math.floor(i / offsets) * tile + 0.5, tile - 1, tile - 1);
    }
    brush.strokeStyle = INK; brush.lineWidth = 2;
    brush.strokeRect(state.x * tile + 1, state.y * tile + 1, tile - 2, tile - 2);
    optical.src = c.optical;
    const top = Math.max(...[...state.seen].map((i) => c.surface[i]));
    const truth = c.truth < 0 ? "The optical crop shows another place." : k === c.truth ? "This is where the crop was cut." : "The crop was cut elsewhere.";
    words.innerHTML = `offset (${state.y}, ${state.x}): mean cosine <b>${signed(c.surface[k], 3)}</b>. `
      + `Largest so far <b>${signed(top, 3)}</b>, after ${state.seen.size} of ${offsets * offsets} offsets. ${truth}`;
  }

  const move = (y, x) => {
    state.y = Math.min(offsets - 1, Math.max(0, y));
    state.x = Math.min(offsets - 1, Math.max(0, x));
    draw();
  };
  let held = null;
  canvas.style.cursor = "grab";
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = place(canvas, event, side, side);
    held = [x / cell - state.x, y / cell - state.y];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [x, y] = place(canvas, event, side, side);
    move(Math.round(y / cell - held[1]), Math.round(x / cell - held[0]));
  });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    move(state.y + step[0], state.x + step[1]);
  });
  reveal.addEventListener("click", () => {
    const best = cases[state.which].best;
    for (let i = 0; i < offsets * offsets; i++) state.seen.add(i);
    move(Math.floor(best / offsets), best % offsets);
  });
  draw();
}
export default { render };
