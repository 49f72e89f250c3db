"""Compile all loops of this room, once a machine: `python -m tenfold.rooms.extremal.warm`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tenfold.engine.kernel import find_obstacle
from tenfold.engine.progress import say
from tenfold.rooms.extremal import local
from tenfold.rooms.extremal.canonical import canonical_form
from tenfold.rooms.extremal.graph import empty
from tenfold.rooms.extremal.groups import cyclic
from tenfold.rooms.extremal.lifts import search_cayley
from tenfold.rooms.extremal.named import petersen
from tenfold.rooms.extremal.problem import Problem, open_problem

NODES, FLIPS = 12, 500


def steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what there is to compile, by name."""
    for method in local.METHODS:
        yield method, lambda method=method: _search(method)  # type: ignore[misc]
    yield "canonical form", lambda: canonical_form(petersen())
    yield "other forbidden sets", _search_otherwise
    yield "flipping game and tree search", _play
    yield "orbits", lambda: search_cayley(cyclic(13), tries=2)


def _search(method: local.Method) -> None:
    opened = open_problem(Problem(nodes=NODES))
    chain = local.new_chain(opened, empty(NODES), seed=0, method=method)
    local.run(method, chain, FLIPS)
    local.best_graph(chain, opened)


def _search_otherwise() -> None:
    """Compile what only long cycles and K2,t call; the types are the same."""
    opened = open_problem(Problem(nodes=NODES, forbid="C5,K2_3"))
    local.run("ils", local.new_chain(opened, empty(NODES), seed=0), FLIPS)


def _play() -> None:
    from tenfold.rooms.extremal.alphazero import AlphaZero
    from tenfold.rooms.extremal.alphazero_config import tiny

    AlphaZero(tiny()).update(0)


def main() -> None:
    """Compile, with a line for each part."""
    if obstacle := find_obstacle():
        say(f"nothing is compiled: {obstacle}")
        return
    for name, work in steps():
        began = time.monotonic()
        work()
        say(f"extremal loops ready: {name} ({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main()
