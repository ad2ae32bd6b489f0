// Draws the page's figures with plotly.js in the page's colours, and shows the chosen hand in 3-D.
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  // a wheel scrolls the page
  const config = { responsive: true, displayModeBar: false, scrollZoom: false };
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--line"), linecolor: colour("--quiet"), zeroline: false, showline: true };
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), size: 14, family: getComputedStyle(document.body).fontFamily },
      xaxis: { ...layout.xaxis, ...axis },
      yaxis: { ...layout.yaxis, ...axis },
      // a finger scrolls the page
      dragmode: matchMedia("(hover: none)").matches ? false : "zoom",
    };
  }

  const figureOf = (place) => content.figures[Number(place.dataset.figure)];

  function drawCharts(parent) {
    for (const place of parent.querySelectorAll(".chart")) {
      Plotly.react(place, figureOf(place).data, themed(figureOf(place).layout), config);
    }
  }

  function toggleSeries(button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    const panel = button.closest(".panel");
    for (const place of panel.querySelectorAll(".chart")) {
      const figure = figureOf(place);
      figure.data = figure.data.map((trace) =>
        trace.name === button.dataset.series ? { ...trace, visible: shown } : trace,
      );
    }
    drawCharts(panel);
  }

  // A copy, because plotly writes into its layout where the reader has turned the hand to; from further away where it is
  // narrow, because plotly fits the height.
  function stage() {
    const copy = structuredClone(content.stage);
    const eye = copy.scene.camera.eye;
    const width = document.getElementById("turn").clientWidth;
    copy.height = Math.min(copy.height, 1.25 * width);
    const farther = Math.max(1, (1.15 * copy.height) / width);
    for (const axis of Object.keys(eye)) eye[axis] *= farther;
    return copy;
  }

  function showHand(index) {
    Plotly.react("turn", content.hands[index].traces, stage(), config);
  }

  drawCharts(document);
  dark.addEventListener("change", () => drawCharts(document));
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => toggleSeries(button));
  }

  const choice = document.getElementById("hand");
  if (choice) {
    showHand(0);
    choice.addEventListener("change", () => showHand(Number(choice.value)));
    document.getElementById("upright").addEventListener("click", () => {
      Plotly.relayout("turn", { "scene.camera": stage().scene.camera });
    });
    for (const button of document.querySelectorAll("button[data-hand]")) {
      button.addEventListener("click", () => {
        choice.value = button.dataset.hand;
        showHand(Number(choice.value));
        document.getElementById("three-d").scrollIntoView({ behavior: "smooth" });
      });
    }
  }
  document.documentElement.dataset.ready = "yes";
})();
