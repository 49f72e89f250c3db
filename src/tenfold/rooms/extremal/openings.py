"""What a search begins from: nothing, a named graph, a file, an amalgam, or the archive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.amalgam import read_amalgam
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.codecs import decode_graph, read_graphs
from tenfold.rooms.extremal.graph import Graph, empty, extend
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.starts import build, cuts, read_cut, shrink_from
from tenfold.rooms.extremal.verify import find_faults

REACH = 4
"""Most sizes between a graph of the archive and the problem."""


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """The first graph of a chain."""

    graph: Graph
    text: str
    """Where it comes from, for the archive."""
    kept: bool = False
    """Whether its edges stay until nothing more is gained around them."""


def open_start(
    text: str, problem: Problem, *, chains: int, seed: int, archive: Archive | None = None
) -> list[Opening]:
    """Return the first graph of each chain; of several graphs each chain takes one in turn.

    Raises:
        TenfoldError: if there is none, or one breaks the rule, with the fault.
    """
    found = _find(text, problem, seed=seed, archive=archive)
    for opening in found:
        check_start(opening.graph, problem, name=opening.text)
    return [found[number % len(found)] for number in range(chains)]


def _find(text: str, problem: Problem, *, seed: int, archive: Archive | None) -> list[Opening]:
    nodes = problem.nodes
    if text == "empty":
        return [Opening(empty(nodes), "empty")]
    if text == "archive":
        assert archive is not None, "a config that starts from an archive names one"
        return _from_archive(archive, nodes, seed=seed)
    if text == "structured":
        return _structured(nodes)
    if text.startswith("amalgam:"):
        graph = build(read_cut(text)) if ";" in text else read_amalgam(text).base
        return [Opening(_grown(graph, nodes, text), text, kept=True)]
    if text.startswith("g6:"):
        return [Opening(_grown(decode_graph(text.removeprefix("g6:")), nodes, "start"), "a graph")]
    if Path(text).is_file():
        return [Opening(_grown(graph, nodes, text), text) for graph in read_graphs(Path(text))]
    return [Opening(_grown(construct(text), nodes, text), text)]


def _grown(graph: Graph, nodes: int, name: str) -> Graph:
    if graph.nodes > nodes:
        raise TenfoldError(
            f"start {name} has {graph.nodes} nodes, the problem only {nodes}; ask for as many, or "
            "let a ladder go down from it"
        )
    return extend(graph, nodes)


def _structured(nodes: int) -> list[Opening]:
    found = cuts(nodes)
    if not found:
        raise TenfoldError(f"no amalgam can be cut to {nodes} nodes; give another start")
    return [Opening(build(cut), cut.name, kept=True) for cut in found[:16]]


def _from_archive(archive: Archive, nodes: int, *, seed: int) -> list[Opening]:
    """Take the best graphs of the size, else of the nearest size, the larger one first."""
    if finds := archive.best(nodes):
        return [Opening(find.graph, f"{nodes} itself") for find in finds]
    for step in range(1, REACH + 1):
        if finds := archive.best(nodes + step):
            draw = rng.stream(seed, "opening", nodes)
            return [
                Opening(
                    shrink_from(find.graph, nodes, generator=draw),
                    f"{nodes + step} less {step} nodes",
                )
                for find in finds
            ]
        if finds := archive.best(nodes - step):
            text = f"{nodes - step} and {step} nodes more"
            return [Opening(extend(find.graph, nodes), text) for find in finds]
    raise TenfoldError(
        f"archive {archive.path} has no graph on {nodes - REACH} to {nodes + REACH} nodes to start "
        "from; search one of these sizes first"
    )


def check_start(graph: Graph, problem: Problem, *, name: str) -> None:
    """Refuse a start that breaks the rule; what it lacks may still be added.

    Raises:
        TenfoldError: with the first fault, such as a cycle.
    """
    rule = replace(problem, frozen="", group="", min_degree=0)
    if faults := find_faults(graph, rule):
        raise TenfoldError(f"start {name}: {faults[0]}; mend it or begin from another graph")


def check_frozen(graph: Graph, problem: Problem) -> None:
    """Refuse frozen edges that break the rule by themselves.

    Raises:
        TenfoldError: with the first fault.
    """
    rule = replace(problem, frozen="", group="", min_degree=0)
    if faults := find_faults(graph, rule):
        raise TenfoldError(f"the frozen edges alone: {faults[0]}; leave some of them out")
