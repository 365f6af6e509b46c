// Recall per class and share of classes: average accuracy weighs classes alike, overall accuracy weighs patches alike.
function scores(recall, share) {
  const there = share.map((s) => s > 0), count = sum(there) || 1;
  return { aa: sum(recall.filter((_, i) => there[i])) / count, oa: sum(recall.map((r, i) => r * share[i])) / (sum(share) || 1), count };
}

function picture(names, colours, recall, share, { aa, oa }) {
  const top = Math.max(...share, 0.01), x = (i) => 40 + i * 84;
  const one = names.map((name, i) => {
    const width = 8 + 58 * share[i] / top, height = 120 * recall[i];
    return `<rect x="${x(i) + 34 - width / 2}" y="${136 - height}" width="${width}" height="${height}" fill="${colours[i]}" stroke="${LINE}"/>`
      + text(x(i) + 34, 152, name, { anchor: "middle", colour: INK }) + text(x(i) + 34, 166, percent(share[i], 1), { anchor: "middle" });
  });
  const level = (value, colour, name, dy) => line(36, 136 - 120 * value, 708, 136 - 120 * value, `stroke="${colour}" stroke-width="1.6" stroke-dasharray="5 4"`)
    + text(714, 136 - 120 * value + dy, `${name} ${percent(value, 1)}`, { size: 11.5, colour, extra: 'font-weight="600"' });
  const apart = aa >= oa ? [-2, 11] : [11, -2];
  const ticks = [0, 0.5, 1].map((t) => text(32, 140 - 120 * t, 100 * t, { anchor: "end" }));
  return one.join("") + ticks.join("") + level(aa, S1, "AA", apart[0]) + level(oa, S2, "OA", apart[1]);
}

function render({ names, colours, splits, shares, recall }, el) {
  const state = { recall: [...recall], split: 0 };
  const root = frame(el, "Explorer: average and overall accuracy");
  const top = box(root, "margin-bottom:8px"), chart = box(root), words = status(root, "margin:4px 0 8px");
  const controls = box(root, "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,200px),1fr));gap:6px 18px");

  function draw() {
    const share = shares[state.split], found = scores(state.recall, share);
    chart.innerHTML = svg(786, 172, "Recall of each class as bar height, share of patches as bar width", picture(names, colours, state.recall, share, found));
    const rare = share.indexOf(Math.min(...share.filter((s) => s > 0)));
    words.innerHTML = `average accuracy <b>${percent(found.aa, 1)}</b> · overall accuracy <b>${percent(found.oa, 1)}</b> · `
      + (rare < 0 ? "" : `one more point of recall on ${names[rare]} moves AA by ${(1 / found.count).toFixed(3)} and OA by ${share[rare].toFixed(3)} points`);
  }

  choice(top, "class shares of", splits, 0, (i) => { state.split = i; draw(); });
  names.forEach((name, i) => slider(controls, `recall of ${name}`, {
    min: 0, max: 1, step: 0.01, value: state.recall[i], format: percent,
  }, (v) => { state.recall[i] = v; draw(); }));
  draw();
}
