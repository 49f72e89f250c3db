"""What is asked for: which subgraphs are forbidden, which pairs may be edges, which degrees.

A problem is data that a command line, a saved run and an archive can hold: hosts, frozen edges
and groups are named by a string, which is a construction, a file, or the graph itself
("g6:..."). `open_problem` reads them once and returns arrays.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.engine.errors import TenfoldError

if TYPE_CHECKING:
    # Arrays are for opened problems: what is asked is read without them, for help texts.
    import numpy as np
    from numpy.typing import NDArray

    from tenfold.rooms.extremal.graph import Graph

MAX_NODES = 1024
"""The table of path counts has a place for every pair of nodes."""
SHORTEST, LONGEST = 3, 8
"""Cycle lengths that may be forbidden."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A set of forbidden subgraphs."""

    lengths: tuple[int, ...]
    """Cycle lengths, increasing, each in 3..8."""
    codegree: int = 0
    """t of a forbidden K2,t, at least 2: no two nodes have t common neighbours; 0 is none."""

    def __str__(self) -> str:
        names = [f"C{length}" for length in self.lengths]
        return ",".join([*names, f"K2_{self.codegree}"] if self.codegree else names)


def read_forbidden(text: str) -> Forbidden:
    """Read "C3,C4", "girth5" (all cycles shorter than 5), "K2_3", or several with commas.

    Raises:
        ValueError: naming a word that is none of these.
    """
    lengths: set[int] = set()
    codegree = 0
    for word in text.replace(" ", "").split(","):
        cycle = re.fullmatch(r"[Cc]?(\d)", word)
        girth = re.fullmatch(r"girth>?=?(\d)", word)
        bipartite = re.fullmatch(r"[Kk]2[_:]?,?(\d+)", word)
        if cycle and SHORTEST <= int(cycle[1]) <= LONGEST:
            lengths.add(int(cycle[1]))
        elif girth and SHORTEST < int(girth[1]) <= LONGEST + 1:
            lengths.update(range(SHORTEST, int(girth[1])))
        elif bipartite and int(bipartite[1]) >= 2:
            codegree = int(bipartite[1])
        else:
            raise ValueError(
                f"forbid has {word!r}; give C3 to C8, girth4 to girth9, or K2_t with t of 2 or "
                "more, joined by commas"
            )
    return Forbidden(tuple(sorted(lengths)), codegree)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """As many edges as possible on `nodes` nodes, without the forbidden subgraphs."""

    nodes: int = 40
    """Number of nodes, 2 to 1024."""
    forbid: str = "C3,C4"
    """C3 to C8, girth5 (all shorter cycles), K2_t; several with commas."""
    girth: int = 0
    """Shorthand: forbid all cycles shorter than this, and nothing else; 0: as `forbid` says."""
    host: str = ""
    """Pairs that may be edges: bipartite:M,N, hypercube:D, a graph file, or g6:...; empty: all."""
    frozen: str = ""
    """Edges that must stay: a graph file or g6:...; empty: none."""
    max_degree: int = 0
    """Largest degree; 0: any."""
    min_degree: int = 0
    """Least degree."""
    regular: int = 0
    """Shorthand: this degree at every node; 0: as the other two say."""
    group: str = ""
    """Automorphisms to keep: Zm, Zm:Zk, or a file of permutations; empty: none."""

    def __post_init__(self) -> None:
        if not 2 <= self.nodes <= MAX_NODES:
            raise ValueError(f"nodes is {self.nodes}; give 2 to {MAX_NODES}, the table's limit")
        _resolve_shorthands(self)
        forbidden = read_forbidden(self.forbid)
        object.__setattr__(self, "forbid", str(forbidden))
        for name in ("max_degree", "min_degree"):
            if not 0 <= getattr(self, name) < self.nodes:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; on {self.nodes} nodes give 0 to "
                    f"{self.nodes - 1}"
                )
        if self.max_degree and self.min_degree > self.max_degree:
            raise ValueError(
                f"min_degree {self.min_degree} is above max_degree {self.max_degree}; lower it"
            )
        _check_degrees(self, forbidden)

    @property
    def forbidden(self) -> Forbidden:
        """The forbidden subgraphs as data."""
        return read_forbidden(self.forbid)

    def family(self) -> str:
        """Name what an archive holds: everything that is asked, except the number of nodes.

        Files are named by what is in them, so that a moved file is the same problem.
        """
        words = [f"forbid {self.forbid}"]
        spelled = embed_files(self)
        texts = {name: getattr(spelled, name) for name in ("host", "frozen", "group")}
        words += [f"{name} {_content_name(text)}" for name, text in texts.items() if text]
        limits = {name: getattr(self, name) for name in ("min_degree", "max_degree")}
        words += [f"{name} {value}" for name, value in limits.items() if value]
        return "; ".join(words)


def _resolve_shorthands(problem: Problem) -> None:
    """Write `girth` and `regular` as what they stand for, so that equal problems are equal."""
    if problem.girth:
        object.__setattr__(problem, "forbid", f"girth{problem.girth}")
    if problem.regular:
        object.__setattr__(problem, "min_degree", problem.regular)
        object.__setattr__(problem, "max_degree", problem.regular)
    object.__setattr__(problem, "girth", 0)
    object.__setattr__(problem, "regular", 0)


def resize(problem: Problem, nodes: int) -> Problem:
    """Return the same problem on another number of nodes."""
    return replace(problem, nodes=nodes)


def _check_degrees(problem: Problem, forbidden: Forbidden) -> None:
    """Refuse degrees that no graph has: a regular one of odd sum, or a ball that is too large."""
    n, low = problem.nodes, problem.min_degree
    if low and low == problem.max_degree and low * n % 2:
        raise ValueError(
            f"regular {low} (least and largest degree) on {n} nodes has an odd sum of degrees "
            f"{low * n}; change one of them"
        )
    least = moore_bound(low, forbidden)
    if least > n:
        name = "regular" if low == problem.max_degree else "min_degree"
        raise ValueError(
            f"{name} {low} without {forbidden} needs {least} nodes or more (Moore's bound), "
            f"nodes is {n}; lower the degree"
        )


def moore_bound(degree: int, forbidden: Forbidden) -> int:
    """Return the least number of nodes of a graph with this least degree and girth.

    The girth is one more than the longest forbidden cycle below which all are forbidden; with
    radius r = (girth - 1) // 2 a ball around a node (odd girth) or an edge (even) is a tree.
    """
    girth = SHORTEST
    while girth in forbidden.lengths:
        girth += 1
    if degree < 1:
        return 0
    radius = (girth - 1) // 2
    if girth % 2:
        return 1 + degree * sum(int((degree - 1) ** depth) for depth in range(radius))
    return 2 * sum(int((degree - 1) ** depth) for depth in range(radius + 1))


def _content_name(text: str) -> str:
    """Name a graph by its edges and any other file by its bytes, wherever it lies."""
    if text.startswith("g6:"):
        return f"g6 sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not Path(text).is_file():
        return text
    return f"sha256 {hashlib.sha256(Path(text).read_bytes()).hexdigest()[:16]}"


def embed_files(problem: Problem) -> Problem:
    """Return the problem with the graphs of its files spelled out, so that it can be moved.

    A file of a group is named by its full path.
    """
    from tenfold.rooms.extremal.codecs import encode_graph6, read_graphs

    texts: dict[str, Any] = {}
    for name in ("host", "frozen", "group"):
        text = getattr(problem, name)
        if text.startswith("g6:") or not Path(text).is_file():
            continue
        path = Path(text)
        graph = name != "group"
        texts[name] = f"g6:{encode_graph6(read_graphs(path)[0])}" if graph else str(path.resolve())
    return replace(problem, **texts)


# Opened problems


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A problem with its files read."""

    problem: Problem
    allowed: NDArray[np.bool_]
    """[nodes, nodes], symmetric: pairs that may be edges, the frozen ones too."""
    frozen: Graph
    """Edges that must stay."""


def open_problem(problem: Problem) -> Opened:
    """Read host and frozen edges of a problem.

    Raises:
        TenfoldError: if they have another number of nodes, or a frozen edge is not allowed.
    """
    import numpy as np

    from tenfold.rooms.extremal.graph import from_edges

    n = problem.nodes
    allowed = ~np.eye(n, dtype=bool)
    if problem.host:
        allowed &= host_graph(problem.host, n).adjacency()
    frozen = read_named(problem.frozen, n) if problem.frozen else from_edges(n, [])
    u, v = frozen.edges.T
    barred = ~allowed[u, v]
    if barred.any():
        first = barred.argmax()
        raise TenfoldError(
            f"frozen edge {u[first]} - {v[first]} is no edge of the host {problem.host!r}; "
            "leave it out or widen the host"
        )
    return Opened(problem, allowed, frozen)


def host_graph(text: str, nodes: int) -> Graph:
    """Return the graph whose edges may be used: bipartite:M,N, hypercube:D, a file or g6:...

    Raises:
        TenfoldError: if it does not have `nodes` nodes.
    """
    from tenfold.rooms.extremal.graph import from_edges

    sides = re.fullmatch(r"bipartite:(\d+),(\d+)", text)
    cube = re.fullmatch(r"hypercube:(\d+)", text)
    if sides:
        left, right = int(sides[1]), int(sides[2])
        _check_nodes(text, left + right, nodes)
        return from_edges(nodes, [(i, left + j) for i in range(left) for j in range(right)])
    if cube:
        _check_nodes(text, 2 ** int(cube[1]), nodes)
        flips = [1 << bit for bit in range(int(cube[1]))]
        return from_edges(nodes, [(i, i ^ f) for i in range(nodes) for f in flips if i < i ^ f])
    return read_named(text, nodes)


def read_named(text: str, nodes: int) -> Graph:
    """Return the graph that "g6:..." spells or that is the first in a file.

    Raises:
        TenfoldError: if it cannot be read or does not have `nodes` nodes.
    """
    from tenfold.rooms.extremal.codecs import decode_graph, read_graphs

    if text.startswith("g6:"):
        graph = decode_graph(text.removeprefix("g6:"))
    else:
        graph = read_graphs(Path(text))[0]
    _check_nodes(text, graph.nodes, nodes)
    return graph


def _check_nodes(text: str, found: int, nodes: int) -> None:
    if found != nodes:
        remedy = "make them equal"
        if found < nodes and not text.startswith("g6:") and Path(text).is_file():
            remedy += f'; if only nodes without edges lack, begin the file with "# nodes {nodes}"'
        raise TenfoldError(f"{text} has {found} nodes, the problem {nodes}; {remedy}")
