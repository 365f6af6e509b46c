// A patch, a model, an opacity slider: the predicted map over the true-colour image; the pointer reads class and confidence.
function render(spec, el) {
  const { names, colours, models } = spec, patches = spec.patches.map((p) => ({ ...p, maps: p.maps.map((m) => bytes(m)), truth: p.truth ? bytes(p.truth) : null }));
  const side = 384, steps = 31, middle = Math.floor(patches[0].size / 2), state = { patch: 0, model: models.length - 1, opacity: 0.6, row: middle, column: middle };
  const rgb = colours.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  const layers = () => [...models, ...(patches[state.patch].truth ? ["truth"] : [])];
  const read = (p, which, k) => {
    if (which >= p.maps.length) return p.truth[k] === 255 ? null : [p.truth[k], null];
    const byte = p.maps[which][k];  // the largest of eight shares is never 0
    return byte & steps ? [byte >> 5, (byte & steps) / steps] : null;
  };

  const root = frame(el, "Explorer: predicted maps over the image");
  const controls = box(root, "display:flex;flex-direction:column;gap:6px;margin-bottom:8px");
  select(controls, "patch", patches.map((p, i) => [i, p.name]), (v) => patch(Number(v)));
  const buttons = box(controls);
  slider(box(controls), "opacity of the map", { min: 0, max: 1, step: 0.05, value: state.opacity, format: percent }, (v) => { state.opacity = v; draw(); });
  const [left, right] = beside(root, side);
  const [canvas, pen] = drawing(left, side, side, "The predicted map over the image. Point at it, or move the cross with the arrow keys.", true);
  const words = status(right, "margin:0 0 8px"), table = box(right, "font-size:13px"), note = box(right, `${HINT}margin:10px 0 6px`);
  legend(box(right), names, colours);
  const pictures = patches.map((p) => photo(p.picture, () => draw()));
  const overlay = document.createElement("canvas");

  function draw() {
    const p = patches[state.patch], k = state.row * p.size + state.column, cell = side / p.size;
    raster(overlay, p.size, p.size, (pixel) => { const found = read(p, state.model, pixel); return found && rgb[found[0]]; });
    wipe(pen, side, side, pictures[state.patch]);
    pen.globalAlpha = state.opacity;
    pen.drawImage(overlay, 0, 0, side, side);
    pen.globalAlpha = 1;
    cross(pen, (state.column + 0.5) * cell, (state.row + 0.5) * cell);
    const say = (i) => {
      const found = read(p, i, k);
      return found ? names[found[0]] + (found[1] === null ? "" : `, ${percent(found[1])}`) : i < p.maps.length ? "no data" : "unlabelled";
    };
    words.innerHTML = `row ${state.row}, column ${state.column}, ${layers()[state.model]}: <b>${say(state.model)}</b>`;
    table.textContent = "";
    layers().forEach((name, i) => {
      const entry = box(table, `display:flex;justify-content:space-between;gap:10px;padding:2px 0;border-bottom:1px solid ${LINE}${i === state.model ? ";font-weight:600" : ""}`);
      node("span", {}, entry, name);
      node("span", {}, entry, say(i));
    });
  }

  function patch(i) {
    state.patch = i;
    const p = patches[i];
    [state.row, state.column] = [state.row, state.column].map((v) => Math.min(v, p.size - 1));
    state.model = Math.min(state.model, layers().length - 1);
    note.textContent = p.note;
    buttons.textContent = "";
    choice(buttons, "map", layers(), state.model, (m) => { state.model = m; draw(); });
    draw();
  }

  walk(canvas, () => Array(2).fill(patches[state.patch].size), state, draw, 8);
  patch(0);
}
