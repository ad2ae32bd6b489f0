// Makes the figures light or dark as the page is, and as wide as it has room; shows the chosen hand in 3-D.
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // a finger scrolls the page
  const dragmode = matchMedia("(hover: none)").matches ? false : "zoom";
  const figures = [...document.querySelectorAll(".chart .plotly-graph-div")];
  const NARROWEST = 400; // px of a plot
  const TITLE = 32; // px above a plot
  const LEGEND = { letter: 8, mark: 56, line: 20 }; // px

  function fit(place) {
    const { columns, plots, height } = place.layout.meta;
    const width = place.clientWidth;
    const side = Math.max(1, Math.min(columns, Math.floor(width / NARROWEST)));
    const rows = Math.ceil(plots / side);
    const named = place.layout.showlegend !== false;
    const names = named ? [...new Set(place.data.map((trace) => trace.name))] : [];
    const longest = Math.max(0, ...names.map((name) => name.length)) * LEGEND.letter + LEGEND.mark;
    const lines = Math.ceil(names.length / Math.max(1, Math.floor(width / longest)));
    const top = lines * LEGEND.line + (place.layout.annotations ? TITLE : 0);
    const total = rows * height + top;
    place.parentElement.style.height = `${total}px`;
    const template = dark.matches ? content.themes.dark : content.themes.light;
    const size = { width, height: total, "margin.t": top, "grid.columns": side, "grid.rows": rows };
    Plotly.relayout(place, { template, dragmode, ...size });
  }

  figures.forEach(fit);
  dark.addEventListener("change", () => figures.forEach(fit));
  addEventListener("resize", () => figures.forEach(fit));

  const choice = document.getElementById("hand");
  if (choice) {
    const turn = document.getElementById("turn");
    const { camera } = structuredClone(turn.layout.scene);
    const height = Math.min(turn.layout.height, 1.25 * turn.clientWidth);
    // from further away where it is narrow, because plotly fits the height
    const farther = Math.max(1, (1.15 * height) / turn.clientWidth);
    for (const axis of Object.keys(camera.eye)) camera.eye[axis] *= farther;
    // a copy, because plotly writes into its layout where the reader has turned the hand to
    const upright = () => Plotly.relayout(turn, { height, "scene.camera": structuredClone(camera) });
    const show = (index) => Plotly.react(turn, content.hands[index], turn.layout);
    turn.parentElement.style.height = `${height}px`;
    upright();
    choice.addEventListener("change", () => show(choice.value));
    document.getElementById("upright").addEventListener("click", upright);
    for (const button of document.querySelectorAll("button[data-hand]")) {
      button.addEventListener("click", () => {
        choice.value = button.dataset.hand;
        show(choice.value);
        document.getElementById("three-d").scrollIntoView({ behavior: "smooth" });
      });
    }
  }
  document.documentElement.dataset.ready = "yes";
})();
