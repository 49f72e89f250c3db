"""A team's episode as one HTML page: the board, and each agent's value under it, step by step.

The page needs no network. Its one script is allowed by its SHA-256, as in all pages of this
library; pictures are drawn from numbers that lie in the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.files import write_text


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """What happened in one copy, T steps."""

    title: str
    agents: tuple[str, ...]
    """Names, d."""
    frames: NDArray[np.uint8] | None
    """Boards before each step, [T, H, W, 3]; None where the task has no picture."""
    headings: NDArray[np.int64] | None
    """[T, d], 0 north to 3 west, None if there are none."""
    positions: NDArray[np.int64] | None
    """[T, d, 2], row and column, None if there are none."""
    actions: Sequence[Sequence[str]]
    """Names of the actions taken, [T][d]."""
    values: NDArray[np.float64]
    """Value of each agent's action, [T, d]."""
    rewards: NDArray[np.float64]
    """[T, d]."""
    events: Sequence[Sequence[str]]
    """What each agent caused at each step, [T][d], empty if nothing."""


def write_replay(replay: Replay, path: Path) -> None:
    """Write the page."""
    data = {
        "agents": list(replay.agents),
        "frames": _packed(replay.frames),
        "size": list(replay.frames.shape[1:3]) if replay.frames is not None else None,
        "headings": replay.headings.tolist() if replay.headings is not None else None,
        "positions": replay.positions.tolist() if replay.positions is not None else None,
        "actions": [list(row) for row in replay.actions],
        "values": [
            [None if np.isnan(value) else round(float(value), 4) for value in row]
            for row in replay.values
        ],
        "rewards": np.round(replay.rewards, 4).tolist(),
        "events": [list(row) for row in replay.events],
    }
    # "</" would end the element that holds the data.
    island = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    parts = {
        "{rules}": rules,
        "{title}": html.escape(replay.title),
        "{data}": island,
        "{script}": _SCRIPT,
    }
    # In one pass, so that no part is looked for in another one.
    write_text(path, re.sub("|".join(map(re.escape, parts)), lambda m: parts[m[0]], _PAGE))


def _packed(frames: NDArray[np.uint8] | None) -> str | None:
    """Return boards as text: bytes in base 64."""
    if frames is None:
        return None
    return base64.b64encode(np.ascontiguousarray(frames).tobytes()).decode()


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{rules}">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --line: #8886; --ink: #222; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #161616; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
canvas { width: 100%; display: block; border: 1px solid var(--line); margin: .6rem 0; }
#board { image-rendering: pixelated; max-height: 50vh; object-fit: contain; }
.controls { display: flex; gap: .8rem; align-items: center; flex-wrap: wrap; }
input[type=range] { flex: 1; min-width: 12rem; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
</style>
</head>
<body>
<h1>{title}</h1>
<canvas id="board" role="img" aria-label="The board at this step"></canvas>
<div class="controls">
<button id="run">Play</button><button id="back">Step back</button>
<button id="on">Step on</button>
<label for="step">Step <output id="number">0</output></label>
<input id="step" type="range" min="0" value="0">
<label for="speed">Speed</label>
<select id="speed"><option>2</option><option selected>8</option><option>30</option></select>
</div>
<canvas id="values" role="img" aria-label="Value of each agent over time"></canvas>
<p>Lines: value of each agent's action, and their sum. Ticks below: rewards of the team. The
upright line is the step shown; click the picture to go to a step.</p>
<table><thead><tr><th>agent</th><th>action</th><th>value</th><th>reward</th><th>caused</th></tr>
</thead><tbody id="rows"></tbody></table>
<noscript><p>This page draws its pictures by a script of its own, which is switched off.</p>
</noscript>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""

_SCRIPT = """
"use strict";
const told = JSON.parse(document.getElementById("data").textContent);
const by = name => document.getElementById(name);
const colours = ["#2a78d6", "#d6452a", "#2a9d5c", "#a55cc9", "#b8860b", "#008b8b", "#777", "#c0c"];
const count = told.values.length, agents = told.agents.length;
let now = 0, timer = null;
by("step").max = count - 1;
const bytes = told.frames === null ? null
  : Uint8Array.from(atob(told.frames), letter => letter.charCodeAt(0));
const board = by("board"), pen = board.getContext("2d");
if (bytes === null) { board.remove(); }
function drawBoard() {
  if (bytes === null) { return; }
  const [height, width] = told.size, cell = Math.max(8, Math.floor(900 / width));
  board.width = width * cell; board.height = height * cell;
  const start = now * height * width * 3;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const at = start + 3 * (row * width + column);
      pen.fillStyle = `rgb(${bytes[at]},${bytes[at + 1]},${bytes[at + 2]})`;
      pen.fillRect(column * cell, row * cell, cell - 1, cell - 1);
    }
  }
  if (told.positions === null) { return; }
  told.positions[now].forEach(([row, column], agent) => {
    const x = (column + .5) * cell, y = (row + .5) * cell, long = .42 * cell;
    pen.fillStyle = colours[agent % colours.length];
    pen.beginPath(); pen.arc(x, y, .32 * cell, 0, 7); pen.fill();
    if (told.headings !== null) {
      const turn = Math.PI / 2 * (told.headings[now][agent] - 1);
      pen.strokeStyle = "#fff"; pen.lineWidth = Math.max(2, cell / 12);
      pen.beginPath(); pen.moveTo(x, y);
      pen.lineTo(x + long * Math.cos(turn), y + long * Math.sin(turn)); pen.stroke();
    }
  });
}
const graph = by("values"), ink = graph.getContext("2d");
const sums = told.values.map(row => row.reduce((a, b) => a + b, 0));
const paid = told.rewards.map(row => row.reduce((a, b) => a + b, 0));
const all = told.values.flat().concat(sums);
const low = Math.min(0, ...all), high = Math.max(1e-6, ...all);
function drawValues() {
  graph.width = 1000; graph.height = 320;
  const bottom = 270, x = step => 10 + 980 * step / Math.max(1, count - 1);
  const y = value => bottom - 250 * (value - low) / (high - low);
  const style = getComputedStyle(document.body).color;
  const line = (values, colour, wide) => {
    ink.strokeStyle = colour; ink.lineWidth = wide; ink.beginPath();
    values.forEach((value, step) => {
      if (value === null) { return; }
      if (step) { ink.lineTo(x(step), y(value)); } else { ink.moveTo(x(0), y(value)); }
    });
    ink.stroke();
  };
  line(sums, style, 1);
  for (let agent = 0; agent < agents; agent++) {
    line(told.values.map(row => row[agent]), colours[agent % colours.length], 2);
  }
  const most = Math.max(1e-6, ...paid.map(Math.abs));
  paid.forEach((value, step) => {
    if (value === 0) { return; }
    ink.fillStyle = value > 0 ? "#2a9d5c" : "#d6452a";
    const tall = 6 + 30 * Math.abs(value) / most;
    ink.fillRect(x(step) - 1, 315 - tall, 3, tall);
  });
  ink.strokeStyle = style; ink.lineWidth = 1; ink.beginPath();
  ink.moveTo(x(now), 5); ink.lineTo(x(now), 318); ink.stroke();
}
function drawRows() {
  const body = by("rows"); body.replaceChildren();
  for (let agent = 0; agent < agents; agent++) {
    const row = body.insertRow();
    const value = told.values[now][agent];
    const cells = [told.agents[agent], told.actions[now][agent],
      value === null ? "gone" : value.toFixed(2), told.rewards[now][agent],
      told.events[now][agent]];
    for (const text of cells) { row.insertCell().textContent = text; }
    row.cells[0].style.color = colours[agent % colours.length];
  }
}
function show(step) {
  now = Math.max(0, Math.min(count - 1, step));
  by("step").value = now; by("number").textContent = now;
  drawBoard(); drawValues(); drawRows();
}
function stop() { clearInterval(timer); timer = null; by("run").textContent = "Play"; }
by("run").onclick = () => {
  if (timer !== null) { stop(); return; }
  by("run").textContent = "Pause";
  timer = setInterval(() => now + 1 < count ? show(now + 1) : stop(), 1000 / by("speed").value);
};
by("speed").onchange = () => { if (timer !== null) { stop(); by("run").click(); } };
by("back").onclick = () => { stop(); show(now - 1); };
by("on").onclick = () => { stop(); show(now + 1); };
by("step").oninput = event => { stop(); show(+event.target.value); };
graph.onclick = event => {
  const place = graph.getBoundingClientRect();
  stop(); show(Math.round((event.clientX - place.left) / place.width * (count - 1)));
};
show(0);
"""
