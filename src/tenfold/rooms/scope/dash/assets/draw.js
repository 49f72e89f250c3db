"use strict";
// Elements and pictures. Text is only ever set as text, so that no token can become markup.
(() => {
  const SPACE = "http://www.w3.org/2000/svg";
  const HUES = 7, WIDTH = 480, HEIGHT = 260, LEFT = 64, RIGHT = 12, TOP = 12, BOTTOM = 42;

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === false) continue;
      if (name === "text") element.textContent = value;
      else if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }
  Dash.make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS(SPACE, tag), attributes, children);
  const { make } = Dash;

  Dash.facts = (pairs) => make("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null)
    .map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: value }))));

  Dash.plainTable = (title, heads, rows) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    make("table", {}, make("caption", { class: "unseen", text: title }),
      make("thead", {}, make("tr", {}, heads.map((text) => make("th", { scope: "col", class: "number", text })))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map((text) => make("td", { class: "number", text })))))));

  Dash.figure = (title, picture, heads, rows, note) => make("figure", {},
    make("h3", { text: title }), picture, note ? make("figcaption", { text: note }) : null,
    make("details", {}, make("summary", { text: "Numbers in this figure" }), Dash.plainTable(title, heads, rows)));

  function scale(values, log, start, stop) {
    const found = values.filter((v) => Number.isFinite(v) && (!log || v > 0)).map((v) => (log ? Math.log10(v) : v));
    let low = Math.min(...found), high = Math.max(...found);
    if (!found.length) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const pad = log ? 0.05 * (high - low) : 0;
    if (log) [low, high] = [low - pad, high + pad];
    const place = (v) => start + ((log ? Math.log10(v) : v) - low) / (high - low) * (stop - start);
    return { place, ticks: log ? logTicks(low, high) : plainTicks(low, high) };
  }

  function plainTicks(low, high) {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const ticks = [];
    for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-9) + 1e-12; k += 1) ticks.push(Number((k * step).toPrecision(6)));
    return ticks;
  }

  function logTicks(low, high) {
    const ticks = [];
    const steps = high - low > 2 ? [1] : [1, 2, 5];
    for (let p = Math.floor(low); p <= high; p += 1) {
      for (const m of steps) {
        const at = p + Math.log10(m);
        if (at >= low && at <= high) ticks.push(Number((m * 10 ** p).toPrecision(3)));
      }
    }
    return ticks;
  }

  function frame(x, y, titles) {
    const parts = [];
    for (const tick of x.ticks) {
      parts.push(draw("text", { x: x.place(tick), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle", text: Dash.number(tick) }));
    }
    for (const tick of y.ticks) {
      const at = y.place(tick);
      parts.push(draw("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }));
      parts.push(draw("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end", text: Dash.number(tick) }));
    }
    parts.push(draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle", text: titles[0] }));
    parts.push(draw("text", { transform: `translate(11 ${HEIGHT / 2}) rotate(-90)`, "text-anchor": "middle", text: titles[1] }));
    return parts;
  }

  const canvas = (label, parts) => draw("svg",
    { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, parts);

  // series: [{name, x, y, muted, marks}]
  Dash.lines = (label, titles, series, { logX = false, logY = false } = {}) => {
    const x = scale(series.flatMap((s) => [...s.x]), logX, LEFT, WIDTH - RIGHT);
    const y = scale(series.flatMap((s) => [...s.y]), logY, HEIGHT - BOTTOM, TOP);
    const parts = frame(x, y, titles);
    let hue = 0;
    for (const one of [...series.filter((s) => s.muted), ...series.filter((s) => !s.muted)]) {
      const points = [...one.x].map((v, k) => [v, one.y[k]])
        .filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b) && (!logX || a > 0) && (!logY || b > 0));
      const kind = one.muted ? "series muted" : `series hue${hue % HUES}`;
      if (!one.muted) hue += 1;
      const path = points.map(([a, b], k) => `${k ? "L" : "M"}${x.place(a).toFixed(1)} ${y.place(b).toFixed(1)}`).join("");
      parts.push(draw("path", { class: kind, d: path }, draw("title", { text: one.name })));
      if (one.marks) {
        parts.push(...points.map(([a, b]) => draw("circle", { class: kind, cx: x.place(a), cy: y.place(b), r: one.muted ? 2.5 : 4 },
          draw("title", { text: `${one.name}: ${Dash.number(a)}, ${Dash.number(b)}` }))));
      }
    }
    return canvas(label, parts);
  };

  Dash.legend = (names) => make("ul", { class: "legend" },
    names.map((name, k) => make("li", { class: `hue${k % HUES}`, text: name })));

  Dash.bars = (label, titles, edges, counts) => {
    const x = scale([edges[0], edges[edges.length - 1]], false, LEFT, WIDTH - RIGHT);
    const y = scale([0, ...counts], false, HEIGHT - BOTTOM, TOP);
    const parts = frame(x, y, titles);
    counts.forEach((count, k) => {
      const left = x.place(edges[k]), top = y.place(count);
      const width = Math.max(x.place(edges[k + 1]) - left - 0.5, 0.5);
      parts.push(draw("rect", { class: "bar", x: left, y: top, width, height: Math.max(y.place(0) - top, 0) },
        draw("title", { text: `${Dash.number(edges[k])} to ${Dash.number(edges[k + 1])}: ${Dash.number(count)}` })));
    });
    return canvas(label, parts);
  };

  Dash.heatMap = (label, shape, values) => {
    const [rows, columns] = shape, most = Math.max(...values) || 1, size = 24;
    const cells = [...values].map((value, k) => {
      const cell = draw("rect", { class: "cell", x: (k % columns) * size, y: Math.floor(k / columns) * size, width: size - 1, height: size - 1 },
        draw("title", { text: `row ${Math.floor(k / columns)}, column ${k % columns}: ${Dash.number(value)}` }));
      cell.style.setProperty("--heat", value / most);
      return cell;
    });
    return draw("svg", { class: "map", viewBox: `0 0 ${columns * size} ${rows * size}`, role: "img", "aria-label": label }, cells);
  };
})();
