// Draws the page's figures with plotly.js, light or dark as the page is, and shows the chosen hand in 3-D.
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  // a wheel scrolls the page
  const config = { responsive: true, displayModeBar: false, scrollZoom: false };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // a finger scrolls the page
  const dragmode = matchMedia("(hover: none)").matches ? false : "zoom";

  function drawCharts() {
    const template = dark.matches ? content.themes.dark : content.themes.light;
    for (const place of document.querySelectorAll(".chart")) {
      const { data, layout } = content.figures[Number(place.dataset.figure)];
      Plotly.react(place, data, { ...layout, template, dragmode }, config);
    }
  }

  function toggleSeries(button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    for (const place of button.closest(".panel").querySelectorAll(".chart")) {
      const series = place.data.flatMap((trace, index) => (trace.name === button.dataset.series ? [index] : []));
      if (series.length) Plotly.restyle(place, { visible: shown }, series);
    }
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
    copy.template = content.themes.dark; // yellow and sky blue vanish on paper
    return copy;
  }

  function showHand(index) {
    Plotly.react("turn", content.hands[index].traces, stage(), config);
  }

  drawCharts();
  dark.addEventListener("change", drawCharts);
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
