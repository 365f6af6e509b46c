// Shared by the contrastive explorers; put in front of each of them, so that every widget is one module.
const INK = "#1f2933", FAINT = "#5f6b7a", LINE = "#e3e7ec", OWN = "#228833", OTHER = "#cc6677", S1 = "#aa3377", S2 = "#4477aa";

function node(tag, attributes = {}, parent = null, text = "") {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  if (text) made.textContent = text;
  if (parent) parent.appendChild(made);
  return made;
}

function frame(el, label) {
  return node("div", {
    role: "group", "aria-label": label,
    style: `background:#fff;color:${INK};border:1px solid ${LINE};border-radius:8px;padding:14px 16px;`
      + "font:14px/1.45 Inter,system-ui,sans-serif;max-width:760px;box-sizing:border-box",
  }, el);
}

function slider(parent, name, { min, max, step, value, format }, changed) {
  const box = node("label", { style: "display:block;flex:1 1 200px;min-width:180px" }, parent);
  const line = node("span", { style: "display:flex;justify-content:space-between;gap:8px" }, box);
  node("span", {}, line, name);
  const shown = node("span", { style: "font-variant-numeric:tabular-nums;font-weight:600" }, line);
  const input = node("input", {
    type: "range", min, max, step, value, "aria-label": name, style: "width:100%;margin:2px 0 0;accent-color:#4477aa",
  }, box);
  const show = () => {
    shown.textContent = format(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => { show(); changed(Number(input.value)); });
  show();
  return input;
}

function choice(parent, name, options, chosen, changed) {
  const box = node("fieldset", { style: "border:0;padding:0;margin:0;display:flex;gap:12px;flex-wrap:wrap" }, parent);
  node("legend", { style: `float:left;width:auto;font:inherit;padding:0;margin:0 10px 0 0;color:${FAINT}` }, box, name);
  const group = `choice-${Math.random().toString(36).slice(2)}`;
  options.forEach((option, i) => {
    const label = node("label", { style: "display:flex;gap:5px;align-items:center;cursor:pointer" }, box);
    const input = node("input", { type: "radio", name: group, value: i, style: "accent-color:#4477aa" }, label);
    input.checked = i === chosen;
    input.addEventListener("change", () => changed(i));
    node("span", {}, label, option);
  });
  return box;
}

function bytes(text, signed = false) {
  const raw = atob(text);
  const out = signed ? new Int8Array(raw.length) : new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

// A colour scale (256 × RGB bytes) and a span: value → "rgb(…)".
function scale(table, low, high) {
  return (value) => {
    const at = 3 * Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low || 1))));
    return `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
  };
}

function drawing(parent, width, height, label, focus = false) {
  const canvas = node("canvas", {
    width: 2 * width, height: 2 * height, role: "img", "aria-label": label, ...(focus ? { tabindex: 0 } : {}),
    style: `width:${width}px;max-width:100%;height:auto;touch-action:none;border-radius:4px`,
  }, parent);
  const pen = canvas.getContext("2d");
  pen.scale(2, 2);
  return [canvas, pen];
}

function place(canvas, event, width, height) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height];
}

const signed = (x, digits = 2) => (x < 0 ? "−" : "") + Math.abs(x).toFixed(digits);
