"""Proven upper bounds on the number of edges, and the table of what is known.

The bound of a problem is the least that its rules give, from one node upward; each rule holds for
every graph without the forbidden subgraphs, so those with more forbidden inherit it. Degrees,
hosts and frozen edges can only lower the largest number of edges further.

Sources of the table (known.csv): OEIS A006856, A006855 and A159847; Afzaly and McKay's lists; the
Combinatorics Wiki; Goedgebeur, Jooken, Joret and Van den Eede (GJJV), arXiv:2508.05562; Jorgensen
2005. Its `prototype` is what an early version of this room's search reached.
"""

from __future__ import annotations

import csv
import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb
from pathlib import Path

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.problem import (
    MAX_NODES,
    Forbidden,
    Problem,
    host_graph,
    read_forbidden,
)

_TABLE = Path(__file__).with_name("known.csv")
_TRUSTED = {(3, 4): 53, (4,): 49, (3, 4, 5): 62}
"""Up to this many nodes the upper value of the table is published, beyond it follows by rules."""


@dataclass(frozen=True, slots=True)
class Bound:
    """No graph has more than `value` edges, by `rule`."""

    value: int
    rule: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is published on one number of nodes."""

    lower: int
    upper: int
    source: str
    prototype: int | None = None
    """Edges that an early version of this room's search reached."""
    classes: int | None = None
    """Number of extremal graphs up to isomorphism."""
    classes_source: str = ""

    @property
    def exact(self) -> bool:
        """Whether the largest number of edges is known."""
        return self.lower == self.upper


# The table


@functools.cache
def _table() -> dict[str, dict[int, Known]]:
    found: dict[str, dict[int, Known]] = {}
    with _TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["forbid"], {})[int(row["nodes"])] = Known(
                lower=int(row["lower"]),
                upper=int(row["upper"]),
                source=row["source"],
                prototype=int(row["prototype"]) if row["prototype"] else None,
                classes=int(row["classes"]) if row["classes"] else None,
                classes_source=row["classes_source"],
            )
    return found


def known(forbid: str) -> dict[int, Known]:
    """Return what is known for a set of forbidden subgraphs, by number of nodes.

    There are tables for C3,C4, for C4 and for C3,C4,C5; for other sets the result is empty.
    """
    return dict(_table().get(_table_name(read_forbidden(forbid)), {}))


def published(problem: Problem) -> dict[int, Known]:
    """Return what is known for a problem, by number of nodes.

    The tables are of graphs that need only lack subgraphs: with a host, frozen edges, degrees or
    a group the result is empty.
    """
    return {} if is_restricted(problem) else known(problem.forbid)


def is_restricted(problem: Problem) -> bool:
    """Whether more is asked than to be without subgraphs."""
    names = ("host", "frozen", "group", "min_degree", "max_degree")
    return any(getattr(problem, name) for name in names)


def _table_name(forbidden: Forbidden) -> str:
    """Name the table of a set: K2,2 is C4, and where C4 is forbidden K2,t is too."""
    lengths = set(forbidden.lengths) | ({4} if forbidden.codegree == 2 else set())
    codegree = 0 if 4 in lengths else forbidden.codegree
    return str(Forbidden(tuple(sorted(lengths)), codegree))


def read_known(
    path: Path, *, forbid: str = "C3,C4", over: Mapping[int, Known] | None = None
) -> dict[int, Known]:
    """Read a table with the columns nodes, lower, upper, source, and lay it over ours or `over`.

    An empty `upper` is filled by `upper_bound`; where `lower` differs from ours, our number of
    classes is dropped.

    Raises:
        TenfoldError: naming the line at fault.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TenfoldError(f"{path} cannot be read ({error}); check the path") from None
    reader = csv.DictReader(lines)
    missing = {"nodes", "lower", "upper", "source"} - set(reader.fieldnames or ())
    if missing:
        raise TenfoldError(
            f"{path} lacks the column {', '.join(sorted(missing))}; its first line should be "
            "nodes,lower,upper,source"
        )
    found = known(forbid) if over is None else dict(over)
    for row in reader:
        nodes, value = _read_row(row, forbid=forbid, place=f"{path} line {reader.line_num}")
        ours = found.get(nodes)
        if ours is not None and ours.lower == value.lower:
            value = replace(ours, upper=value.upper, source=value.source)
        found[nodes] = value
    return found


def _read_row(row: dict[str, str], *, forbid: str, place: str) -> tuple[int, Known]:
    try:
        nodes, lower = int(row["nodes"]), int(row["lower"])
        upper = int(row["upper"]) if row["upper"] else -1
    except (ValueError, TypeError):
        raise TenfoldError(
            f"{place} has nodes {row['nodes']!r}, lower {row['lower']!r}, upper {row['upper']!r}; "
            "give whole numbers, upper may be empty"
        ) from None
    if not 1 <= nodes <= MAX_NODES:
        raise TenfoldError(f"{place} has {nodes} nodes; give 1 to {MAX_NODES}")
    if not row["upper"]:
        upper = upper_bound(Problem(nodes=max(nodes, 2), forbid=forbid)).value
    if not 0 <= lower <= upper:
        raise TenfoldError(
            f"{place} has lower {lower} and upper {upper} on {nodes} nodes; "
            "give 0 <= lower <= upper"
        )
    return nodes, Known(lower=lower, upper=upper, source=row["source"] or "")


# The bound


def upper_bound(problem: Problem) -> Bound:
    """Return the least upper bound that the rules below give, and the rule that gives it."""
    bounds = [_upper(problem.forbidden, problem.nodes)]
    if problem.max_degree:
        bounds.append(Bound(problem.nodes * problem.max_degree // 2, "the largest degree"))
    if problem.host:
        bounds.extend(_host_bounds(problem))
    return min(bounds, key=lambda bound: bound.value)


def _host_bounds(problem: Problem) -> Iterable[Bound]:
    n, forbidden = problem.nodes, problem.forbidden
    yield Bound(host_graph(problem.host, n).size, "the edges of the host")
    sides = re.fullmatch(r"bipartite:(\d+),(\d+)", problem.host)
    if sides or problem.host.startswith("hypercube:"):
        lengths = tuple(sorted({*forbidden.lengths, 3, 5, 7}))
        bound = _upper(Forbidden(lengths, forbidden.codegree), n)
        yield replace(bound, rule=f"{bound.rule} (no odd cycle in the host)")
    limit = _codegree(forbidden)
    if sides and limit:
        left, right = int(sides[1]), int(sides[2])
        yield _one_side(left, right, limit=limit)
        yield _one_side(right, left, limit=limit)


def _one_side(nodes: int, others: int, *, limit: int) -> Bound:
    """Each pair of the other side ends limit - 1 paths at most whose middle is on this side."""
    pairs = (limit - 1) * comb(others, 2)
    value = _largest(nodes * others, lambda e: _paths(nodes, e) <= pairs)
    return Bound(value, "pairs of one side with common neighbours (Kovari, Sos, Turan 1954)")


def _upper(forbidden: Forbidden, nodes: int) -> Bound:
    """Return the bound without degrees and host, having filled the cache from small sizes up."""
    for size in range(2, nodes):
        _step(forbidden, size)
    return _step(forbidden, nodes)


@functools.cache
def _step(forbidden: Forbidden, nodes: int) -> Bound:
    if nodes < 2:
        return Bound(0, "no pair of nodes")
    smaller = _step(forbidden, nodes - 1).value
    bounds = [bound for rule in _RULES if (bound := rule(forbidden, nodes, smaller)) is not None]
    return min(bounds, key=lambda bound: bound.value)


def _largest(most: int, holds: Callable[[int], bool]) -> int:
    """Return the largest e in 0 .. most at which `holds`, which is false from some e on."""
    return bisect_left(range(1, most + 1), True, key=lambda edges: not holds(edges))


def _paths(nodes: int, degrees: int) -> int:
    """Return the fewest paths of two edges when degrees of this sum are shared out evenly."""
    low, more = divmod(degrees, nodes)
    return more * comb(low + 1, 2) + (nodes - more) * comb(low, 2)


def _codegree(forbidden: Forbidden) -> int:
    """Return the least t for which K2,t cannot be there, 0 if none: K2,2 is C4."""
    return 2 if 4 in forbidden.lengths else forbidden.codegree


# Rules: (forbidden, nodes n, bound of n - 1 nodes) -> bound, or None where a rule says nothing


def _by_table(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    del smaller
    lengths = set(forbidden.lengths) | ({4} if forbidden.codegree == 2 else set())
    bounds = [
        Bound(found.upper, f"table, {found.source}")
        for covered, most in _TRUSTED.items()
        if nodes <= most and lengths >= set(covered)
        for found in [_table()[str(Forbidden(covered))][nodes]]
    ]
    return min(bounds, key=lambda bound: bound.value, default=None)


def _by_pairs(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    del forbidden, smaller
    return Bound(comb(nodes, 2), "all pairs")


def _by_hamilton(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    """More than C(n-1, 2) + 1 edges give a cycle through all n nodes (Ore 1961)."""
    del smaller
    if nodes not in forbidden.lengths:
        return None
    return Bound(comb(nodes - 1, 2) + 1, "no cycle through all nodes (Ore 1961)")


def _by_odd_cycle(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    """Without an odd cycle of length 2k + 1 there are n^2 / 4 edges at most from n = 4k on."""
    del smaller
    k = min((length // 2 for length in forbidden.lengths if length % 2), default=0)
    if not k or (k > 1 and nodes < 4 * k):
        return None
    name = "Mantel 1907" if k == 1 else "Furedi and Gunderson 2015"
    return Bound(nodes * nodes // 4, f"no C{2 * k + 1} ({name})")


def _by_common_neighbours(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    """Each pair ends t - 1 paths of two edges at most; without triangles joined pairs end none.

    For t = 2 and no triangle this is sum d^2 <= n (n - 1): the balls of radius 1 around the
    neighbours of a node are disjoint but for that node.
    """
    del smaller
    limit = _codegree(forbidden)
    if not limit:
        return None
    ending = comb(nodes, 2)
    joined = 1 if 3 in forbidden.lengths else 0
    value = _largest(ending, lambda e: _paths(nodes, 2 * e) <= (limit - 1) * (ending - joined * e))
    return Bound(value, "paths of two edges" if joined else "pairs with common neighbours")


def _by_girth(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    """Moore's bound with the mean degree in place of the degree (Alon, Hoory, Linial 2002)."""
    del smaller
    girth = 3
    while girth in forbidden.lengths:
        girth += 1
    if girth < 5:
        return None
    value = _largest(comb(nodes, 2), lambda e: e <= nodes or _moore(e, nodes, girth) <= nodes)
    return Bound(value, f"Moore's bound for girth {girth} (Alon, Hoory, Linial 2002)")


def _moore(edges: int, nodes: int, girth: int) -> Fraction:
    degree = Fraction(2 * edges, nodes)
    radius = (girth - 1) // 2
    if girth % 2:
        return 1 + degree * sum((degree - 1) ** depth for depth in range(radius))
    return Fraction(2) * sum((degree - 1) ** depth for depth in range(radius + 1))


def _by_largest_ball(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    """The neighbours of a node of largest degree D have least degree d: 1 + d D <= n.

    Deleting a node of least degree leaves a graph of n - 1 nodes, so d >= e - f(n - 1).
    """
    if not {3, 4} <= set(forbidden.lengths):
        return None
    value = _largest(
        comb(nodes, 2), lambda e: 1 + max(0, e - smaller) * -(-2 * e // nodes) <= nodes
    )
    return Bound(value, "the ball around a node of largest degree")


def _by_deletion(forbidden: Forbidden, nodes: int, smaller: int) -> Bound | None:
    """Every edge stays in n - 2 of the n graphs with one node deleted."""
    del forbidden
    if nodes < 3:
        return None
    return Bound(nodes * smaller // (nodes - 2), f"averaging over the deletions from {nodes} nodes")


_RULES = (
    _by_table,
    _by_pairs,
    _by_hamilton,
    _by_odd_cycle,
    _by_common_neighbours,
    _by_girth,
    _by_largest_ball,
    _by_deletion,
)
