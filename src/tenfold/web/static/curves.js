// Curves of runs: drawn anew from the still pictures, and kept up to date by server-sent events.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const HEIGHT = 240;

// Answers are little-endian float32: all steps, then all values.
async function fetchCurve(run, metric) {
  const address = `/runs/${encodeURIComponent(run)}/curve?metric=${encodeURIComponent(metric)}`;
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${metric} of ${run}: the server said ${answer.status}`);
  const view = new DataView(await answer.arrayBuffer());
  const count = view.byteLength / 8;
  const read = (from) => Array.from({ length: count }, (_, i) => view.getFloat32(4 * (from + i), true));
  // uPlot draws a gap where a value is null, not where it is NaN.
  return [read(0), read(count).map((value) => (Number.isNaN(value) ? null : value))];
}

class Figure {
  constructor(element) {
    this.element = element;
    this.metric = element.dataset.metric;
    this.runs = JSON.parse(element.dataset.runs);
    this.curves = [];
    this.plot = null;
    this.waiting = [];
  }

  async load() {
    this.curves = await Promise.all(this.runs.map((run) => fetchCurve(run, this.metric)));
    this.draw();
    this.waiting.forEach((points) => this.append(points));
    this.waiting = [];
  }

  table() {
    return this.curves.length === 1 ? this.curves[0] : uPlot.join(this.curves);
  }

  draw() {
    const box = this.element.querySelector(".plot");
    this.plot?.destroy();
    box.classList.add("drawn");
    const ink = style("--soft"), line = style("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const series = this.runs.map((run, i) => ({
      label: this.runs.length > 1 ? run : this.metric, stroke: style(`--series-${i}`), width: 2, spanGaps: true,
    }));
    const options = {
      width: Math.max(240, box.clientWidth), height: HEIGHT, series: [{ label: "step" }, ...series],
      scales: { x: { time: false } }, axes: [axis, { ...axis, size: 64 }], legend: { live: true },
    };
    this.plot = new uPlot(options, this.table(), box);
  }

  append([steps, values]) {
    if (!this.plot) {
      this.waiting.push([steps, values]);
      return;
    }
    const [x, y] = this.curves[0];
    const last = x.length ? x[x.length - 1] : -Infinity;
    steps.forEach((step, i) => {
      // What was told twice, by the curve and by an event, is taken once.
      if (step > last) { x.push(step); y.push(values[i]); }
    });
    this.plot.setData(this.table());
  }

  resize() {
    this.plot?.setSize({ width: Math.max(240, this.element.querySelector(".plot").clientWidth), height: HEIGHT });
  }
}

const figures = new Map([...document.querySelectorAll("figure.curve")].map((e) => [e, new Figure(e)]));

// A figure is loaded when it is near the window, so that runs with many metrics open at once.
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    near.unobserve(entry.target);
    figures.get(entry.target).load().catch((error) => console.warn(error.message));
  }
}, { rootMargin: "400px" });
figures.forEach((_, element) => near.observe(element));

const sizes = new ResizeObserver((entries) => entries.forEach((entry) => figures.get(entry.target).resize()));
figures.forEach((_, element) => sizes.observe(element));
addEventListener("tenfold-theme", () => figures.forEach((figure) => figure.plot && figure.draw()));

const words = (value, digits = 4) => (value === null ? "–" : Number(value.toPrecision(digits)).toLocaleString("en"));

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function showStatus(status) {
  const put = (id, text) => { document.getElementById(id).textContent = text; };
  const badge = document.querySelector("#state .badge");
  const kinds = { done: "holds", failed: "broken", lost: "fails", running: "running" };
  badge.textContent = status.state;
  badge.className = `badge ${kinds[status.state] ?? "open"}`;
  const bar = document.querySelector("#steps progress");
  if (bar) bar.value = status.step;
  const count = `${words(status.step, 9)}${status.total ? ` / ${words(status.total, 9)}` : ""}`;
  const steps = document.getElementById("steps");
  steps.replaceChildren(...(bar ? [bar, " "] : []), count);
  put("rate", words(status.rate));
  put("spent", duration(status.seconds));
  put("left", duration(status.left));
  put("heartbeat", status.heartbeat === null ? "–" : `${duration(status.heartbeat)} ago`);
}

function showLast(points) {
  for (const row of document.querySelectorAll("tr[data-last]")) {
    const found = points[row.dataset.last];
    if (!found) continue;
    const cells = row.querySelectorAll(".number");
    cells[0].textContent = words(found[0].at(-1), 9);
    cells[1].textContent = words(found[1].at(-1));
  }
}

class Live {
  constructor(head) {
    this.run = head.dataset.run;
    this.cursor = head.dataset.cursor;
    this.over = head.dataset.live !== "yes";
    this.source = null;
  }

  open() {
    if (this.over || this.source) return;
    this.source = new EventSource(`/runs/${encodeURIComponent(this.run)}/events?after=${this.cursor}`);
    const on = (name, act) => this.source.addEventListener(name, (event) => act(JSON.parse(event.data), event));
    on("points", (data, event) => this.take(data, event.lastEventId));
    on("status", showStatus);
    on("fault", (text) => { console.warn(text); this.close(); });
    on("end", () => { this.over = true; this.close(); });
  }

  take({ restarted, points }, cursor) {
    this.cursor = cursor;
    const known = new Set([...figures.values()].map((figure) => figure.metric));
    // New metrics, or a run that was cut back: the server draws the page anew.
    if (restarted || Object.keys(points).some((name) => !known.has(name))) {
      location.reload();
      return;
    }
    for (const figure of figures.values()) if (points[figure.metric]) figure.append(points[figure.metric]);
    showLast(points);
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}

const head = document.querySelector("[data-run]");
if (head) {
  const live = new Live(head);
  // A browser keeps few connections to one host: pages that are not looked at give theirs back.
  document.addEventListener("visibilitychange", () => (document.hidden ? live.close() : live.open()));
  addEventListener("pagehide", () => live.close());
  if (!document.hidden) live.open();
}
