"use strict";
// The theme is set before anything is painted; figures follow when the bundle has been read.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Set();
  // Not plotly's own "responsive": it misses a frame that narrows without a window event.
  const sizes = new ResizeObserver((entries) => {
    for (const entry of entries) Plotly.Plots.resize(entry.target.querySelector(".live"));
  });
  // A sandboxed frame has no storage; the page then simply forgets the choice.
  const remember = (name) => { try { localStorage.setItem("tenfold-theme", name); } catch { } };
  const recall = () => { try { return localStorage.getItem("tenfold-theme"); } catch { return null; } };
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  if (["light", "dark"].includes(recall())) root.dataset.theme = recall();

  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function themed(source) {
    let text = source;
    if (dark()) {
      const light = style("--series-light").split(" "), night = style("--series-dark").split(" ");
      light.forEach((colour, i) => { text = text.replaceAll(colour, night[i]); });
    }
    const figure = JSON.parse(text);
    const ink = style("--soft"), line = style("--line");
    const axis = { gridcolor: line, linecolor: ink, zerolinecolor: ink, tickcolor: line };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: style("--sans"), size: 13 },
      hoverlabel: { bgcolor: style("--card"), bordercolor: line, font: { color: style("--ink") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
    };
    const layout = { ...base, ...figure.layout };
    layout.xaxis = { ...axis, ...layout.xaxis };
    layout.yaxis = { ...axis, ...layout.yaxis };
    return [figure.data, layout];
  }

  function draw(plot) {
    const source = plot.parentElement.querySelector("script").textContent;
    let live = plot.querySelector(".live");
    if (!live) {
      live = document.createElement("div");
      live.className = "live";
      plot.append(live);
      plot.classList.add("drawn");
    }
    const options = {
      displaylogo: false, displayModeBar: matchMedia("(hover: hover)").matches && "hover",
      // A closed list: of plotly's own buttons some lead to its web site.
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    };
    Plotly.react(live, ...themed(source), options);
    drawn.add(plot);
    sizes.observe(plot);
  }

  function wireTheme() {
    const button = document.getElementById("theme");
    const show = () => {
      button.textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Show in ${dark() ? "light" : "dark"} colours`);
      drawn.forEach(draw);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      remember(root.dataset.theme);
      show();
    });
    system.addEventListener("change", show);
    show();
  }

  // Drawing waits until a figure is near the window, so that long pages open at once.
  function wireFigures() {
    if (!window.Plotly) return;
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "600px" });
    document.querySelectorAll(".plot").forEach((plot) => near.observe(plot));
  }

  function wireCopying() {
    for (const block of document.querySelectorAll(".block pre")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(block.textContent);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(block);
        }
      });
      block.before(button);
    }
  }

  function wireNavigation() {
    const links = new Map([...document.querySelectorAll("nav .links a")].map((a) => [a.hash.slice(1), a]));
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) links.get(entry.target.id)?.classList.toggle("here", entry.isIntersecting);
    }, { rootMargin: "-20% 0px -70% 0px" });
    document.querySelectorAll("main section").forEach((section) => seen.observe(section));
  }

  addEventListener("DOMContentLoaded", () => {
    wireTheme();
    wireFigures();
    wireCopying();
    wireNavigation();
  });
})();
