// Who is in training, who in test, and what a nearest neighbour makes of it: three ways of splitting the same patches.
const TRAIN = "#4477aa", TEST = "#ee7733", WAYS = ["single patches", "a side of each scene", "whole scenes"];

function randomness(seed) { // a linear congruential generator: the same draws on every machine
  let a = seed;
  return () => (a = (a * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}

const shuffled = (items, next) => items.map((item) => [next(), item]).sort((a, b) => a[0] - b[0]).map(([, item]) => item);

// Which patches are test, as 0/1: `way` 0 patches, 1 a side of each scene, 2 whole scenes.
function drawSplit(patches, scenes, way, share, next) {
  const all = range(patches.length, (i) => i), numbers = range(scenes, (s) => s);
  const own = (s) => all.filter((i) => patches[i][0] === s), some = (items) => items.slice(0, Math.max(1, Math.round(share * items.length)));
  const side = (s) => {
    const axis = next() < 0.5 ? 1 : 2, sign = next() < 0.5 ? 1 : -1;
    return some(own(s).sort((a, b) => sign * (patches[a][axis] - patches[b][axis])));
  };
  const test = [() => some(shuffled(all, next)), () => numbers.flatMap(side), () => some(shuffled(numbers, next)).flatMap(own)][way]();
  return Uint8Array.from(all, (i) => test.includes(i));
}

const overlaps = (a, b) => a[0] === b[0] && Math.abs(a[1] - b[1]) < 0.999 && Math.abs(a[2] - b[2]) < 0.999;

// Share of a patch's ground that training patches show too, on 16 × 16 points.
function shared(patches, test, i) {
  const near = patches.filter((p, j) => !test[j] && overlaps(p, patches[i]));
  return sum(range(256, (k) => {
    const x = patches[i][1] + ((k % 16) + 0.5) / 16, y = patches[i][2] + (Math.floor(k / 16) + 0.5) / 16;
    return near.some((p) => x >= p[1] && x < p[1] + 1 && y >= p[2] && y < p[2] + 1);
  })) / 256;
}

// Nearest training patch of each test patch in band statistics, each divided by its spread over the training patches.
function nearest(features, width, test) {
  const rows = range(test.length, (i) => features.subarray(i * width, (i + 1) * width)), train = [...rows.keys()].filter((i) => !test[i]);
  const weight = range(width, (f) => {
    const values = train.map((i) => rows[i][f]), mean = sum(values) / train.length;
    return 1 / Math.max(sum(values.map((v) => (v - mean) ** 2)) / train.length, 1e-6);
  });
  return rows.map((row, i) => {
    let best = Infinity, found = -1;
    for (const j of test[i] ? train : []) {
      let d = 0;
      for (let f = 0; f < width && d < best; f++) d += weight[f] * (row[f] - rows[j][f]) ** 2;
      if (d < best) { best = d; found = j; }
    }
    return found;
  });
}

function render(spec, el) {
  const { patches, scenes, classes, width } = spec, features = bytes(spec.features, true), columns = Math.min(4, scenes.length), lines = Math.ceil(scenes.length / columns);
  const cell = 172, head = 18, gap = 8, wide = columns * cell + (columns - 1) * gap, high = lines * (cell + head + gap);
  const state = { way: 0, share: 0.25, seed: 1, chosen: 0, log: WAYS.map(() => []) };

  const root = frame(el, "Explorer: ways of splitting patches, and what leaks");
  const controls = box(root, `${ROW}gap:8px 24px;align-items:flex-end;margin-bottom:8px`);
  choice(controls, "the test set is made of", WAYS, state.way, (i) => { state.way = i; again(); });
  slider(controls, "share of the test set", { min: 0.1, max: 0.5, step: 0.05, value: state.share, format: percent },
    (v) => { state.share = v; state.log = WAYS.map(() => []); fill(); again(); });
  button(controls, "draw again", () => { state.seed++; again(); });

  const [canvas, pen] = drawing(root, wide, high, "Scenes seen from above with the centres of their patches: training or test. Move with the arrow keys.", true);
  const key = box(root, `${HINT}margin:2px 0 6px`);
  key.innerHTML = `<span style="color:${TRAIN}">●</span> training &nbsp; <span style="color:${TEST}">●</span> test, class right &nbsp; <span style="color:${TEST}">○</span> test, class wrong &nbsp;·&nbsp; hover, touch or use the arrow keys`;
  const about = status(root, "margin:0 0 8px;min-height:3em", "note");
  const words = status(root, `margin:0 0 4px;border-top:1px solid ${LINE};padding-top:8px`);
  const strip = box(root);

  const sheet = photo(spec.sprite, () => draw());
  const corner = (s) => [(s % columns) * (cell + gap), Math.floor(s / columns) * (cell + head + gap) + head];
  const unit = (s) => cell / scenes[s].side;
  const centres = patches.map(([s, x, y]) => [corner(s)[0] + (x + 0.5) * unit(s), corner(s)[1] + (y + 0.5) * unit(s)]);

  function evaluate(way, seed) {
    const test = drawSplit(patches, scenes.length, way, state.share, randomness(seed * 7919 + way * 104729 + Math.round(state.share * 100)));
    const near = nearest(features, width, test), members = [...patches.keys()].filter((i) => test[i]);
    const right = members.filter((i) => near[i] >= 0 && patches[near[i]][3] === patches[i][3]).length / members.length;
    return { test, near, members, right };
  }

  function fill() { for (let way = 0; way < 3; way++) for (let seed = 1001; seed < 1005; seed++) state.log[way].push(evaluate(way, seed).right); }

  function again() {
    state.now = evaluate(state.way, state.seed);
    state.log[state.way].push(state.now.right);
    draw();
  }

  function square(p, colour, line, under = 0, dash = []) {
    const [x, y] = corner(p[0]), u = unit(p[0]);
    outline(pen, [x + p[1] * u, y + p[2] * u, u, u], colour, line, under, dash);
  }

  function draw() {
    const { test, near } = state.now;
    wipe(pen, wide, high);
    pen.font = "12px Inter, system-ui, sans-serif";
    scenes.forEach((scene, s) => {
      const [x, y] = corner(s), side = sheet.naturalWidth / columns;
      if (sheet.complete && side) pen.drawImage(sheet, (s % columns) * side, Math.floor(s / columns) * side, side, side, x, y, cell, cell);
      pen.fillStyle = FAINT;
      pen.fillText(scene.name, x, y - 5);
    });
    patches.forEach((p, i) => {
      const wrong = test[i] && patches[near[i]][3] !== p[3];
      mark(pen, () => pen.arc(...centres[i], 4.5, 0, 7), wrong ? "#fff" : test[i] ? TEST : TRAIN, wrong ? TEST : "#fff", wrong ? 2 : 1);
    });
    const i = state.chosen, p = patches[i], touching = patches.filter((q, j) => test[j] !== test[i] && overlaps(p, q));
    touching.forEach((q) => square(q, test[i] ? TRAIN : TEST, 1.5));
    if (test[i]) square(patches[near[i]], "#fff", 2.5, 0, [4, 3]);
    square(p, CHOSEN, 2.5, 4.5);
    tell(i, p, touching.length);
    chart();
  }

  function tell(i, p, touching) {
    const { test, near, members, right } = state.now, ground = members.map((k) => shared(patches, test, k)), name = (k) => classes[patches[k][3]];
    const where = `A <b>${test[i] ? "test" : "training"}</b> patch of ${scenes[p[0]].name} (${name(i)}). `;
    if (test[i]) {
      const twin = near[i], home = patches[twin][0] === p[0] ? "of the same scene" : `in ${scenes[patches[twin][0]].name}`;
      about.innerHTML = `${where}Training patches show <b>${percent(shared(patches, test, i))}</b> of its ground. Its nearest training patch (dashed) is ${home} and is ${name(twin)}: ${name(twin) === name(i) ? "right" : "<b>wrong</b>"}.`;
    } else about.innerHTML = `${where}It shares ground with ${touching} test patch${touching === 1 ? "" : "es"}.`;
    words.innerHTML = `Test set of ${WAYS[state.way]}: <b>${ground.filter((g) => g > 0).length} of ${members.length}</b> test patches share ground with training (mean share <b>${percent(sum(ground) / ground.length)}</b>). The class of the nearest training patch is right for <b>${percent(right)}</b> of them.`;
  }

  // One dot a draw, one line a way of splitting.
  function chart() {
    const x = (v) => 130 + v * (wide - 160), ticks = range(6, (i) => i / 5);
    const dots = WAYS.map((name, way) => text(0, 24 + way * 30, name, { size: 12, colour: way === state.way ? INK : FAINT })
      + state.log[way].map((v, k, all) => {
        const last = way === state.way && k === all.length - 1;
        return `<circle cx="${x(v)}" cy="${20 + way * 30}" r="${last ? 6 : 4}" fill="${last ? TEST : TRAIN}" opacity="${last ? 1 : 0.45}"/>`;
      }).join(""));
    const means = WAYS.map((name, way) => `${name} ${percent(sum(state.log[way]) / Math.max(1, state.log[way].length))} on average`);
    strip.innerHTML = svg(wide, 112, `Share of test patches whose class is right, by way of splitting: ${means.join(", ")}`,
      ticks.map((v) => line(x(v), 4, x(v), 92) + text(x(v), 108, percent(v), { anchor: "middle" })).join("") + dots.join(""));
  }

  pick(canvas, wide, high, () => centres, state, draw, 3);
  fill();
  again();
  state.chosen = state.now.members[0] ?? 0;
  draw();
}
