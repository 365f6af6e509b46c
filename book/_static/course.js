// Small things that the theme leaves open.
document.addEventListener("DOMContentLoaded", () => {
  // Wide tables and code scroll by keyboard too.
  for (const box of document.querySelectorAll("div.highlight pre, .cell_output .output")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
  // A list whose entries are no list items is none.
  for (const list of document.querySelectorAll(".citation-list")) list.removeAttribute("role");
  // Buttons are called what stands on them.
  for (const field of document.querySelectorAll(".search-button-field")) field.removeAttribute("aria-label");
  for (const one of document.querySelectorAll(".theme-switch-button")) one.setAttribute("aria-label", "Color mode: Light, Dark or System Settings");
  // Folded code and solutions: say so in plain words, to screen readers, too.
  for (const summary of document.querySelectorAll("div.cell details.hide summary")) summary.removeAttribute("aria-label");
  for (const label of document.querySelectorAll("div.cell details.hide summary .collapsed")) label.textContent = "Show the code";
  for (const label of document.querySelectorAll("div.cell details.hide summary .expanded")) label.textContent = "Hide the code";
  for (const cell of document.querySelectorAll("div.cell.tag_exercise")) {
    for (const label of cell.querySelectorAll("summary .collapsed")) label.textContent = "Show a solution";
    for (const label of cell.querySelectorAll("summary .expanded")) label.textContent = "Hide the solution";
  }
});
