// Draws the page's figures with plotly.js in the page's colours, and shows the chosen hand in 3-D.
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const config = { responsive: true, displaylogo: false, scrollZoom: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
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
    };
  }

  function drawCharts() {
    for (const place of document.querySelectorAll(".chart")) {
      const figure = content.figures[Number(place.dataset.figure)];
      Plotly.react(place, figure.data, themed(figure.layout), config);
    }
  }

  function showHand(index) {
    Plotly.react("turn", content.hands[index].traces, content.stage, config);
  }

  drawCharts();
  dark.addEventListener("change", drawCharts);

  const choice = document.getElementById("hand");
  if (choice) {
    showHand(0);
    choice.addEventListener("change", () => showHand(Number(choice.value)));
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
