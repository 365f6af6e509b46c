// A patch, a model, an opacity slider: the predicted map over the true-colour image; the pointer reads class and confidence.
function render(spec, el) {
  const { names, colours, models } = spec, patches = spec.patches.map((p) => ({ ...p, maps: p.maps.map((m) => bytes(m)), truth: p.truth ? bytes(p.truth) : null }));
  const side = 384, steps = 31, state = { patch: 0, model: models.length - 1, opacity: 0.6, x: 0, y: 0 };
  const rgb = colours.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  const layers = () => [...models, ...(patches[state.patch].truth ? ["truth"] : [])];
  const read = (p, which, k) => {
    if (which >= p.maps.length) return p.truth[k] === 255 ? null : [p.truth[k], null];
    return [p.maps[which][k] >> 5, (p.maps[which][k] & steps) / steps];
  };

  const root = frame(el, "Explorer: predicted maps over the image");
  const controls = box(root, "display:flex;flex-direction:column;gap:6px;margin-bottom:8px");
  select(controls, "patch", patches.map((p, i) => [i, p.name]), (v) => patch(Number(v)));
  const buttons = box(controls);
  slider(box(controls), "opacity of the map", { min: 0, max: 1, step: 0.05, value: state.opacity, format: percent }, (v) => { state.opacity = v; draw(); });
  const [left, right] = beside(root, side);
  const [canvas, pen] = drawing(left, side, side, "The predicted map over the image. Point at it, or move the cross with the arrow keys.", true);
  canvas.style.cursor = "crosshair";
  const words = status(right, "margin:0 0 8px"), table = box(right, "font-size:13px"), note = box(right, `${HINT}margin:10px 0 6px`);
  legend(box(right), names, colours);
  const pictures = patches.map((p) => photo(p.picture, () => draw()));
  const overlay = document.createElement("canvas");

  function draw() {
    const p = patches[state.patch], k = state.y * p.size + state.x, cell = side / p.size;
    wipe(pen, side, side, pictures[state.patch]);
    pen.globalAlpha = state.opacity;
    pen.drawImage(overlay, 0, 0, side, side);
    pen.globalAlpha = 1;
    cross(pen, (state.x + 0.5) * cell, (state.y + 0.5) * cell);
    const say = (found) => (found ? names[found[0]] + (found[1] === null ? "" : `, ${percent(found[1])}`) : "unlabelled");
    words.innerHTML = `row ${state.y}, column ${state.x}, ${layers()[state.model]}: <b>${say(read(p, state.model, k))}</b>`;
    table.textContent = "";
    layers().forEach((name, i) => {
      const entry = box(table, `display:flex;justify-content:space-between;gap:10px;padding:2px 0;border-bottom:1px solid ${LINE}${i === state.model ? ";font-weight:600" : ""}`);
      node("span", {}, entry, name);
      node("span", {}, entry, say(read(p, i, k)));
    });
  }

  function layer() {
    const p = patches[state.patch];
    raster(overlay, p.size, p.size, (k) => { const found = read(p, state.model, k); return found && rgb[found[0]]; });
    draw();
  }
  function patch(i) {
    state.patch = i;
    const p = patches[i];
    [state.x, state.y] = [state.x, state.y].map((v) => Math.min(v, p.size - 1));
    state.model = Math.min(state.model, layers().length - 1);
    note.textContent = p.note;
    buttons.textContent = "";
    choice(buttons, "map", layers(), state.model, (m) => { state.model = m; layer(); });
    layer();
  }
  function move(x, y) {
    const last = patches[state.patch].size - 1;
    state.x = clamp(x, 0, last);
    state.y = clamp(y, 0, last);
    draw();
  }

  pointed(canvas, 1, 1, (x, y) => move(Math.floor(x * patches[state.patch].size), Math.floor(y * patches[state.patch].size)));
  arrows(canvas, (dx, dy, shift) => move(state.x + (shift ? 8 : 1) * dx, state.y + (shift ? 8 : 1) * dy));
  state.x = state.y = Math.floor(patches[0].size / 2);
  patch(0);
}
