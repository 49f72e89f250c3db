"use strict";
// The page of one dictionary: a table of its latents.
(() => {
  const { make } = Dash;

  Dash.readTable = async (entry) => {
    const { facts, arrays } = await Dash.load(`${entry.data}/table`);
    const value = (name) => (i) => (arrays[name] ? arrays[name].data[i] : null);
    const named = (name) => (i) => {
      const id = arrays[name] ? arrays[name].data[i] : -1;
      if (id < 0) return "";
      return name === "label" && facts.captions.length ? facts.captions[id] : Dash.quoted(id);
    };
    return {
      facts, width: entry.width, fired: value("fired"), frequency: (i) => arrays.fired.data[i] / facts.rows,
      largest: value("largest"), mean: value("mean"), threshold: value("threshold"), label: named("label"), promoted: named("promoted"),
    };
  };

  function columns(entry, table) {
    const all = [
      { title: "Latent", value: (i) => i, number: true, cell: (i) => make("a", { href: Dash.address(entry, i), text: String(i) }) },
      { title: "Fires on", value: table.frequency, number: true, cell: (i) => (table.fired(i) ? Dash.percent(table.frequency(i)) : make("span", { class: "dead", text: "dead" })) },
      { title: "Largest", value: table.largest, number: true },
      { title: "Mean", value: table.mean, number: true, hint: "Mean value where it is active" },
      { title: "Threshold", value: table.threshold, number: true },
      { title: "Fires most on", value: (i) => table.label(i) || null, cell: (i) => make("code", { text: table.label(i) }), hint: "Commonest among its largest examples" },
      { title: "Raises", value: (i) => table.promoted(i) || null, cell: (i) => make("code", { text: table.promoted(i) }), hint: "Token whose score it raises most" },
    ];
    const rows = Array.from({ length: table.width }, (_, i) => i);
    return all.filter((column) => rows.some((i) => column.value(i) !== null));
  }

  function jump(entry) {
    const input = make("input", { type: "number", min: "0", max: String(entry.width - 1), required: true });
    return make("form", { class: "field", on: { submit: (event) => {
      event.preventDefault();
      location.hash = Dash.address(entry, input.value);
    } } }, make("label", {}, make("span", { text: "Go to latent" }), input), make("button", { type: "submit", text: "Open" }));
  }

  Dash.showDictionary = async (entry) => {
    const table = await Dash.readTable(entry);
    let words = [], dead = false;
    const text = (i) => `${i} ${table.label(i)} ${table.promoted(i)}`.toLowerCase();
    const list = Dash.table({
      title: "Latents", columns: columns(entry, table), count: table.width, start: 1, falling: true,
      keep: (i) => (dead || table.fired(i) > 0) && words.every((word) => (/^\d+$/.test(word) ? text(i).split(" ").includes(word) : text(i).includes(word))),
    });
    const search = Dash.field("Search number or token", (typed) => { words = typed.toLowerCase().split(/\s+/).filter(Boolean); list.update(); });
    const check = Dash.field("Show dead latents", (checked) => { dead = checked; list.update(); }, "checkbox");
    return [
      make("p", { class: "kicker", text: `${entry.kind} dictionary` }), make("h1", { text: entry.name }),
      Dash.facts([
        ["Site", Dash.siteName(entry)], ["Latents", Dash.number(entry.width)], ["Active on a row", Dash.number(entry.found.l0)],
        ["FVU", Dash.number(entry.evaluation.fvu ?? entry.harvest.fvu)], ["Loss added", entry.evaluation.delta_loss === undefined ? null : Dash.number(entry.evaluation.delta_loss)],
        ["Dead", Dash.number(entry.found.dead)], ["Trained on rows", Dash.number(entry.trained_rows)], ["Rows read here", Dash.number(table.facts.rows)],
      ]),
      make("section", {}, make("h2", { text: "Latents" }), make("div", { class: "controls" }, search, check, jump(entry)), list.element),
    ];
  };
})();
