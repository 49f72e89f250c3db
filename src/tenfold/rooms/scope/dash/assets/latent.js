"use strict";
// The page of one latent: examples in colour, and everything counted of it.
(() => {
  const { make } = Dash;
  const NEAR = 32; // tokens shown on each side until the whole window is asked for
  const PART = ["Largest values", "Uppermost quarter of the range", "Second quarter", "Third quarter", "Lowest quarter"];
  const share = (value) => value / 32767;

  async function readItems(numbers) {
    const { per, corpus, captions } = Dash.suite.items;
    if (!corpus && !captions) return new Map();
    const bundles = new Map();
    for (const b of new Set(numbers.map((n) => Math.floor(n / per)))) bundles.set(b, await Dash.load(`items/${b}`));
    return new Map(numbers.map((n) => {
      const { facts, arrays } = bundles.get(Math.floor(n / per));
      const at = arrays.number.data.indexOf(n % per);
      return [n, {
        token: arrays.token?.row(at), kept: arrays.kept?.row(at), picture: arrays.picture?.row(at),
        size: arrays.picture?.shape.slice(1), caption: facts.captions?.[at],
      }];
    }));
  }

  function readExamples(arrays, row, largest) {
    const found = [];
    const get = (name) => arrays[name].row(row);
    const size = arrays.colour.shape[2], colours = get("colour");
    get("item").forEach((item, k) => {
      if (!item) return;
      found.push({
        item: item - 1, place: get("place")[k], window: get("window")[k], group: get("group")[k],
        value: share(get("value")[k]) * largest, colour: colours.subarray(k * size, (k + 1) * size),
      });
    });
    return found;
  }

  function tokens(example, item, largest) {
    const { token, kept } = item;
    return Array.from(token, (id, place) => {
      const heat = example.colour[place - example.window] || 0;
      const classes = ["token"];
      if (kept && !kept[place]) classes.push("masked");
      if (Math.abs(place - example.place) > NEAR) classes.push("far");
      const value = place === example.place ? example.value : heat ? (heat - 1) / 254 * largest : 0;
      const span = make(place === example.place ? "mark" : "span",
        { class: classes.join(" "), text: Dash.token(id), title: `${Dash.quoted(id)} at ${place}: ${heat ? Dash.number(value) : "not active"}` });
      if (heat) span.style.setProperty("--heat", heat / 255);
      if (heat) span.classList.add("hot");
      return span;
    });
  }

  function picture(example, item, grid) {
    const [height, width, channels] = item.size;
    const zoom = Math.max(1, Math.ceil(112 / Math.max(height, width)));
    const canvas = make("canvas", { width: String(width * zoom), height: String(height * zoom), role: "img",
      "aria-label": `item ${example.item}, ${item.caption ?? ""} value ${Dash.number(example.value)}` });
    const context = canvas.getContext("2d");
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const at = (y * width + x) * channels, p = item.picture;
        context.fillStyle = `rgb(${p[at]} ${p[at + (channels > 1 ? 1 : 0)]} ${p[at + (channels > 1 ? 2 : 0)]})`;
        context.fillRect(x * zoom, y * zoom, zoom, zoom);
      }
    }
    if (grid.length !== 2) return canvas;
    const [rows, columns] = grid, h = height * zoom / rows, w = width * zoom / columns;
    example.colour.forEach((heat, cell) => {
      const [x, y] = [(cell % columns) * w, Math.floor(cell / columns) * h];
      context.fillStyle = `rgb(240 128 60 / ${0.6 * heat / 255})`;
      context.fillRect(x, y, w, h);
      if (cell === example.place) { context.strokeStyle = "rgb(213 94 0)"; context.lineWidth = 2; context.strokeRect(x + 1, y + 1, w - 2, h - 2); }
    });
    return canvas;
  }

  function strip(example) {
    return make("div", { class: "strip" }, Array.from(example.colour, (heat, k) => {
      const cell = make("span", { class: example.window + k === example.place ? "hot peak" : "hot", title: `place ${example.window + k}` });
      cell.style.setProperty("--heat", heat / 255);
      return cell;
    }));
  }

  function shown(example, item, table, largest) {
    const { grid } = table.facts;
    const where = table.facts.cells > 1 ? `item ${example.item}, place ${example.place}` : `item ${example.item}`;
    const head = make("p", { class: "peak" }, make("b", { text: Dash.number(example.value) }), ` ${where}`, item?.caption ? ` · ${item.caption}` : "");
    if (item?.token) return make("li", {}, head, make("p", { class: "text" }, tokens(example, item, largest)));
    if (item?.picture) return make("li", {}, picture(example, item, grid), head);
    return make("li", {}, head, table.facts.cells > 1 ? strip(example) : null);
  }

  function exampleList(examples, items, table, largest) {
    const place = make("div", { class: "examples" });
    PART.forEach((title, group) => {
      const members = examples.filter((example) => example.group === group);
      if (!members.length) return;
      const kind = items.get(members[0].item)?.picture ? "list pictures" : "list";
      place.append(make("h3", { text: title }), make("ol", { class: kind }, members.map((e) => shown(e, items.get(e.item), table, largest))));
    });
    if (Dash.suite.shows !== "text" || !items.size) return place;
    const whole = Dash.field("Show whole windows", (on) => place.classList.toggle("whole", on), "checkbox");
    return make("div", {}, whole, place);
  }

  function relatives(title, entry, rows, heads) {
    if (!rows.length) return null;
    return make("section", { class: "box" }, make("h3", { text: title }), make("table", {},
      make("caption", { class: "unseen", text: title }),
      make("thead", {}, make("tr", {}, heads.map((text, k) => make("th", { scope: "col", class: k ? "number" : "word", text })))),
      make("tbody", {}, rows.map(([first, ...rest]) => make("tr", {},
        make("td", { class: "word" }, typeof first === "number" ? make("a", { href: Dash.address(entry, first), text: String(first) }) : make("code", { text: first.token })),
        rest.map((text) => make("td", { class: "number", text })))))));
  }

  function lists(entry, table, arrays, row) {
    const near = (name) => Array.from(arrays[`${name}_id`].row(row), (id, k) =>
      [id, Dash.number(share(arrays[`${name}_value`].row(row)[k])), table.label(id)]);
    const companions = Array.from(arrays.companion_id.row(row), (id, k) => [id - 1,
      Dash.number(share(arrays.companion_jaccard.row(row)[k])), Dash.number(16 * share(arrays.companion_bits.row(row)[k])),
      Dash.number(arrays.companion_together.row(row)[k])]).filter(([id]) => id >= 0);
    const scores = (name) => (arrays[`${name}_id`] ? Array.from(arrays[`${name}_id`].row(row), (id, k) =>
      [{ token: Dash.quoted(id) }, Dash.number(share(arrays[`${name}_value`].row(row)[k]) * arrays.score_scale.data[row])]) : []);
    return [
      relatives("Raises the score of", entry, scores("up"), ["token", "change"]), relatives("Lowers the score of", entry, scores("down"), ["token", "change"]),
      relatives("Fires together with", entry, companions, ["latent", "Jaccard", "bits", "rows"]),
      relatives("Nearest decoder directions", entry, near("decoder"), ["latent", "cosine", "fires on"]),
      relatives("Nearest encoder directions", entry, near("encoder"), ["latent", "cosine", "fires on"]),
    ];
  }

  function histogram(arrays, row, largest) {
    const counts = Array.from(arrays.histogram.row(row)), span = arrays.span.data[row];
    const used = Math.min(counts.length, Math.floor(largest / span * counts.length) + 1);
    const edges = Array.from({ length: used + 1 }, (_, k) => k * span / counts.length);
    const rows = counts.slice(0, used).map((count, k) => [`${Dash.number(edges[k])} to ${Dash.number(edges[k + 1])}`, Dash.number(count)]);
    return Dash.figure("Values where it is active", Dash.bars("Histogram of values", ["value", "rows"], edges, counts.slice(0, used)), ["value", "rows"], rows);
  }

  function profile(arrays, row, { places }) {
    if (places.kind === "none") return null;
    const rates = Array.from(arrays.places.row(row), (count, k) => (places.rows[k] ? count / places.rows[k] : 0));
    const name = (k) => (places.kind === "grid" ? `row ${Math.floor(k / places.shape[1])}, column ${k % places.shape[1]}`
      : places.starts[k + 1] === places.starts[k] + 1 ? String(places.starts[k]) : `${places.starts[k]} to ${places.starts[k + 1] - 1}`);
    const rows = rates.map((rate, k) => [name(k), Dash.percent(rate)]);
    const label = "Share of rows on which it fires, by place";
    const picture = places.kind === "grid" ? Dash.heatMap(label, places.shape, rates) : Dash.bars(label, ["place", "share of rows"], places.starts, rates);
    return Dash.figure("Where it fires", picture, ["place", "share of rows"], rows);
  }

  Dash.showLatent = async (entry, latent) => {
    const table = await Dash.readTable(entry);
    const { per, rows } = table.facts, row = latent % per;
    const { arrays } = await Dash.load(`${entry.data}/${Math.floor(latent / per)}`);
    const largest = table.largest(latent), fired = table.fired(latent);
    const examples = readExamples(arrays, row, largest);
    const items = await readItems(examples.map((example) => example.item));
    const step = (to, text, rel) => (to >= 0 && to < entry.width ? make("a", { href: Dash.address(entry, to), rel, text }) : null);
    return [
      make("p", { class: "kicker" }, make("a", { href: Dash.address(entry), text: entry.name })),
      make("h1", {}, `Latent ${latent}`, fired ? null : make("span", { class: "badge", text: "dead" })),
      make("p", { class: "steps" }, step(latent - 1, "← Previous", "prev"), " ", step(latent + 1, "Next →", "next")),
      Dash.facts([
        ["Fires on", `${Dash.percent(fired / rows)} of ${Dash.number(rows)} rows`], ["Largest value", Dash.number(largest)],
        ["Mean where active", Dash.number(table.mean(latent))], ["Threshold", table.threshold(latent) === null ? null : Dash.number(table.threshold(latent))],
        ["Fires most on", table.label(latent) || null],
      ]),
      make("div", { class: "latent" },
        make("section", {}, make("h2", { text: "Examples" }),
          examples.length ? exampleList(examples, items, table, largest) : make("p", { text: "It was active on none of the rows that were read." })),
        make("aside", { "aria-label": "Counts and relations" }, fired ? [histogram(arrays, row, largest), profile(arrays, row, table.facts)] : null,
          lists(entry, table, arrays, row))),
    ];
  };
})();
