// The plots of the last hour (uPlot). Colours are the style sheet's, so they follow light and dark.
"use strict";
(() => {
  const EVERY_MS = 5000;
  const box = document.querySelector("[data-history]");
  if (!box) return;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const aMinute = (values) => values.map((value) => value * 6);
  const SERIES = {
    calls: (h) => [["calls", aMinute(h.calls), "--accent"], ["failed", aMinute(h.failed), "--bad"]],
    latency: (h) => [["median", h.p50, "--accent"], ["95 %", h.p95, "--busy"]],
    memory: (h) => [["memory", h.memory_mb, "--accent"]],
  };
  const clock = (_, moments) => moments.map((at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  let made = [];

  // From the gateway's start on, and at least five minutes.
  function known(history) {
    const first = history.memory_mb.findIndex((value) => value !== null);
    const start = Math.max(0, Math.min(first < 0 ? Infinity : first, history.at.length - 30));
    return Object.fromEntries(Object.entries(history).map(([name, values]) => [name, values.slice(start)]));
  }

  function draw(whole) {
    const history = known(whole);
    for (const plot of made) plot.destroy();
    made = [...box.querySelectorAll("[data-plot]")].map((element) => {
      const series = SERIES[element.dataset.plot](history);
      const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
      const options = {
        width: element.clientWidth,
        height: 120,
        cursor: { show: true, y: false },
        legend: { show: false },
        scales: { y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.1] } },
        axes: [{ ...axis, space: 70, values: clock }, { ...axis, size: 42, space: 30 }],
        series: [{}, ...series.map(([label, , name]) => ({ label, stroke: colour(name), width: 1.5, spanGaps: true, points: { size: 4 } }))],
      };
      const data = [history.at, ...series.map(([, values]) => values)];
      return new uPlot(options, data, element);
    });
  }

  let last = null;
  async function renew() {
    try {
      const answer = await fetch(box.dataset.history);
      if (answer.ok) draw((last = await answer.json()));
    } catch {
      document.body.classList.add("lost");
    }
  }

  renew();
  setInterval(() => document.hidden || renew(), EVERY_MS);
  addEventListener("resize", () => last && draw(last));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => last && draw(last));
})();
