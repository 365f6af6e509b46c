// Band and decibel explorer: pick three Sentinel-2 bands and a stretch, read any pixel's spectrum and backscatter.
const SIZE = 330; // pixels of the canvas on screen

// Planes of bytes, row by row the differences to the left neighbour: a plane for each band, then VV and VH.
async function unpack({ payload, places, bands }) {
  const stream = new Blob([bytes(payload)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const all = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 0;
  return places.map(({ width, height }) => range(bands.length + 2, () => {
    const plane = all.slice(at, at += width * height);
    for (let i = 1; i < plane.length; i++) if (i % width) plane[i] += plane[i - 1];
    return plane;
  }));
}

const percentile = (plane, share) => plane.slice().sort()[Math.max(0, Math.ceil((share / 100) * plane.length) - 1)];

function picture(parent, name) {
  const whole = box(parent, "flex:1 1 240px;min-width:0;max-width:350px");
  const caption = box(whole, "font-weight:600;margin-bottom:4px", name);
  const [canvas, pen] = drawing(whole, SIZE, SIZE, `${name}. Arrow keys move the crosshair, with Shift in larger steps.`, true);
  const controls = box(whole, "display:grid;grid-template-columns:repeat(6,minmax(0,1fr));gap:8px 10px;margin-top:8px;font-size:13px");
  return { caption, canvas, pen, controls };
}

function spectrum(bands, values, vv, vh) {
  const right = 500, bottom = 150, top = Math.max(0.3, Math.ceil(Math.max(...values) * 10) / 10);
  const x = (nm) => 44 + ((nm - 400) / 1900) * (right - 44), y = (r) => bottom - (r / top) * (bottom - 16);
  const order = bands.map((_, i) => i).sort((a, b) => bands[a].centre - bands[b].centre);
  const ticks = [500, 1000, 1500, 2000].map((nm) => text(x(nm), bottom + 15, nm === 2000 ? "2000 nm" : nm, { anchor: "middle" }));
  const levels = [0, top / 2, top].map((r) => line(44, y(r), right, y(r)) + text(38, y(r) + 4, r.toFixed(2), { anchor: "end" }));
  const path = order.map((i, k) => `${k ? "L" : "M"}${x(bands[i].centre)} ${y(values[i])}`).join("");
  const marks = order.map((i) => {
    const wide = Math.max((bands[i].width / 1900) * (right - 44), 3);
    return `<rect x="${x(bands[i].centre) - wide / 2}" y="${y(values[i]) - 2}" width="${wide}" height="4" fill="${S2}">`
      + `<title>${bands[i].name} ${bands[i].sees}: ${values[i].toFixed(3)}</title></rect>`;
  });
  const radar = [["VV", vv, 1], ["VH", vh, 0.55]].map(([name, db, opacity], k) => {
    const tall = clamp((db + 35) / 35, 0.01, 1) * (bottom - 34), middle = 555 + k * 48;
    return `<rect x="${middle - 15}" y="${bottom - tall}" width="30" height="${tall}" fill="${S1}" opacity="${opacity}"/>`
      + text(middle, bottom - tall - 5, signed(db, 1), { anchor: "middle", colour: INK }) + text(middle, bottom + 15, `${name} dB`, { anchor: "middle" });
  });
  const label = `Spectrum of the pixel, highest ${Math.max(...values).toFixed(2)}; VV ${signed(vv, 1)} dB, VH ${signed(vh, 1)} dB`;
  return svg(640, 172, label, [...ticks, ...levels, `<path d="${path}" fill="none" stroke="${S2}" stroke-opacity="0.5"/>`, ...marks, ...radar,
    text(44, 9, "reflectance"), text(530, 9, "backscatter")].join(""));
}

async function render(spec, el) {
  const { bands, places } = spec, names = bands.map((b) => b.name), root = frame(el, "Band and decibel explorer");
  const planes = await unpack(spec);
  const presets = new Map(spec.presets), [first, start] = spec.presets[0] || ["own", names.slice(0, 3)];
  const state = { place: 0, rgb: [...start], low: 2, high: 98, radar: "VV", min: -25, max: 0, linear: false };
  const set = (key) => (v) => { state[key] = v; draw(); };
  const centre = () => { state.row = Math.floor(places[state.place].height / 2); state.column = Math.floor(places[state.place].width / 2); };

  select(root, "Place", places.map((p, i) => [i, p.title]), (v) => { state.place = Number(v); centre(); draw(); });
  const images = box(root, `${ROW}align-items:start;margin-top:10px;gap:16px`);
  const optical = picture(images, "Sentinel-2"), radar = picture(images, "Sentinel-1");
  const span = (input, columns) => { input.closest("label").style.gridColumn = `span ${columns}`; return input; };
  const preset = span(select(optical.controls, "Bands", [...[...presets.keys()].map((n) => [n, n]), ["own", "my own choice"]], (v) => {
    state.rgb = [...(presets.get(v) ?? state.rgb)];
    colours.forEach((input, i) => { input.value = state.rgb[i]; });
    draw();
  }), 6);
  preset.value = first;
  const colours = ["Red", "Green", "Blue"].map((name, i) => {
    const options = bands.map((b) => [b.name, `${b.name} ${b.sees}`]);
    const input = span(select(optical.controls, name, options, (v) => { state.rgb[i] = v; preset.value = "own"; draw(); }), 2);
    input.value = state.rgb[i];
    return input;
  });
  const stretch = (parent, name, key, min, max, format, changed = set(key)) => span(slider(parent, name, { min, max, step: 1, value: state[key], format }, changed), 3);
  stretch(optical.controls, "Black at percentile", "low", 0, 49, String);
  stretch(optical.controls, "White at percentile", "high", 51, 100, String);
  const kinds = [["VV", "VV, grey"], ["VH", "VH, grey"], ["colour", "VV red, VH green, VV−VH blue"]];
  span(select(radar.controls, "Shown", kinds, set("radar")), 6);
  tick(radar.controls, "linear power instead of decibels", false, set("linear"), "grid-column:span 6;min-height:44px");
  const db = (v) => `${signed(v, 0)} dB`;
  // Black never passes white.
  const bottom = stretch(radar.controls, "Black at", "min", -40, -1, db, (v) => { top.set(state.max = Math.max(state.max, v + 1)); set("min")(v); });
  const top = stretch(radar.controls, "White at", "max", -30, 6, db, (v) => { bottom.set(state.min = Math.min(state.min, v - 1)); set("max")(v); });
  const chart = box(root, "margin-top:10px"), words = status(root, `margin:0;${HINT}font-variant-numeric:tabular-nums`);

  const buffer = document.createElement("canvas");
  const toDb = (byte) => spec.db[0] + (byte / 255) * (spec.db[1] - spec.db[0]);

  // `channels` are red, green and blue, each a table of 256 tones and the bytes that it is for.
  function paint(pen, channels) {
    const { width, height } = places[state.place];
    raster(buffer, width, height, (i) => channels.map(([tone, plane]) => tone[plane[i]]));
    pen.imageSmoothingEnabled = false;
    pen.drawImage(buffer, 0, 0, SIZE, SIZE);
    cross(pen, (state.column + 0.5) * SIZE / width, (state.row + 0.5) * SIZE / height, 5, 14);
  }

  const tones = (of) => Uint8Array.from({ length: 256 }, (_, v) => 255 * clamp(of(v), 0, 1));
  const ramp = (from, to, bend = 1) => tones((v) => Math.max(0, (v - from) / Math.max(to - from, 1)) ** bend);
  const power = (v) => 10 ** (v / 10);
  const tone = (min, max) => tones((v) => (state.linear ? (power(toDb(v)) - power(min)) / (power(max) - power(min)) : (toDb(v) - min) / (max - min)));

  function radarChannels() {
    const [vv, vh] = planes[state.place].slice(names.length), own = tone(state.min, state.max);
    if (state.radar !== "colour") return Array(3).fill([own, state.radar === "VV" ? vv : vh]);
    const ratio = vv.map((v, i) => clamp(128 + v - vh[i], 0, 255)), step = (spec.db[1] - spec.db[0]) / 255;
    return [[own, vv], [tone(state.min - 7, state.max - 7), vh], [ramp(128, 128 + 15 / step), ratio]];
  }

  function draw() {
    const chosen = state.rgb.map((n) => planes[state.place][names.indexOf(n)]);
    paint(optical.pen, chosen.map((p) => [ramp(percentile(p, state.low), percentile(p, state.high), 0.8), p]));
    paint(radar.pen, radarChannels());
    optical.caption.textContent = `Sentinel-2: ${state.rgb.join(", ")}`;
    radar.caption.textContent = `Sentinel-1: ${state.radar === "colour" ? "VV, VH, VV−VH" : state.radar} in ${state.linear ? "linear power" : "dB"}`;
    const { width, low, high } = places[state.place], own = planes[state.place], i = state.row * width + state.column;
    const values = bands.map((_, b) => low[b] + (own[b][i] / 255) * (high[b] - low[b]));
    const [vv, vh] = [0, 1].map((k) => toDb(own[bands.length + k][i]));
    chart.innerHTML = spectrum(bands, values, vv, vh);
    const said = state.rgb.map((n) => `${n} ${values[names.indexOf(n)].toFixed(3)}`).join(" · ");
    words.textContent = `Row ${state.row}, column ${state.column}: ${said} · VV ${signed(vv, 1)} dB (power ${power(vv).toFixed(3)}) · VH ${signed(vh, 1)} dB`;
  }

  for (const { canvas } of [optical, radar]) walk(canvas, () => [places[state.place].width, places[state.place].height], state, draw, 10);
  centre();
  draw();
}
