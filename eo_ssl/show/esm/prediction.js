// A patch, a model, an opacity slider: the predicted map over the true-colour image; the pointer reads class and confidence.
function render({ model, el }) {
  const names = model.get("names"), colours = model.get("colours"), models = model.get("models");
  const patches = model.get("patches").map((p) => ({ ...p, maps: p.maps.map((m) => bytes(m)), truth: p.truth ? bytes(p.truth) : null }));
  const side = 384, steps = 31, state = { patch: 0, model: models.length - 1, opacity: 0.6, x: 0, y: 0 };
  const rgb = colours.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  const layers = () => [...models, ...(patches[state.patch].truth ? ["truth"] : [])];
  const read = (p, which, k) => {
    if (which >= p.maps.length) return p.truth[k] === 255 ? null : [p.truth[k], null];
    return [p.maps[which][k] >> 5, (p.maps[which][k] & steps) / steps];
  };

  const root = frame(el, "Explorer: predicted maps over the image");
  const controls = node("div", { style: "display:flex;flex-direction:column;gap:6px;margin-bottom:8px" }, root);
  const which = node("label", { style: "display:flex;gap:8px;align-items:center" }, controls);
  node("span", { style: `color:${FAINT}` }, which, "patch");
  const select = node("select", { "aria-label": "patch", style: "font:inherit;max-width:100%" }, which);
  patches.forEach((p, i) => node("option", { value: i }, select, p.name));
  const buttons = node("div", {}, controls);
  slider(node("div", {}, controls), "opacity of the map", { min: 0, max: 1, step: 0.05, value: state.opacity, format: (v) => `${Math.round(100 * v)}%` }, (v) => { state.opacity = v; draw(); });
  const main = node("div", { style: "display:flex;flex-wrap:wrap;gap:16px" }, root);
  const left = node("div", { style: `flex:0 1 ${side}px` }, main), right = node("div", { style: "flex:1 1 220px;min-width:200px" }, main);
  const [canvas, pen] = drawing(left, side, side, "The predicted map over the image. Point at it, or move the cross with the arrow keys.", true);
  const words = node("p", { role: "status", "aria-live": "polite", style: "margin:0 0 8px" }, right);
  const table = node("div", { style: "font-size:13px" }, right);
  const note = node("p", { style: `color:${FAINT};font-size:12.5px;margin:10px 0 6px` }, right);
  const key = node("div", { style: "font-size:12.5px;display:flex;flex-wrap:wrap;gap:2px 12px" }, right);
  names.forEach((name, c) => {
    const one = node("span", { style: "white-space:nowrap" }, key);
    node("span", { style: `color:${colours[c]};-webkit-text-stroke:0.5px #888` }, one, "■ ");
    one.append(name);
  });

  const pictures = patches.map((p) => { const image = new Image(); image.onload = () => draw(); image.src = p.picture; return image; });
  const overlay = document.createElement("canvas");

  function paint(p) {
    overlay.width = overlay.height = p.size;
    const brush = overlay.getContext("2d"), pixels = brush.createImageData(p.size, p.size);
    for (let k = 0; k < p.size * p.size; k++) {
      const found = read(p, state.model, k);
      if (found) pixels.data.set([...rgb[found[0]], 255], 4 * k);
    }
    brush.putImageData(pixels, 0, 0);
  }

  function draw() {
    const p = patches[state.patch], k = state.y * p.size + state.x, cell = side / p.size;
    pen.clearRect(0, 0, side, side);
    pen.imageSmoothingEnabled = false;
    if (pictures[state.patch].complete) pen.drawImage(pictures[state.patch], 0, 0, side, side);
    pen.globalAlpha = state.opacity;
    pen.drawImage(overlay, 0, 0, side, side);
    pen.globalAlpha = 1;
    const [x, y] = [(state.x + 0.5) * cell, (state.y + 0.5) * cell];
    for (const [colour, width] of [["#ffffff", 4], [INK, 1.6]]) {
      pen.strokeStyle = colour; pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(x - 11, y); pen.lineTo(x - 4, y); pen.moveTo(x + 4, y); pen.lineTo(x + 11, y);
      pen.moveTo(x, y - 11); pen.lineTo(x, y - 4); pen.moveTo(x, y + 4); pen.lineTo(x, y + 11);
      pen.stroke();
    }
    const say = (found) => (found ? names[found[0]] + (found[1] === null ? "" : `, ${Math.round(100 * found[1])}%`) : "unlabelled");
    words.innerHTML = `row ${state.y}, column ${state.x}, ${layers()[state.model]}: <b>${say(read(p, state.model, k))}</b>`;
    table.textContent = "";
    layers().forEach((name, i) => {
      const line = node("div", { style: `display:flex;justify-content:space-between;gap:10px;padding:2px 0;border-bottom:1px solid ${LINE}${i === state.model ? ";font-weight:600" : ""}` }, table);
      node("span", {}, line, name);
      node("span", {}, line, say(read(p, i, k)));
    });
  }

  function layer() { paint(patches[state.patch]); draw(); }
  function patch(i) {
    state.patch = i;
    const p = patches[i];
    state.x = Math.min(state.x, p.size - 1); state.y = Math.min(state.y, p.size - 1);
    state.model = Math.min(state.model, layers().length - 1);
    note.textContent = p.note;
    buttons.textContent = "";
    choice(buttons, "map", layers(), state.model, (m) => { state.model = m; layer(); });
    layer();
  }
  function move(x, y) {
    const last = patches[state.patch].size - 1;
    state.x = Math.max(0, Math.min(last, x));
    state.y = Math.max(0, Math.min(last, y));
    draw();
  }

  select.addEventListener("change", () => patch(Number(select.value)));
  canvas.style.cursor = "crosshair";
  const point = (event) => {
    const size = patches[state.patch].size, [x, y] = place(canvas, event, size, size);
    move(Math.floor(x), Math.floor(y));
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const far = event.shiftKey ? 8 : 1;
    move(state.x + far * step[0], state.y + far * step[1]);
  });
  state.x = state.y = Math.floor(patches[0].size / 2);
  patch(0);
}
export default { render };
