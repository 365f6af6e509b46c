// Shared by the explorers; put in front of each of them, so that every widget is one module.
const INK = "#1f2933", FAINT = "#5f6b7a", LINE = "#e3e7ec", OWN = "#228833", OTHER = "#cc6677", S1 = "#aa3377", S2 = "#4477aa", CHOSEN = "#ffdd33";
const HINT = `color:${FAINT};font-size:12.5px;`, BOLD = "font-weight:600;font-size:13px;", ROW = "display:flex;flex-wrap:wrap;";

// Each script defines `render(spec, el)`.
export default { render: ({ model, el }) => render(model.get("spec"), el) };

const signed = (x, digits = 2) => (x < 0 ? "−" : "") + Math.abs(x).toFixed(digits);
const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)}%`;
const sum = (values) => values.reduce((a, b) => a + b, 0);
const range = (n, of) => Array.from({ length: n }, (_, i) => of(i));
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

function node(tag, attributes = {}, parent = null, text = "") {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  // Its keys are its own; else the arrows of a slider or a radio button move JupyterLab to another cell.
  if (made.matches("input, select, button, [tabindex]")) made.setAttribute("data-lm-suppress-shortcuts", "true");
  if (text) made.textContent = text;
  if (parent) parent.appendChild(made);
  return made;
}

const box = (parent, style = "", text = "") => node("div", { style }, parent, text);

function frame(el, label) {
  return node("div", {
    role: "group", "aria-label": label,
    style: `background:#fff;color:${INK};color-scheme:light;border:1px solid ${LINE};border-radius:8px;padding:14px 16px;`
      + "font:14px/1.45 Inter,system-ui,sans-serif;max-width:760px;box-sizing:border-box",
  }, el);
}

// What the explorer says about its state; read out when it changes.
const status = (parent, style = "margin:10px 0 0", role = "status") => node("p", { role, "aria-live": "polite", style }, parent);

// Two columns that stand one below the other on a narrow screen.
function beside(root, width, gap = 16) {
  const main = box(root, `${ROW}gap:${gap}px`);
  return [box(main, `flex:0 1 ${width}px`), box(main, "flex:1 1 210px;min-width:190px")];
}

function slider(parent, name, { min, max, step, value, format }, changed) {
  const label = node("label", { style: "display:block;flex:1 1 180px;min-width:0" }, parent);
  const line = node("span", { style: "display:flex;justify-content:space-between;gap:8px" }, label);
  node("span", {}, line, name);
  const shown = node("span", { style: "font-variant-numeric:tabular-nums;font-weight:600;white-space:nowrap" }, line);
  const input = node("input", {
    type: "range", min, max, step, value, "aria-label": name, style: `width:100%;margin:2px 0 0;accent-color:${S2}`,
  }, label);
  const show = () => {
    shown.textContent = format(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => { show(); changed(Number(input.value)); });
  input.set = (v) => { input.value = v; show(); };
  show();
  return input;
}

// A radio button or a tick box with its name.
function toggle(parent, attributes, name, checked, changed, style = "") {
  const label = node("label", { style: `display:flex;gap:5px;align-items:center;cursor:pointer;${style}` }, parent);
  const input = node("input", { ...attributes, style: `accent-color:${S2}` }, label);
  input.checked = checked;
  input.addEventListener("change", () => changed(input.checked));
  node("span", {}, label, name);
}

const tick = (parent, ...about) => toggle(parent, { type: "checkbox" }, ...about);

function choice(parent, name, options, chosen, changed) {
  const all = node("fieldset", { style: `border:0;padding:0;margin:0;${ROW}gap:12px` }, parent);
  node("legend", { style: `float:left;width:auto;font:inherit;padding:0;margin:0 10px 0 0;color:${FAINT}` }, all, name);
  const group = `choice-${Math.random().toString(36).slice(2)}`;
  options.forEach((option, i) => toggle(all, { type: "radio", name: group, value: i }, option, i === chosen, () => changed(i)));
}

// Options are pairs of value and text.
function select(parent, name, options, changed) {
  const label = node("label", { style: `${ROW}gap:2px 6px;align-items:center;min-width:0` }, parent);
  node("span", { style: `color:${FAINT}` }, label, name);
  const input = node("select", { "aria-label": name, style: "font:inherit;padding:2px 4px;max-width:100%" }, label);
  options.forEach(([value, text]) => node("option", { value }, input, text));
  input.addEventListener("change", () => changed(input.value));
  return input;
}

function button(parent, name, pressed) {
  const style = `font:inherit;padding:3px 10px;border:1px solid ${S2};border-radius:6px;background:#fff;color:${S2};cursor:pointer`;
  node("button", { type: "button", style }, parent, name).addEventListener("click", pressed);
}

// Names of classes with their colours.
function legend(parent, names, colours, sign = "■") {
  parent.textContent = "";
  parent.style.cssText = `${HINT}${ROW}gap:2px 12px`;
  names.forEach((name, i) => {
    const one = node("span", { style: "white-space:nowrap" }, parent);
    node("span", { style: `color:${colours[i]};-webkit-text-stroke:0.5px #888` }, one, `${sign} `);
    one.append(name);
  });
}

function bytes(text, signed = false) {
  const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return signed ? new Int8Array(raw.buffer) : raw;
}

// A picture that calls `ready` when it can be drawn.
function photo(source, ready) {
  const image = new Image();
  image.addEventListener("load", ready);
  image.src = source;
  return image;
}

// A colour scale (256 × RGB bytes) and a span: value → "rgb(…)".
function scale(table, low, high) {
  return (value) => {
    const at = 3 * Math.round(255 * clamp((value - low) / (high - low || 1), 0, 1));
    return `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
  };
}

// A canvas of twice as many pixels, and its pen; with `focus` it takes the keyboard.
function drawing(parent, width, height, label, focus = false) {
  const canvas = node("canvas", {
    width: 2 * width, height: 2 * height, role: "img", "aria-label": label, ...(focus ? { tabindex: 0 } : {}),
    style: `width:${width}px;max-width:100%;height:auto;${focus ? "touch-action:none;" : ""}border-radius:4px;cursor:${focus ? "crosshair" : "default"}`,
  }, parent);
  const pen = canvas.getContext("2d");
  pen.scale(2, 2);
  return [canvas, pen];
}

const place = (canvas, event, width, height) => {
  const edge = canvas.getBoundingClientRect();
  return [(event.clientX - edge.left) / edge.width * width, (event.clientY - edge.top) / edge.height * height];
};

// The pointer on a canvas: `at(x, y)` in units of width and height, while it moves and when it touches.
function pointed(canvas, width, height, at) {
  for (const kind of ["pointermove", "pointerdown"]) {
    canvas.addEventListener(kind, (event) => at(...place(canvas, event, width, height)));
  }
}

// The arrow keys on a canvas: `by(dx, dy, shift)`, y pointing down.
function arrows(canvas, by) {
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    by(...step, event.shiftKey);
  });
}

// A cell of a grid, `state.row` and `state.column`, under the pointer or moved by the arrow keys, with Shift by `far` cells.
function walk(canvas, size, state, draw, far = 1) { // size(): columns and rows
  const move = (x, y) => {
    const [columns, rows] = size();
    state.column = clamp(Math.floor(x), 0, columns - 1);
    state.row = clamp(Math.floor(y), 0, rows - 1);
    draw();
  };
  pointed(canvas, 1, 1, (x, y) => move(x * size()[0], y * size()[1]));
  arrows(canvas, (dx, dy, shift) => move(state.column + (shift ? far : 1) * dx, state.row + (shift ? far : 1) * dy));
}

// A point [x, y] of several, `state.chosen`: the nearest to the pointer, or the next one in the direction of an arrow key.
function pick(canvas, width, height, points, state, draw, aside = 2) {
  const choose = (far) => {
    const before = state.chosen;
    points().reduce((least, p, i) => { const d = far(p); if (d < least) state.chosen = i; return Math.min(d, least); }, Infinity);
    if (state.chosen !== before) draw();
  };
  pointed(canvas, width, height, (x, y) => choose((p) => (p[0] - x) ** 2 + (p[1] - y) ** 2));
  arrows(canvas, (dx, dy) => {
    const [x, y] = points()[state.chosen];
    choose((p) => {
      const [right, down] = [p[0] - x, p[1] - y], ahead = right * dx + down * dy;
      return ahead > 0.5 ? ahead + aside * (Math.abs(right * dy) + Math.abs(down * dx)) : Infinity;
    });
  });
}

// Clear a canvas and draw a picture over all of it, as soon as there is one.
function wipe(pen, width, height, image = null) {
  pen.clearRect(0, 0, width, height);
  pen.imageSmoothingEnabled = false;
  if (image && image.complete && image.naturalWidth) pen.drawImage(image, 0, 0, width, height);
}

// Squares of `step` in a grid, each `gap` smaller: `colour(row, column)`.
function cells(pen, rows, columns, step, colour, gap = 1, left = 0, top = 0) {
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
    pen.fillStyle = colour(i, j);
    pen.fillRect(left + j * step + gap / 2, top + i * step + gap / 2, step - gap, step - gap);
  }
}

// A canvas of coloured pixels: `colour(i)` is [red, green, blue], or null where nothing is painted.
function raster(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const brush = canvas.getContext("2d"), pixels = brush.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const rgb = colour(i);
    for (let c = 0; rgb && c < 4; c++) pixels.data[4 * i + c] = c < 3 ? rgb[c] : 255;
  }
  brush.putImageData(pixels, 0, 0);
}

// Fill and edge of the path that `shape` draws.
function mark(pen, shape, fill, edge, line) {
  pen.beginPath();
  shape();
  pen.fillStyle = fill;
  pen.fill();
  pen.lineWidth = line;
  pen.strokeStyle = edge;
  pen.stroke();
}

// Lines [[x1, y1], [x2, y2]].
function stroke(pen, lines, colour, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  for (const [from, to] of lines) { pen.moveTo(...from); pen.lineTo(...to); }
  pen.stroke();
}

// A rectangle on a darker one of `under` pixels, so that it shows on every ground; 0 leaves that out.
function outline(pen, [x, y, width, height], colour, line, under = line + 2.5, dash = []) {
  for (const [thick, look, dashes] of [[under, INK, []], [line, colour, dash]]) {
    if (!thick) continue;
    pen.lineWidth = thick;
    pen.strokeStyle = look;
    pen.setLineDash(dashes);
    pen.strokeRect(x, y, width, height);
  }
  pen.setLineDash([]);
}

// A cross that leaves its middle free, dark on light so that it shows on every ground.
function cross(pen, x, y, inner = 4, outer = 11) {
  const arms = [[1, 0], [-1, 0], [0, 1], [0, -1]].map(([dx, dy]) => [[x + inner * dx, y + inner * dy], [x + outer * dx, y + outer * dy]]);
  stroke(pen, arms, "#ffffff", 4);
  stroke(pen, arms, INK, 1.6);
}

const svg = (width, height, label, inner) => `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}" `
  + `style="width:100%;height:auto;display:block;font-family:inherit">${inner}</svg>`;

const line = (x1, y1, x2, y2, look = `stroke="${LINE}"`) => `<line x1="${x1}" x2="${x2}" y1="${y1}" y2="${y2}" ${look}/>`;

function text(x, y, words, { anchor = "start", size = 11, colour = FAINT, extra = "" } = {}) {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}" fill="${colour}" ${extra}>${words}</text>`;
}
