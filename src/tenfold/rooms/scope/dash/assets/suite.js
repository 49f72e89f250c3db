"use strict";
// The first page: all dictionaries of the suite.
(() => {
  const { make } = Dash;
  const measure = (entry, name) => entry.evaluation[name] ?? entry.harvest[name] ?? entry.found[name] ?? null;
  const group = (entry) => [entry.site, entry.site_out, entry.kind, entry.width, entry.seed].join(" ");
  Dash.siteName = (entry) => (entry.site_out && entry.site_out !== entry.site ? `${entry.site} → ${entry.site_out}` : entry.site);

  function columns(entries) {
    const all = [
      { title: "Dictionary", value: (i) => entries[i].name, cell: (i) => make("a", { href: Dash.address(entries[i]), text: entries[i].name }) },
      { title: "Site", value: (i) => Dash.siteName(entries[i]), cell: (i) => Dash.siteName(entries[i]) },
      { title: "Kind", value: (i) => entries[i].kind, cell: (i) => entries[i].kind },
      { title: "Latents", number: true, value: (i) => entries[i].width },
      { title: "Target L0", number: true, value: (i) => entries[i].target_l0 },
      { title: "L0", number: true, value: (i) => measure(entries[i], "l0"), hint: "Mean active latents on a row" },
      { title: "FVU", number: true, value: (i) => measure(entries[i], "fvu"), hint: "Fraction of variance unexplained" },
      { title: "Loss added", number: true, value: (i) => measure(entries[i], "delta_loss"), hint: "Model's loss with the dictionary in place, minus without" },
      { title: "Dead", number: true, value: (i) => entries[i].found.dead, hint: "Latents that never fired on the rows read here" },
      { title: "Above 10 %", number: true, value: (i) => entries[i].found.above_10_percent, hint: "Latents that fire on more than a tenth of the rows" },
    ];
    return all.filter((column) => entries.some((_, i) => column.value(i) !== null));
  }

  function front(entries, site, name, title) {
    const groups = new Map();
    for (const entry of entries) {
      if (measure(entry, name) === null) continue;
      groups.set(group(entry), [...(groups.get(group(entry)) ?? []), entry]);
    }
    if (!groups.size) return null;
    const series = [...groups.values()].map((members) => {
      members.sort((a, b) => measure(a, "l0") - measure(b, "l0"));
      return {
        name: `${Dash.siteName(members[0])}, ${members[0].kind}, ${members[0].width} latents`, marks: true, muted: Dash.siteName(members[0]) !== site,
        x: members.map((m) => measure(m, "l0")), y: members.map((m) => measure(m, name)),
      };
    });
    const rows = entries.filter((e) => measure(e, name) !== null)
      .map((e) => [e.name, Dash.number(measure(e, "l0")), Dash.number(measure(e, name))]);
    const picture = Dash.lines(`${title} by L0`, ["L0, active latents on a row", title], series, { logX: true, logY: name === "fvu" });
    const legend = Dash.legend(series.filter((s) => !s.muted).map((s) => s.name));
    return Dash.figure(`L0 and ${title}`, make("div", {}, picture, legend), ["dictionary", "L0", title], rows, `In colour ${site}, in grey the other sites.`);
  }

  function frequencies(members) {
    const middles = (edges) => edges.slice(1).map((edge, k) => (edge + edges[k]) / 2);
    const series = members.map((e) => ({ name: e.name, x: middles(e.found.frequency_edges), y: e.found.frequency_counts }));
    const rows = middles(members[0].found.frequency_edges).map((edge, k) =>
      [Dash.number(edge), ...members.map((e) => Dash.number(e.found.frequency_counts[k]))]);
    const picture = Dash.lines("Latents by firing frequency", ["log10 of firing frequency", "latents"], series);
    return Dash.figure("Firing frequencies", make("div", {}, picture, Dash.legend(series.map((s) => s.name))),
      ["log10 frequency", ...members.map((e) => e.name)], rows, "Latents that never fired stand at the left end.");
  }

  function positions(members, name, title) {
    const found = members.filter((e) => e.evaluation.by_position?.[name]);
    if (!found.length) return null;
    const series = found.map((e) => ({ name: e.name, x: e.evaluation.by_position.place, y: e.evaluation.by_position[name] }));
    const rows = series[0].x.map((place, k) => [Dash.number(place), ...series.map((s) => Dash.number(s.y[k]))]);
    return Dash.figure(`${title} by position`,
      make("div", {}, Dash.lines(`${title} by position`, ["position", title], series), Dash.legend(series.map((s) => s.name))),
      ["position", ...found.map((e) => e.name)], rows);
  }

  function pictures(entries) {
    const sites = [...new Set(entries.map(Dash.siteName))];
    const place = make("div", { class: "figures" });
    const show = (site) => {
      const members = entries.filter((entry) => Dash.siteName(entry) === site);
      place.replaceChildren(...[
        front(entries, site, "fvu", "FVU"), front(entries, site, "delta_loss", "loss added"),
        frequencies(members), positions(members, "error", "Squared error"), positions(members, "delta_loss", "Loss added"),
      ].filter(Boolean));
    };
    const select = make("select", { on: { change: () => show(select.value) } },
      sites.map((site) => make("option", { value: site, text: site })));
    show(sites[0]);
    return make("section", {}, make("h2", { text: "Curves" }),
      make("label", { class: "field" }, make("span", { text: "Site" }), select), place);
  }

  Dash.showSuite = () => {
    const { suite } = Dash, { entries } = suite;
    let words = [];
    const table = Dash.table({
      title: "Dictionaries", columns: columns(entries), count: entries.length,
      keep: (i) => words.every((word) => `${entries[i].name} ${Dash.siteName(entries[i])} ${entries[i].kind}`.toLowerCase().includes(word)),
    });
    const search = Dash.field("Search", (text) => { words = text.toLowerCase().split(/\s+/).filter(Boolean); table.update(); });
    const rows = Math.max(...entries.map((entry) => entry.found.rows));
    return [
      make("p", { class: "kicker", text: "suite of sparse dictionaries" }), make("h1", { text: suite.model }),
      Dash.facts([
        ["Dictionaries", String(entries.length)], ["Sites", String(new Set(entries.map((e) => e.site)).size)],
        ["Rows read for these pages", Dash.number(rows)],
        ["Evaluated on", suite.evaluated_tokens ? `${Dash.number(suite.evaluated_tokens)} held-out tokens` : "nothing yet; L0 and FVU are of held-out rows of the harvest"],
        ["Terms", suite.licence || null],
      ]),
      make("section", {}, make("h2", { text: "Dictionaries" }), search, table.element), pictures(entries),
      make("section", {}, make("h2", { text: "How to read these pages" }), Dash.notes()),
    ];
  };

  Dash.notes = () => make("ul", { class: "notes" }, [
    "Examples, histograms and frequencies are counted on the harvested rows, which the dictionaries were trained on; the evaluation is on held-out data.",
    "The first examples of a latent are its largest values, no item twice; the others are drawn by chance from four equal parts of the range between its smallest and its largest value.",
    `Latents firing together are counted on ${Dash.percent(Dash.suite.cofiring_share)} of the rows (200,000 at most).`,
    "Scores say what one unit of a latent adds to each token's score if it reached the output unchanged; norms and layers in between are left out.",
    ...Dash.suite.left_out.map((reason) => `Left out: ${typeof reason === "string" ? reason : JSON.stringify(reason)}`),
  ].map((text) => make("li", { text })));
})();
