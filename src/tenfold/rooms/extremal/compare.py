"""Methods at the same budget: one search of each for each seed, with its curve.

All count flips alike: an edge added or removed, also inside tree searches; for cross-entropy, a
pair that was decided. Local searches have one chain.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from tenfold.engine.config import Json
from tenfold.engine.run import Run
from tenfold.engine.tasks import map_tasks
from tenfold.rooms.extremal.bounds import published, upper_bound
from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.compare_config import Compare
from tenfold.rooms.extremal.contend import contend
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import verify


def compare_run(cfg: Compare, *, run: Run) -> Run:
    """Run all searches; out/compare.json has them with their curves, and a table of methods."""
    tasks = {
        f"{method}_s{seed}": {
            "method": method, "seed": seed, "problem": asdict(cfg.problem), "flips": cfg.flips,
            "seconds": cfg.seconds,
        }
        for seed in cfg.seeds
        for method in cfg.methods
    }  # fmt: skip
    with run:
        pieces = []
        found = map_tasks(
            compare_piece,
            tasks,
            workers=cfg.workers,
            out=run.out / "pieces",
            check_stop=run.check_stop,
        )
        for key, piece in found:
            pieces.append(piece)
            run.note(f"{key}: {piece['edges']} edges, {len(pieces)} of {len(tasks)}")
        pieces.sort(key=lambda piece: list(tasks).index(f"{piece['method']}_s{piece['seed']}"))
        rows = method_rows(pieces, cfg)
        run.write_json("compare.json", {"pieces": pieces, "methods": rows})
    return run


def compare_piece(task: Mapping[str, Any]) -> Json:
    """Do one search, given as plain data, and return its best graph, checked, and its curve."""
    problem = Problem(**task["problem"])
    began = time.monotonic()
    graph, flips, curve = contend(
        task["method"], problem, flips=task["flips"], seconds=task["seconds"], seed=task["seed"]
    )
    verify(graph, problem)
    return {
        "method": task["method"],
        "seed": task["seed"],
        "edges": graph.size,
        "flips": flips,
        "seconds": round(time.monotonic() - began, 3),
        "curve": curve,
        "graph6": encode_graph6(graph),
    }


def method_rows(pieces: list[Json], cfg: Compare) -> list[Json]:
    """Return a row for each method: edges over seeds, and how far they are from what is known."""
    listed = published(cfg.problem).get(cfg.problem.nodes)
    goal = listed.lower if listed else upper_bound(cfg.problem).value
    rows = []
    for method in cfg.methods:
        here = [piece for piece in pieces if piece["method"] == method]
        edges = [piece["edges"] for piece in here]
        rows.append(
            {
                "method": method,
                "edges": edges,
                "mean": float(np.mean(edges)),
                "best": max(edges),
                "gap": goal - float(np.mean(edges)),
                "flips": round(float(np.mean([piece["flips"] for piece in here]))),
                "seconds": round(float(np.mean([piece["seconds"] for piece in here])), 2),
            }
        )
    return rows
