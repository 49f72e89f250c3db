"use strict";
// Addresses: #/ is the suite, #/NAME a dictionary, #/NAME/7 its latent 7.
(() => {
  const { make } = Dash;
  const root = document.documentElement, main = document.getElementById("main");
  const system = matchMedia("(prefers-color-scheme: dark)");
  // A sandboxed frame has no storage; the page then simply forgets the choice.
  const remember = (name) => { try { localStorage.setItem("tenfold-theme", name); } catch { } };
  const recall = () => { try { return localStorage.getItem("tenfold-theme"); } catch { return null; } };
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  let turn = 0;

  function readAddress() {
    let path;
    try { path = decodeURIComponent(location.hash.replace(/^#\/?/, "")); } catch { path = location.hash; }
    if (!path || path === "main") return {};
    const cut = path.lastIndexOf("/"), number = path.slice(cut + 1);
    const whole = Dash.suite.entries.find((entry) => entry.name === path);
    if (whole) return { entry: whole };
    const entry = Dash.suite.entries.find((one) => one.name === path.slice(0, cut));
    if (!entry) return { fault: `There is no dictionary ${path} in this suite.` };
    if (!/^\d+$/.test(number) || Number(number) >= entry.width) {
      return { fault: `${entry.name} has latents 0 to ${entry.width - 1}, not ${number}.` };
    }
    return { entry, latent: Number(number) };
  }

  function trail({ entry, latent }) {
    const links = [make("a", { href: "#/", text: "Suite" })];
    if (entry) links.push(make("a", { href: Dash.address(entry), text: entry.name }));
    if (latent !== undefined) links.push(make("a", { href: Dash.address(entry, latent), text: `Latent ${latent}` }));
    links.at(-1).setAttribute("aria-current", "page");
    document.getElementById("trail").replaceChildren(...links);
    document.title = latent !== undefined ? `Latent ${latent} of ${entry.name}` : entry ? entry.name : `Dictionaries of ${Dash.suite.model}`;
  }

  async function show() {
    const mine = turn += 1;
    try {
      if (!Dash.suite) {
        Dash.suite = (await Dash.load("suite")).facts;
        if (Dash.suite.vocabulary) Dash.vocabulary = (await Dash.load("vocabulary")).facts.strings;
      }
      const place = readAddress();
      if (place.fault) throw new Error(place.fault);
      const content = place.latent !== undefined ? await Dash.showLatent(place.entry, place.latent)
        : place.entry ? await Dash.showDictionary(place.entry) : Dash.showSuite();
      // Another address may have been asked for in the meantime.
      if (mine !== turn) return;
      trail(place);
      main.replaceChildren(...content);
    } catch (error) {
      if (mine !== turn) return;
      main.replaceChildren(make("h1", { text: "This page cannot be shown" }), make("p", { role: "alert", text: error.message }),
        make("p", {}, make("a", { href: "#/", text: "To the suite" })));
    }
    scrollTo(0, 0);
    if (turn > 1) main.focus({ preventScroll: true });
  }

  function wireTheme() {
    const button = document.getElementById("theme");
    const tell = () => {
      button.textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Show in ${dark() ? "light" : "dark"} colours`);
    };
    button.hidden = false;
    button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; remember(root.dataset.theme); tell(); });
    system.addEventListener("change", tell);
    tell();
  }

  // Arrows turn from latent to latent, unless something is typed in.
  function turnPages(event) {
    if (event.target.closest?.("input, select, .scroll") || event.altKey || event.ctrlKey || event.metaKey) return;
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    const link = rel && main.querySelector(`a[rel=${rel}]`);
    if (link) location.hash = link.hash;
  }

  if (["light", "dark"].includes(recall())) root.dataset.theme = recall();
  wireTheme();
  addEventListener("keydown", turnPages);
  addEventListener("hashchange", () => { if (location.hash !== "#main") show(); });
  show();
})();
