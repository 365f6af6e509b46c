// One anchor, one partner, N negatives: what the softmax makes of their similarities.
function weights(positive, negatives, temperature) {
  const logits = [positive, ...negatives].map((s) => s / temperature);
  const top = Math.max(...logits);                    // subtract the largest, so that exp never overflows
  const powers = logits.map((l) => Math.exp(l - top));
  const total = sum(powers);
  return { p: powers.map((x) => x / total), loss: top + Math.log(total) - logits[0] };
}

function bars(values, { low, high, y, height, colour, title }) {
  const left = 46, width = 640, step = Math.min(26, width / values.length), zero = y + height * high / (high - low);
  const one = values.map((v, i) => {
    const end = y + height * (high - v) / (high - low);
    const x = left + i * step + (i > 0 ? 8 : 0);
    const rect = `x="${x.toFixed(1)}" y="${Math.min(zero, end).toFixed(2)}" width="${Math.max(0.8, step - 1).toFixed(1)}"`;
    return `<rect ${rect} height="${Math.max(0.4, Math.abs(end - zero)).toFixed(2)}" fill="${i ? colour : OWN}"/>`;
  });
  const ticks = [low, 0, high].filter((t, i, all) => all.indexOf(t) === i).map((t) => {
    const at = y + height * (high - t) / (high - low);
    return line(left - 4, at, 700, at) + text(left - 8, at + 4, signed(t, t % 1 ? 2 : 0), { anchor: "end" });
  });
  return text(left, y - 9, title, { size: 12.5, colour: INK }) + ticks.join("") + one.join("");
}

function render(spec, el) {
  const all = spec.negatives, state = { log: Math.log10(spec.temperature), count: spec.count, positive: spec.positive };
  const root = frame(el, "Explorer: temperature and negatives");
  const controls = box(root, `${ROW}gap:10px 24px;margin-bottom:6px`), picture = box(root), words = status(root);

  // Evenly spaced quantiles: few negatives look like many, only fewer.
  const chosen = () => range(state.count, (i) => all[Math.floor((i + 0.5) * all.length / state.count)]);

  function draw() {
    const temperature = 10 ** state.log, negatives = chosen();
    const { p, loss } = weights(state.positive, negatives, temperature);
    const high = Math.max(0.1, Math.ceil(Math.max(...p) * 10) / 10);
    const chance = Math.log(1 + negatives.length), pushed = p.slice(1).map((x) => x / sum(p.slice(1))).filter((x) => x > 0);
    const many = Math.exp(-sum(pushed.map((x) => x * Math.log(x)))); // exp(entropy) of the shares among the negatives
    picture.innerHTML = svg(720, 290, `Similarities of the partner and ${negatives.length} negatives above, their softmax shares below`, bars([state.positive, ...negatives], { low: -1, high: 1, y: 26, height: 96, colour: OTHER, title: "cosine with the anchor: first the partner (green), then the negatives (red)" })
      + bars(p, { low: 0, high, y: 168, height: 108, colour: OTHER, title: "softmax share of each: a negative is pushed away by its share; the partner is pulled by what it lacks" }));
    words.innerHTML = `loss <b>${loss.toFixed(3)}</b> (chance ${chance.toFixed(3)}) · partner’s share <b>${percent(p[0], 1)}</b> · `
      + `the push acts as if on <b>${many.toFixed(1)}</b> of ${negatives.length} negatives · gradient on the partner’s cosine <b>${signed(-(1 - p[0]) / temperature)}</b>`;
  }

  slider(controls, "temperature τ", { min: -2.3, max: 0, step: 0.02, value: state.log, format: (v) => (10 ** v).toFixed(3) }, (v) => { state.log = v; draw(); });
  slider(controls, "number of negatives", { min: 2, max: all.length, step: 1, value: state.count, format: String }, (v) => { state.count = v; draw(); });
  slider(controls, "cosine of the partner", { min: -1, max: 1, step: 0.01, value: state.positive, format: signed }, (v) => { state.positive = v; draw(); });
  draw();
}
