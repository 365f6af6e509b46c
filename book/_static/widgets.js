// Runs between RequireJS and embed-amd: where anywidget and the widgets' icon fonts are.
(() => {
  const here = document.currentScript.src.replace(/widgets\.js.*$/, "");
  window.__jupyter_widgets_assets_path__ = here + "vendor/widgets/";
  requirejs.config({
    paths: { anywidget: here + "vendor/anywidget", "@jupyter-widgets/html-manager/dist": here + "vendor/widgets" },
  });
})();
