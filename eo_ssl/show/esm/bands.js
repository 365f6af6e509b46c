// Band and decibel explorer: pick three Sentinel-2 bands and a stretch, read any pixel's spectrum and backscatter.
const INK = "#1f2933", FAINT = "#5f6b7a", LINE = "#d5dbe2", OPTICAL = "#4477aa", RADAR = "#aa3377";
const SIZE = 330; // pixels of the canvas on screen

function node(tag, attributes, parent, text) {
  const svg = ["svg", "line", "rect", "circle", "text", "path", "g"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.appendChild(made);
  return made;
}

async function unpack(payload, spec) {
  const raw = Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  const all = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 0;
  return spec.places.map((place) => {
    const pixels = place.width * place.height, count = spec.bands.length + spec.radar.length;
    const planes = [];
    for (let b = 0; b < count; b++, at += pixels) {
      const plane = all.slice(at, at + pixels);
      for (let i = 1; i < pixels; i++) if (i % place.width) plane[i] = (plane[i] + plane[i - 1]) & 255;
      planes.push(plane);
    }
    return planes;
  });
}

const signed = (value) => value.toFixed(1).replace("-", "−");

function percentile(plane, percent) {
  const counts = new Uint32Array(256);
  for (const v of plane) counts[v]++;
  let left = (percent / 100) * plane.length;
  for (let v = 0; v < 256; v++) { left -= counts[v]; if (left <= 0) return v; }
  return 255;
}

function select(parent, name, options, value, changed) {
  const label = node("label", { style: "display:flex;flex-direction:column;gap:2px;font-size:12px;color:" + FAINT }, parent, name);
  const input = node("select", { "aria-label": name, style: `font:inherit;font-size:14px;color:${INK};background:#fff;padding:3px 4px;border:1px solid #8a94a0;border-radius:4px;max-width:100%` }, label);
  for (const option of options) node("option", { value: option[0] }, input, option[1]);
  input.value = value;
  input.addEventListener("change", () => changed(input.value));
  return input;
}

function slider(parent, name, min, max, value, unit, changed) {
  const label = node("label", { style: "display:flex;flex-direction:column;gap:2px;flex:1 1 130px;font-size:12px;color:" + FAINT }, parent);
  const line = node("span", { style: "display:flex;justify-content:space-between" }, label);
  node("span", {}, line, name);
  const shown = node("output", { style: `color:${INK};font-variant-numeric:tabular-nums` }, line);
  const input = node("input", { type: "range", min, max, step: 1, "aria-label": name, style: "width:100%;margin:0;accent-color:#4477aa" }, label);
  input.set = (v) => { input.value = v; shown.textContent = `${String(v).replace("-", "−")} ${unit}`; input.setAttribute("aria-valuetext", shown.textContent); };
  input.set(value);
  input.addEventListener("input", () => { input.set(input.value); changed(Number(input.value)); });
  return input;
}

function picture(parent, name, hint) {
  const box = node("div", { style: "flex:1 1 240px;min-width:0;max-width:350px" }, parent);
  const caption = node("div", { style: "font-weight:600;margin-bottom:4px" }, box, name);
  const canvas = node("canvas", {
    width: SIZE, height: SIZE, tabindex: 0, role: "application", "aria-label": `${name}. ${hint}`,
    style: "width:100%;aspect-ratio:1;display:block;border-radius:4px;cursor:crosshair;touch-action:none",
  }, box);
  return { box, caption, canvas };
}

function drawSpectrum(svg, spec, values, vv, vh) {
  svg.replaceChildren();
  const right = 500, bottom = 150, top = Math.max(0.3, Math.ceil(Math.max(...values) * 10) / 10);
  const x = (nm) => 44 + ((nm - 400) / 1900) * (right - 44), y = (r) => bottom - (r / top) * (bottom - 16);
  const tiny = { "font-size": 11, fill: FAINT };
  for (const nm of [500, 1000, 1500, 2000]) {
    node("text", { ...tiny, x: x(nm), y: bottom + 15, "text-anchor": "middle" }, svg, nm === 2000 ? "2000 nm" : nm);
  }
  for (let r = 0; r <= top + 1e-9; r += top / 2) {
    node("line", { x1: 44, x2: right, y1: y(r), y2: y(r), stroke: LINE }, svg);
    node("text", { ...tiny, x: 38, y: y(r) + 4, "text-anchor": "end" }, svg, r.toFixed(2));
  }
  const order = spec.bands.map((b, i) => i).sort((a, b) => spec.bands[a].centre - spec.bands[b].centre);
  const path = order.map((i, k) => `${k ? "L" : "M"}${x(spec.bands[i].centre)} ${y(values[i])}`).join("");
  node("path", { d: path, fill: "none", stroke: OPTICAL, "stroke-opacity": 0.5 }, svg);
  for (const i of order) {
    const band = spec.bands[i], w = (band.width / 1900) * (right - 44);
    const mark = node("rect", { x: x(band.centre) - w / 2, y: y(values[i]) - 2, width: Math.max(w, 3), height: 4, fill: OPTICAL }, svg);
    node("title", {}, mark, `${band.name} ${band.sees}: ${values[i].toFixed(3)}`);
  }
  node("text", { ...tiny, x: 44, y: 9 }, svg, "reflectance");
  node("text", { ...tiny, x: 530, y: 9 }, svg, "backscatter");
  [["VV", vv, 1], ["VH", vh, 0.55]].forEach(([name, db, opacity], k) => {
    const share = Math.min(1, Math.max(0.01, (db + 35) / 35)), tall = share * (bottom - 34);
    node("rect", { x: 540 + k * 48, y: bottom - tall, width: 30, height: tall, fill: RADAR, opacity }, svg);
    node("text", { "font-size": 11, fill: INK, x: 555 + k * 48, y: bottom - tall - 5, "text-anchor": "middle" }, svg, signed(db));
    node("text", { ...tiny, x: 555 + k * 48, y: bottom + 15, "text-anchor": "middle" }, svg, `${name} dB`);
  });
  svg.setAttribute("aria-label", `Spectrum of the pixel, highest ${Math.max(...values).toFixed(2)}; VV ${signed(vv)} dB, VH ${signed(vh)} dB`);
}

async function render({ model, el }) {
  const spec = model.get("spec"), bands = spec.bands.map((b) => b.name);
  const card = node("div", {
    role: "group", "aria-label": "Band and decibel explorer", class: "eo-band-explorer",
    style: `background:#fff;color:${INK};border:1px solid ${LINE};border-radius:8px;padding:14px 16px;font:14px/1.4 Inter,system-ui,sans-serif;max-width:740px;box-sizing:border-box`,
  }, el);
  if (typeof DecompressionStream === "undefined") {
    node("p", {}, card, "This explorer needs a browser from 2023 or later; the figure beside it shows its first state.");
    return;
  }
  const planes = await unpack(model.get("payload"), spec);
  const presets = new Map(spec.presets), [first, start] = spec.presets[0] || ["own", bands.slice(0, 3)];
  const state = { place: 0, rgb: [...start], low: 2, high: 98, radar: "VV", min: -25, max: 0, linear: false, x: 0.5, y: 0.5 };
  const row = (extra) => node("div", { style: "display:flex;flex-wrap:wrap;gap:10px 16px;align-items:end;" + (extra || "") }, card);

  const head = row();
  select(head, "Place", spec.places.map((p, i) => [i, p.title]), 0, (v) => { state.place = Number(v); draw(); });
  const images = row("align-items:start;margin-top:10px;gap:16px");
  const hint = "Arrow keys move the crosshair, with Shift in larger steps.";
  const optical = picture(images, "Sentinel-2", hint), radar = picture(images, "Sentinel-1", hint);

  const grid = "display:grid;grid-template-columns:repeat(6,minmax(0,1fr));gap:8px 10px;margin-top:8px";
  const span = (input, columns) => { input.closest("label").style.gridColumn = `span ${columns}`; return input; };
  const left = node("div", { style: grid }, optical.box);
  const named = [...[...presets.keys()].map((n) => [n, n]), ["own", "my own choice"]];
  const preset = span(select(left, "Bands", named, first, (v) => {
    if (v === "own") return;
    state.rgb = [...presets.get(v)];
    colours.forEach((input, i) => { input.value = state.rgb[i]; });
    draw();
  }), 6);
  const options = spec.bands.map((b) => [b.name, `${b.name} ${b.sees}`]);
  const colours = ["Red", "Green", "Blue"].map((name, i) => {
    return span(select(left, name, options, state.rgb[i], (v) => { state.rgb[i] = v; preset.value = "own"; draw(); }), 2);
  });
  span(slider(left, "Black at percentile", 0, 49, state.low, "", (v) => { state.low = v; draw(); }), 3);
  span(slider(left, "White at percentile", 51, 100, state.high, "", (v) => { state.high = v; draw(); }), 3);

  const side = node("div", { style: grid }, radar.box);
  const kinds = [...spec.radar.map((b) => [b.name, `${b.name}, grey`]), ["colour", "VV red, VH green, VV−VH blue"]];
  span(select(side, "Shown", kinds, state.radar, (v) => { state.radar = v; draw(); }), 6);
  const scale = node("label", { style: "display:flex;gap:8px;align-items:center;grid-column:span 6;min-height:44px" }, side);
  const linear = node("input", { type: "checkbox", style: "accent-color:#4477aa" }, scale);
  node("span", {}, scale, "linear power instead of decibels");
  linear.addEventListener("change", () => { state.linear = linear.checked; draw(); });
  const bottom = span(slider(side, "Black at", -40, -1, state.min, "dB", (v) => {
    state.min = v; if (state.max <= v) { state.max = v + 1; top.set(state.max); } draw();
  }), 3);
  const top = span(slider(side, "White at", -30, 6, state.max, "dB", (v) => {
    state.max = v; if (state.min >= v) { state.min = v - 1; bottom.set(state.min); } draw();
  }), 3);

  const svg = node("svg", { viewBox: "0 0 640 172", role: "img", style: "width:100%;margin-top:10px;font-family:inherit" }, card);
  const readout = node("div", { "aria-live": "polite", style: `font-size:13px;color:${FAINT};font-variant-numeric:tabular-nums` }, card);

  const buffer = document.createElement("canvas");
  const toDb = (byte) => spec.db[0] + (byte / 255) * (spec.db[1] - spec.db[0]);
  const value = (b, i) => { const p = spec.places[state.place]; return p.low[b] + (planes[state.place][b][i] / 255) * (p.high[b] - p.low[b]); };

  function paint(canvas, channels) {
    const { width, height } = spec.places[state.place];
    buffer.width = width; buffer.height = height;
    const context = buffer.getContext("2d"), image = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = channels[c][0][channels[c][1][i]];
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    const screen = canvas.getContext("2d");
    screen.imageSmoothingEnabled = false;
    screen.drawImage(buffer, 0, 0, SIZE, SIZE);
    const x = (Math.floor(state.x * width) + 0.5) * SIZE / width, y = (Math.floor(state.y * height) + 0.5) * SIZE / height;
    for (const [colour, w] of [["#000", 3], ["#fff", 1.2]]) {
      screen.strokeStyle = colour; screen.lineWidth = w; screen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        screen.moveTo(x + 5 * dx, y + 5 * dy); screen.lineTo(x + 14 * dx, y + 14 * dy);
      }
      screen.stroke();
    }
  }
  const ramp = (from, to, bend) => Uint8Array.from({ length: 256 }, (_, v) => 255 * Math.min(1, Math.max(0, bend((v - from) / Math.max(to - from, 1)))));
  const power = (db) => Math.pow(10, db / 10);
  function tone(min, max) {
    const place = (db) => state.linear ? (power(db) - power(min)) / (power(max) - power(min)) : (db - min) / (max - min);
    return Uint8Array.from({ length: 256 }, (_, v) => 255 * Math.min(1, Math.max(0, place(toDb(v)))));
  }
  function radarChannels() {
    const [vv, vh] = planes[state.place].slice(bands.length);
    if (state.radar !== "colour") { const c = [tone(state.min, state.max), state.radar === "VV" ? vv : vh]; return [c, c, c]; }
    const ratio = vv.map((v, i) => Math.min(255, Math.max(0, 128 + v - vh[i])));
    const step = (spec.db[1] - spec.db[0]) / 255;
    return [[tone(state.min, state.max), vv], [tone(state.min - 7, state.max - 7), vh], [ramp(128, 128 + 15 / step, (t) => t), ratio]];
  }
  function draw() {
    const chosen = state.rgb.map((n) => planes[state.place][bands.indexOf(n)]);
    const bright = (t) => Math.pow(Math.max(t, 0), 0.8);
    paint(optical.canvas, chosen.map((p) => [ramp(percentile(p, state.low), percentile(p, state.high), bright), p]));
    paint(radar.canvas, radarChannels());
    optical.caption.textContent = `Sentinel-2: ${state.rgb.join(", ")}`;
    radar.caption.textContent = `Sentinel-1: ${state.radar === "colour" ? "VV, VH, VV−VH" : state.radar} in ${state.linear ? "linear power" : "dB"}`;
    read();
  }
  function read() {
    const { width, height } = spec.places[state.place];
    const column = Math.floor(state.x * width), line = Math.floor(state.y * height), i = line * width + column;
    const values = spec.bands.map((_, b) => value(b, i));
    const [vv, vh] = [0, 1].map((k) => toDb(planes[state.place][bands.length + k][i]));
    drawSpectrum(svg, spec, values, vv, vh);
    const said = state.rgb.map((n) => `${n} ${values[bands.indexOf(n)].toFixed(3)}`).join(" · ");
    readout.textContent = `Row ${line}, column ${column}: ${said} · VV ${signed(vv)} dB (power ${power(vv).toFixed(3)}) · VH ${signed(vh)} dB`;
  }
  function moveTo(x, y) {
    state.x = Math.min(0.9999, Math.max(0, x)); state.y = Math.min(0.9999, Math.max(0, y));
    draw();
  }
  for (const { canvas } of [optical, radar]) {
    const point = (event) => { const box = canvas.getBoundingClientRect(); moveTo((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height); };
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const size = (event.shiftKey ? 10 : 1) / spec.places[state.place].width;
      moveTo(state.x + step[0] * size, state.y + step[1] * size);
    });
  }
  draw();
}
export default { render };
