// A chapter as slides: the same page, opened with ?slides. Every heading begins a slide, and so does every figure, explorer or
// piece of code; folded code is left out; of a paragraph the first sentence stays, and all of it stands in the notes.
(() => {
  if (!new URLSearchParams(location.search).has("slides")) return;
  const files = document.currentScript.src.replace(/slides\.js.*$/, "vendor/reveal/");
  const FULL = 620; // letters on a slide of text
  const SENTENCE = /[\p{Ll}\d)%”*][.!?](?=\s+[\p{Lu}“*])/u;
  let deck, stack, heading, slide, letters, shown;

  const make = (tag, parent, name = "") => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    return parent.appendChild(made);
  };

  function begin(again = true) {
    const section = make("section", stack);
    const title = section.appendChild(again ? heading.cloneNode(true) : heading);
    if (again) title.removeAttribute("id");
    slide = make("div", section, "eo-slide");
    slide.notes = make("aside", section, "notes");
    [letters, shown] = [0, false];
  }

  function shorten(paragraph) {
    const whole = paragraph.cloneNode(true);
    for (const part of whole.querySelectorAll("[id]")) part.removeAttribute("id");
    for (const part of paragraph.childNodes) {
      const end = part.nodeType === Node.TEXT_NODE && SENTENCE.exec(part.data);
      if (!end) continue;
      part.data = part.data.slice(0, end.index + 2);
      while (part.nextSibling) part.nextSibling.remove();
      return slide.notes.append(whole);
    }
  }

  function addText(block, comment = false) {
    const size = Math.min(block.textContent.length, block.tagName === "P" ? 250 : 600);
    if (!comment && (shown || (letters && letters + size > FULL))) begin();
    letters += size;
    slide.append(block);
    if (block.tagName === "P") shorten(block);
  }

  function addCell(cell) {
    const said = cell.querySelector(".cell_output"), code = cell.querySelector(".cell_input");
    const folded = cell.querySelector("details.hide");
    const widget = cell.querySelector("script[type='application/vnd.jupyter.widget-view+json']");
    const solved = cell.matches(".tag_exercise") || cell.querySelector(".eo-passed");
    if (solved) shown = true; // what follows an exercise is not on its slide
    if (solved || cell.matches(".tag_parameters")) return cell.remove();
    if (widget) cell.dataset.preventSwipe = "";
    if (folded || widget || cell.querySelector(".eo-run-status, .eo-quiz")) (folded || code)?.remove();
    if (!cell.querySelector(".cell_input") && !said) return cell.remove();
    if (!cell.querySelector(".cell_input") && [...said.children].every((one) => one.matches("p, ul, ol"))) {
      [...said.children].forEach((one) => addText(one, shown)); // a computed sentence about what stands above it
      return cell.remove();
    }
    if (shown) begin();
    shown = true;
    slide.append(cell);
  }

  function walk(section) {
    for (const block of [...section.children]) {
      if (block.tagName === "SECTION") walk(block);
      else if (block.matches("span:empty")) continue; // what a label above a heading leaves
      else if (/^H\d$/.test(block.tagName)) {
        heading = block;
        heading.querySelector(".headerlink")?.remove();
        [heading.id, section.id] = [section.id, ""];
        if (block.tagName < "H3") stack = make("section", deck);
        begin(false);
      } else if (block.matches(".cell")) addCell(block);
      else if (block.matches(".eo-course")) {
        slide.append(block);
        letters = FULL - 250; // the first paragraph stands beside it
      } else addText(block);
    }
  }

  // The largest size at which a slide fits; what does not fit at half of it is scrolled.
  function fit() {
    const body = Reveal.getCurrentSlide()?.querySelector(".eo-slide");
    for (const zoom of body ? [1, 0.9, 0.8, 0.7, 0.6, 0.5] : []) {
      [body.style.zoom, body.style.height] = [zoom, `${590 / zoom}px`];
      if (body.scrollHeight <= body.clientHeight + 1) break;
    }
    // What is scrolled takes the keyboard; the theme has looked at it in its place on the page.
    for (const box of body?.querySelectorAll("pre, .output") ?? []) {
      box.tabIndex = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : -1;
    }
  }

  // Keys that belong to what has the focus: an explorer, a menu, a quiz.
  const free = ({ key, target }) => !target.closest("input, select, canvas, [tabindex='0']")
    && !([" ", "Enter"].includes(key) && target.closest("summary, button, a"));

  async function start() {
    await window.MathJax?.startup?.promise;
    Reveal.on("slidechanged", fit);
    Reveal.on("resize", fit);
    await Reveal.initialize({
      width: 1280, height: 720, margin: 0.04, center: false, transition: "none", hash: true, slideNumber: "c/t",
      scrollActivationWidth: null, keyboardCondition: free,
    });
    Reveal.addKeyBinding({ keyCode: 78, key: "N", description: "Show or hide the notes" }, () => {
      Reveal.configure({ showNotes: !Reveal.getConfig().showNotes });
    });
    fit();
    document.body.dataset.slides = Reveal.getTotalSlides();
  }

  document.addEventListener("DOMContentLoaded", () => {
    const chapter = document.querySelector("article.bd-article > section");
    if (!chapter) return;
    document.body.classList.add("eo-slides");
    deck = make("div", make("div", document.body, "reveal"), "slides");
    deck.setAttribute("role", "main");
    walk(chapter);
    for (const one of deck.querySelectorAll("section > .eo-slide:empty")) {
      if (one.parentElement.parentElement.childElementCount > 1) one.parentElement.remove();
    }
    const look = make("link", document.head);
    [look.rel, look.href] = ["stylesheet", `${files}reveal.css`];
    // Reveal would hide itself in RequireJS, which the explorers need and use once all scripts are loaded: this one included.
    const amd = window.define?.amd;
    if (amd) window.define.amd = undefined;
    const script = make("script", document.head);
    script.addEventListener("load", () => { if (amd) window.define.amd = amd; });
    script.src = `${files}reveal.js`;
    window.addEventListener("load", start);
  });
})();
