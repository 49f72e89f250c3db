"use strict";
// Data come as scripts, because browsers refuse to fetch from disk. The form is in bundles.py.
const Dash = { suite: null, vocabulary: [] };

const waiting = new Map();
function tenfold(name, text) { waiting.get(name)?.(text); }

(() => {
  const TYPES = {
    u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i1: Int8Array, i2: Int16Array,
    i4: Int32Array, f4: Float32Array, f8: Float64Array,
  };
  const KEPT = 64; // bundles in memory; the oldest go first
  const loaded = new Map();

  async function inflate(text) {
    if (!("DecompressionStream" in window)) {
      throw new Error("This browser is too old for these pages; use one of 2023 or later.");
    }
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  function unpack(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const arrays = {};
    for (const [name, type, shape, offset] of head.arrays) {
      const size = shape.reduce((a, b) => a * b, 1);
      const data = new TYPES[type](buffer, 4 + length + offset, size);
      const step = size / (shape[0] || 1);
      // A row is a view: nothing is copied.
      arrays[name] = { data, shape, row: (i) => data.subarray(i * step, (i + 1) * step) };
    }
    return { facts: head.facts, arrays };
  }

  function insert(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.addEventListener("error", () => {
        reject(new Error(`data/${name}.js is missing; make the pages once more.`));
      });
      waiting.set(name, (text) => { waiting.delete(name); script.remove(); resolve(text); });
      document.head.append(script);
    });
  }

  Dash.load = (name) => {
    if (!loaded.has(name)) {
      const found = insert(name).then(inflate).then(unpack);
      found.catch(() => loaded.delete(name));
      loaded.set(name, found);
      if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
    }
    return loaded.get(name);
  };

  Dash.number = (value, digits = 3) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    if (Number.isInteger(value)) return value.toLocaleString("en").replace("-", "−");
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-4 || size >= 1e7)
      ? value.toExponential(digits - 1) : Number(value.toPrecision(digits)).toString();
    return text.replace("-", "−");
  };
  Dash.percent = (share) => (share ? `${Dash.number(100 * share)} %` : "0 %");

  const SHOWN = { "\n": "↵", "\t": "→", "\r": "␍", "": "∅" };
  Dash.token = (id) => {
    const text = Dash.vocabulary[id];
    if (text === undefined) return `#${id}`;
    return SHOWN[text] ?? text.replace(/\n/g, "↵");
  };
  // In a list a blank has to be seen.
  Dash.quoted = (id) => Dash.token(id).replace(/ /g, "␣");

  Dash.address = (entry, latent) => {
    const path = entry.name.split("/").map(encodeURIComponent).join("/");
    return latent === undefined ? `#/${path}` : `#/${path}/${latent}`;
  };
})();
