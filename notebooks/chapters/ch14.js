// Hours, energy and price of one training over the number of GPUs.
const DOUBLINGS = 9;

function plan({ pairs, rate, kept, watts, price }, doublings) {
  const gpus = 2 ** doublings, hours = pairs / (rate * gpus * kept ** doublings) / 3600;
  return { gpus, hours, energy: gpus * watts * hours / 1000, cost: gpus * price * hours };
}

const short = (x) => (x >= 99.5 ? Math.round(x).toLocaleString("en") : x.toPrecision(2));
const time = (hours) => (hours >= 48 ? `${short(hours / 24)} days` : hours >= 1 ? `${short(hours)} hours` : `${short(60 * hours)} minutes`);

function columns(values, chosen, { y, height, colour, title, form }) {
  const high = Math.max(...values), x = (i) => 52 + i * 72;
  const one = values.map((value, i) => {
    const tall = Math.max(1, height * value / high), look = `fill="${colour}" opacity="${i === chosen ? 1 : 0.35}"`;
    return `<rect x="${x(i)}" y="${(y + height - tall).toFixed(1)}" width="46" height="${tall.toFixed(1)}" ${look}/>`
      + text(x(i) + 23, y + height - tall - 4, form(value), { anchor: "middle", colour: INK })
      + text(x(i) + 23, y + height + 14, 2 ** i, { anchor: "middle", extra: i === chosen ? 'font-weight="700"' : "" });
  });
  return text(10, y - 20, title, { size: 12.5, colour: INK }) + line(44, y + height, 700, y + height) + one.join("");
}

function render(spec, el) {
  const state = { ...spec, chosen: 3 };
  const root = frame(el, "Explorer: hours, energy and price over GPUs");
  const controls = box(root, "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,200px),1fr));gap:6px 18px;margin-bottom:8px");
  const chart = box(root), words = status(root);

  function draw() {
    const all = range(DOUBLINGS, (i) => plan(state, i)), here = all[state.chosen];
    chart.innerHTML = svg(720, 320, "Hours above and price below, for 1 to 256 GPUs",
      columns(all.map((p) => p.hours), state.chosen, { y: 46, height: 84, colour: S2, title: "hours", form: short })
      + columns(all.map((p) => p.cost), state.chosen, { y: 206, height: 84, colour: OTHER, title: "price, €, over the number of GPUs", form: short }));
    const share = state.kept ** state.chosen;
    words.innerHTML = `<b>${here.gpus}</b> GPU${here.gpus > 1 ? "s" : ""}: <b>${time(here.hours)}</b>, <b>${short(here.energy)}</b> kWh, <b>${short(here.cost)}</b> €. `
      + `Each works at <b>${percent(share)}</b> of its speed alone: ${(all[0].hours / here.hours).toFixed(1)} times as fast as one, for ${(here.cost / all[0].cost).toFixed(2)} times the price.`;
  }

  const add = (name, key, about) => slider(controls, name, { value: state[key], ...about }, (v) => { state[key] = v; draw(); });
  add("number of GPUs", "chosen", { min: 0, max: DOUBLINGS - 1, step: 1, format: (v) => String(2 ** v) });
  add("speed kept at each doubling", "kept", { min: 0.5, max: 1, step: 0.01, format: percent });
  add("watts for each GPU", "watts", { min: 100, max: 2000, step: 50, format: String });
  add("€ for a GPU hour", "price", { min: 0.1, max: 10, step: 0.1, format: (v) => v.toFixed(1) });
  draw();
}
