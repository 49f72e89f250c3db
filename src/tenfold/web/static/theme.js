"use strict";
// Not a module: the theme is set before anything is painted.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remember = (name) => { try { localStorage.setItem("tenfold-theme", name); } catch { } };
  const recall = () => { try { return localStorage.getItem("tenfold-theme"); } catch { return null; } };
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  root.classList.add("scripted");
  if (["light", "dark"].includes(recall())) root.dataset.theme = recall();

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Show in ${dark() ? "light" : "dark"} colours`);
      dispatchEvent(new Event("tenfold-theme"));
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      remember(root.dataset.theme);
      show();
    });
    system.addEventListener("change", show);
    show();
  });
})();
