// A plane of points, each a patch: the one under the pointer shows its two pictures and its nearest neighbours.
function render(spec, el) {
  const { names, near, groups, items, columns, marked } = spec, planes = spec.planes.map((p) => bytes(p));
  const n = items.length, k = near[0][0].length, lines = Math.ceil(n / columns), side = 400, pad = 14;
  const special = items.map((item) => item.kind === marked);
  const state = { which: names.length - 1, colour: 0, chosen: Math.max(0, special.indexOf(true)), at: null };
  const spot = (plane, i) => [pad + plane[2 * i] / 255 * (side - 2 * pad), pad + (1 - plane[2 * i + 1] / 255) * (side - 2 * pad)];

  const root = frame(el, "Explorer: patches laid out by what an encoder makes of them");
  const controls = box(root, "display:flex;flex-direction:column;gap:6px;margin-bottom:8px");
  choice(controls, "encoder", names, state.which, (i) => { state.which = i; glide(); });
  choice(controls, "colour", groups.map((g) => g.name), state.colour, (i) => { state.colour = i; draw(); });
  const [left, right] = beside(root, side);
  const [canvas, pen] = drawing(left, side, side, "Points laid out by UMAP. Move with the arrow keys.", true);
  const key = box(left);
  const picture = (parent, which, size) => node("div", {
    role: "img", style: `width:${size}px;height:${size}px;border-radius:4px;background-image:url(${spec[which]});background-size:${columns * 100}% auto`,
  }, parent);
  const pair = box(right, "display:flex;gap:8px");
  const big = [["optical", "Sentinel-2", S2], ["radar", "Sentinel-1", S1]].map(([which, name, colour]) => {
    const one = box(pair);
    box(one, `${BOLD}color:${colour}`, name);
    return [picture(one, which, 104), name];
  });
  const words = status(right, "margin:8px 0");
  box(right, HINT, "nearest in the features, from other scenes:");
  const row = box(right, `${ROW}gap:5px;margin-top:3px`);
  const small = Array.from({ length: k }, () => {
    const one = box(row, "width:58px;font-size:11px;line-height:1.2;text-align:center");
    return [picture(one, "optical", 58), box(one)];
  });

  function put(part, i, name) {
    const step = (value, count) => (count > 1 ? 100 * value / (count - 1) : 0);
    part.style.backgroundPosition = `${step(i % columns, columns)}% ${step(Math.floor(i / columns), lines)}%`;
    part.setAttribute("aria-label", `${name} picture of patch ${i + 1}`);
  }

  function draw() {
    const group = groups[state.colour], links = near[state.which][state.chosen];
    legend(key, group.labels, group.colours, "●");
    wipe(pen, side, side);
    const dot = (i, size, edge) => {
      const [x, y] = state.at[i];
      const triangle = () => { pen.moveTo(x, y - size * 1.5); pen.lineTo(x + size * 1.4, y + size); pen.lineTo(x - size * 1.4, y + size); pen.closePath(); };
      mark(pen, special[i] ? triangle : () => pen.arc(x, y, size, 0, 7), group.colours[group.codes[i]], edge > 1 || special[i] ? INK : "#ffffff", edge);
    };
    links.forEach((j) => stroke(pen, [[state.at[state.chosen], state.at[j]]], FAINT, 1));
    items.forEach((_, i) => { if (!special[i]) dot(i, 4, 0.6); });
    items.forEach((_, i) => { if (special[i]) dot(i, 4.5, 0.9); });
    links.forEach((j) => dot(j, 5, 1.6));
    dot(state.chosen, 7, 2.2);
  }

  function tell() {
    const own = items[state.chosen], links = near[state.which][state.chosen], parts = (item) => item.label.split(", ").filter((part) => !part.startsWith("no "));
    big.forEach(([part, name]) => put(part, state.chosen, name));
    small.forEach(([part, caption], r) => { put(part, links[r], "Sentinel-2"); caption.textContent = items[links[r]].label; });
    const same = links.filter((j) => parts(items[j]).some((part) => parts(own).includes(part))).length;
    words.innerHTML = `<b>${own.label}</b><br>${own.where}, ${special[state.chosen] ? `<b>${own.kind}</b>` : own.kind}.`
      + `<br>With ${names[state.which]}, <b>${same} of ${k}</b> neighbours share a class with it.`;
  }

  function glide() {
    const target = items.map((_, i) => spot(planes[state.which], i)), from = state.at ?? target, { which } = state, start = performance.now();
    const wait = !state.at || window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 600;
    const move = (now) => {
      if (which !== state.which) return;
      const t = wait ? clamp((now - start) / wait, 0, 1) : 1, e = t * t * (3 - 2 * t);
      state.at = target.map(([x, y], i) => [from[i][0] + e * (x - from[i][0]), from[i][1] + e * (y - from[i][1])]);
      draw();
      if (t < 1) requestAnimationFrame(move);
    };
    move(start);
    tell();
  }

  pick(canvas, side, side, () => state.at, state, () => { draw(); tell(); });
  glide();
}
