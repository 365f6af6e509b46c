// A plane of points, each a patch: the one under the pointer shows its two pictures and its nearest neighbours.
function render({ model, el }) {
  const names = model.get("names"), planes = model.get("planes").map((p) => bytes(p)), near = model.get("near"), k = model.get("k");
  const groups = model.get("groups"), items = model.get("items"), side = 400, pad = 14, thumb = model.get("thumb"), columns = model.get("columns");
  const state = { which: names.length - 1, colour: 0, chosen: 0, at: null, from: null, start: 0 };
  const spot = (plane, i) => [pad + plane[2 * i] / 255 * (side - 2 * pad), pad + (1 - plane[2 * i + 1] / 255) * (side - 2 * pad)];
  const n = items.length;

  const root = frame(el, "Explorer: patches laid out by what an encoder makes of them");
  const controls = node("div", { style: "display:flex;flex-direction:column;gap:6px;margin-bottom:8px" }, root);
  choice(controls, "encoder", names, state.which, (i) => { state.from = state.at; state.which = i; glide(); });
  choice(controls, "colour", groups.map((g) => g.name), state.colour, (i) => { state.colour = i; legend(); draw(); });
  const main = node("div", { style: "display:flex;flex-wrap:wrap;gap:16px" }, root);
  const left = node("div", { style: `flex:0 1 ${side}px` }, main), right = node("div", { style: "flex:1 1 200px;min-width:190px" }, main);
  const [canvas, pen] = drawing(left, side, side, "Points laid out by UMAP. Move with the arrow keys.", true);
  const key = node("div", { style: `color:${FAINT};font-size:12.5px;display:flex;flex-wrap:wrap;gap:2px 12px` }, left);
  const sheet = (which) => `background-image:url(${model.get(which)});background-size:${columns * 100}% auto;image-rendering:auto`;
  const picture = (parent, which, size) => node("div", { role: "img", style: `width:${size}px;height:${size}px;border-radius:4px;${sheet(which)}` }, parent);
  const pair = node("div", { style: "display:flex;gap:8px" }, right);
  const big = [["optical", "Sentinel-2", S2], ["radar", "Sentinel-1", S1]].map(([which, name, colour]) => {
    const box = node("div", {}, pair);
    node("div", { style: `color:${colour};font-weight:600;font-size:13px` }, box, name);
    return [picture(box, which, 104), name];
  });
  const words = node("p", { role: "status", "aria-live": "polite", style: "margin:8px 0" }, right);
  node("div", { style: `color:${FAINT};font-size:12.5px` }, right, "nearest in the features, from other scenes:");
  const row = node("div", { style: "display:flex;gap:5px;flex-wrap:wrap;margin-top:3px" }, right);
  const small = Array.from({ length: k }, () => {
    const box = node("div", { style: "width:58px;font-size:11px;line-height:1.2;text-align:center" }, row);
    return [picture(box, "optical", 58), node("div", {}, box)];
  });

  const lines = Math.ceil(n / columns);
  const put = (box, i, name) => {
    const step = (value, count) => (count > 1 ? 100 * value / (count - 1) : 0);
    box.style.backgroundPosition = `${step(i % columns, columns)}% ${step(Math.floor(i / columns), lines)}%`;
    box.setAttribute("aria-label", `${name} picture of patch ${i + 1}`);
  };

  function legend() {
    key.textContent = "";
    groups[state.colour].labels.forEach((label, c) => {
      const one = node("span", { style: "white-space:nowrap" }, key);
      node("span", { style: `color:${groups[state.colour].colours[c]};-webkit-text-stroke:0.5px #888` }, one, "● ");
      one.append(label);
    });
  }

  function draw() {
    const group = groups[state.colour], links = near[state.which][state.chosen];
    pen.clearRect(0, 0, side, side);
    const dot = (i, size, line) => {
      const [x, y] = state.at[i];
      pen.beginPath();
      if (items[i].real) { pen.moveTo(x, y - size * 1.5); pen.lineTo(x + size * 1.4, y + size); pen.lineTo(x - size * 1.4, y + size); pen.closePath(); } else pen.arc(x, y, size, 0, 7);
      pen.fillStyle = group.colours[group.codes[i]];
      pen.fill();
      pen.lineWidth = line;
      pen.strokeStyle = line > 1 ? INK : items[i].real ? INK : "#ffffff";
      pen.stroke();
    };
    pen.strokeStyle = FAINT;
    pen.lineWidth = 1;
    links.forEach((j) => { pen.beginPath(); pen.moveTo(...state.at[state.chosen]); pen.lineTo(...state.at[j]); pen.stroke(); });
    for (let i = 0; i < n; i++) if (!items[i].real) dot(i, 4, 0.6);
    for (let i = 0; i < n; i++) if (items[i].real) dot(i, 4.5, 0.9);
    links.forEach((j) => dot(j, 5, 1.6));
    dot(state.chosen, 7, 2.2);
  }

  function tell() {
    const i = state.chosen, links = near[state.which][i];
    big.forEach(([box, name]) => put(box, i, name));
    small.forEach(([box, text], r) => { put(box, links[r], "Sentinel-2"); text.textContent = items[links[r]].label; });
    const parts = (j) => items[j].label.split(", ");
    const same = links.filter((j) => parts(j).some((part) => parts(i).includes(part))).length;
    words.innerHTML = `<b>${items[i].label}</b><br>${items[i].where}, ${items[i].real ? "<b>real</b>" : "simulated"}.<br>With ${names[state.which]}, <b>${same} of ${k}</b> neighbours share a class with it.`;
  }

  function glide() {
    const target = Array.from({ length: n }, (_, i) => spot(planes[state.which], i));
    const calm = !state.from || window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    state.at = calm ? target : state.from;
    draw();
    tell();
    if (calm) return;
    const start = performance.now(), from = state.from, which = state.which;
    const move = (now) => {
      if (which !== state.which) return;
      const t = Math.min(1, (now - start) / 600), e = t * t * (3 - 2 * t);
      state.at = target.map(([x, y], i) => [from[i][0] + e * (x - from[i][0]), from[i][1] + e * (y - from[i][1])]);
      draw();
      if (t < 1) requestAnimationFrame(move);
    };
    requestAnimationFrame(move);
  }

  const choose = (i) => { if (i !== state.chosen) { state.chosen = i; draw(); tell(); } };
  const point = (event) => {
    const [px, py] = place(canvas, event, side, side);
    let best = Infinity, found = state.chosen;
    state.at.forEach(([x, y], i) => { const d = (x - px) ** 2 + (y - py) ** 2; if (d < best) { best = d; found = i; } });
    choose(found);
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [cx, cy] = state.at[state.chosen];
    let best = Infinity, found = state.chosen;
    state.at.forEach(([x, y], i) => {
      const ahead = (x - cx) * step[0] + (y - cy) * step[1], aside = Math.abs((x - cx) * step[1]) + Math.abs((y - cy) * step[0]);
      if (ahead > 0.5 && ahead + 2 * aside < best) { best = ahead + 2 * aside; found = i; }
    });
    choose(found);
  });
  state.chosen = Math.max(0, items.findIndex((item) => item.real));
  legend();
  glide();
}
export default { render };
