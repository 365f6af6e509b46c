// Score against the share of labels: which curve reaches a target first, and with how many labels?
const BOX = { left: 46, right: 700, top: 14, bottom: 250 };

function axes(curves) {
  const x = curves.flatMap((c) => c.points.map((p) => Math.log10(p[0])));
  const y = curves.flatMap((c) => c.points.flatMap((p) => [p[2], p[3]]));
  const low = Math.max(0, Math.floor(10 * Math.min(...y)) / 10), high = Math.min(1, Math.ceil(10 * Math.max(...y)) / 10);
  const [first, last] = [Math.min(...x), Math.max(...x)];
  const step = high - low > 0.25 ? 0.1 : 0.05;
  return {
    low, high, ticks: range(Math.round((high - low) / step) + 1, (i) => low + i * step), fractions: [...new Set(curves.flatMap((c) => c.points.map((p) => p[0])))].sort((a, b) => a - b),
    px: (f) => BOX.left + 20 + (BOX.right - BOX.left - 40) * (Math.log10(f) - first) / (last - first || 1),
    py: (v) => BOX.bottom - (BOX.bottom - BOX.top) * (v - low) / (high - low || 1),
  };
}

// Share of labels at which a curve first reaches the target, along straight lines on the logarithmic axis, and the patches it
// stands for: the draws keep rare classes, so 1% can be more than a hundredth.
function reached({ points, labels }, target) {
  const i = points.findIndex((p) => p[1] >= target);
  if (i <= 0) return i < 0 ? null : [points[0][0], labels[0]];
  const [[f0, v0], [f1, v1]] = points.slice(i - 1, i + 1), share = f0 * (f1 / f0) ** ((target - v0) / (v1 - v0));
  return [share, Math.round(labels[i - 1] + (labels[i] - labels[i - 1]) * (share - f0) / (f1 - f0))];
}

function path(curve, at) {
  const way = curve.points.map((p, i) => `${i ? "L" : "M"}${at.px(p[0]).toFixed(1)},${at.py(p[1]).toFixed(1)}`).join("");
  const bars = curve.points.map((p) => line(at.px(p[0]), at.py(p[2]), at.px(p[0]), at.py(p[3]), `stroke="${curve.colour}" stroke-width="1.2"`)
    + `<circle cx="${at.px(p[0])}" cy="${at.py(p[1])}" r="3.6" fill="${curve.colour}"/>`).join("");
  return `<path d="${way}" fill="none" stroke="${curve.colour}" stroke-width="2" ${curve.dashed ? 'stroke-dasharray="6 4"' : ""}/>${bars}`;
}

function render({ curves, unit }, el) {
  const at = axes(curves), state = { on: curves.map(() => true), target: clamp(0.5, at.low, at.high) };
  const root = frame(el, "Explorer: labels needed");
  const controls = box(root, `${ROW}gap:4px 16px;margin-bottom:6px`);
  curves.forEach((curve, i) => {
    tick(controls, curve.name, true, (on) => { state.on[i] = on; draw(); }, `border-bottom:3px ${curve.dashed ? "dashed" : "solid"} ${curve.colour}`);
  });
  const picture = box(root), target = box(root, "max-width:340px");
  const words = node("div", { role: "status", "aria-live": "polite", style: "margin-top:6px" }, root);

  function draw() {
    const shown = curves.filter((_, i) => state.on[i]), level = (v, look) => line(BOX.left, at.py(v), BOX.right, at.py(v), look);
    const grid = at.fractions.map((f) => text(at.px(f), 268, `${+(100 * f).toPrecision(3)}%`, { anchor: "middle" }))
      .concat(at.ticks.map((v) => level(v) + text(BOX.left - 6, at.py(v) + 4, (100 * v).toFixed(0), { anchor: "end" })));
    picture.innerHTML = svg(720, 290, `${unit} in percent against the share of labels`, grid.join("") + shown.map((c) => path(c, at)).join("")
      + level(state.target, `stroke="${INK}" stroke-dasharray="3 4"`)
      + text(373, 285, "share of the labelled training patches (logarithmic)", { anchor: "middle" }));
    const found = shown.map((c) => {
      const [f, patches] = reached(c, state.target) ?? [];
      return `<li>${c.name}: ${f ? `about <b>${+(100 * f).toPrecision(2)}%</b> of the labels, ${patches} patches${f === c.points[0][0] ? " or fewer" : ""}` : "not reached with the labels there are"}</li>`;
    });
    words.innerHTML = `To reach ${percent(state.target)} ${unit}:<ul style="margin:2px 0 0;padding-left:20px">${found.join("")}</ul>`;
  }

  slider(target, `target, ${unit}`, { min: at.low, max: at.high, step: 0.01, value: state.target, format: percent }, (v) => { state.target = v; draw(); });
  draw();
}
