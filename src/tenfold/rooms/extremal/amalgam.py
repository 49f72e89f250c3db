"""Amalgams in elliptic semiplanes: a bipartite base of girth 6, and free pairs inside its classes.

In a semiplane any two points lie on at most one line, and those on none fall into classes; the
same holds for lines. So the incidence graph has girth 6, and an edge inside a class closes no
3- or 4-cycle with the base alone. Put a graph into every class: girth 5 remains if and only if
every class graph has it and no class edge {p, p'} meets a class edge {L, L'} with p on L and p'
on L'. (Jorgensen 2005, Funk 2009, Abreu et al. 2012: regular graphs of girth 5.)

Families over GF(q):
    C  points (x, y), lines [m, b], y = m x + b: 2 q classes of q (plane less a flag).
    L  non-zero vectors a, c of GF(q)^2, a . c = 1: 2 (q + 1) classes of q - 1 (less an antiflag).
    D  the plane less a Baer subplane, q = s^2: 2 (q + s + 1) classes of q - s.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.algebra import (
    Field,
    affine_incidence,
    dot,
    field,
    prime_power,
    projective_points,
    subfield,
    vectors,
)
from tenfold.rooms.extremal.graph import Graph, from_edges, induced
from tenfold.rooms.extremal.problem import Opened, Problem, read_forbidden

Family = Literal["C", "L", "D"]
FAMILIES: tuple[Family, ...] = get_args(Family)
ORDERS = (3, 4, 5, 7, 8, 9, 11, 13, 16)
"""Orders that `amalgams_near` looks at: semiplanes with up to some 500 nodes."""
SPELLING = "amalgam:C,q=9,k=9,l=9"

Nodes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Semiplane:
    """An incidence graph of girth 6: points first, then lines, each class in one piece."""

    base: Graph
    point_classes: tuple[Nodes, ...]
    line_classes: tuple[Nodes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Amalgam:
    """Some classes of a semiplane: the base's edges stay, pairs inside a class are free."""

    name: str
    nodes: int
    base: Graph
    classes: tuple[Nodes, ...]
    allowed: NDArray[np.bool_]
    """[nodes, nodes], symmetric: edges of the base and pairs inside a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An amalgam that has not been built: what it is, and how far it can reach."""

    family: Family
    q: int
    points: int
    """Point classes kept."""
    lines: int
    """Line classes kept."""
    nodes: int
    edges: int
    """Edges of the base."""
    limit: int
    """No filling of the classes has more edges in all, base and classes."""

    @property
    def name(self) -> str:
        """The plan as `read_amalgam` reads it."""
        return f"amalgam:{self.family},q={self.q},k={self.points},l={self.lines}"


# Semiplanes


@functools.cache
def semiplane(family: Family, q: int) -> Semiplane:
    """Build a semiplane over GF(q).

    Raises:
        TenfoldError: if there is no such field, or for family D no square root of its order.
    """
    build = {"C": _plane_less_flag, "L": _plane_less_antiflag, "D": _plane_less_subplane}
    incident, point_class, line_class = build[family](field(q))
    points = np.argsort(point_class, kind="stable")
    lines = np.argsort(line_class, kind="stable")
    pairs = np.argwhere(incident[points][:, lines]) + np.array([0, len(points)])
    return Semiplane(
        base=from_edges(len(points) + len(lines), pairs),
        point_classes=_slices(point_class, first=0),
        line_classes=_slices(line_class, first=len(points)),
    )


Pieces = tuple[NDArray[np.bool_], Nodes, Nodes]
"""Incidence of points and lines, class of every point, class of every line."""


def _plane_less_flag(space: Field) -> Pieces:
    classes = vectors(space, 2)[:, 0]
    return affine_incidence(space), classes, classes


def _plane_less_antiflag(space: Field) -> Pieces:
    found = vectors(space, 2)[1:]
    rays = projective_points(space, 1)
    turned = np.stack([found[:, 1], space.neg[found[:, 0]]], axis=1)
    classes = (dot(space, turned, rays) == 0).argmax(axis=1)
    return dot(space, found, found) == 1, classes, classes


def _plane_less_subplane(space: Field) -> Pieces:
    points = projective_points(space)
    inner = subfield(space, _root(space.order))[points].all(axis=1)
    incident = dot(space, points, points) == 0
    # Every outer point lies on exactly one line of the subplane, which names its class.
    classes = incident[~inner][:, inner].argmax(axis=1)
    return incident[~inner][:, ~inner], classes, classes


def _root(q: int) -> int:
    root = math.isqrt(q)
    if root * root != q:
        raise TenfoldError(
            f"q={q} is no square, and family D needs a plane with a Baer subplane; give 4, 9 or 16"
        )
    return root


def _slices(classes: Nodes, *, first: int) -> tuple[Nodes, ...]:
    """Return the nodes of every class once they are sorted by class."""
    cuts = np.cumsum(np.bincount(classes))[:-1]
    return tuple(np.split(np.arange(first, first + len(classes)), cuts))


# Amalgams


def amalgam(
    family: Family,
    *,
    q: int,
    points: int | Sequence[int] | None = None,
    lines: int | Sequence[int] | None = None,
) -> Amalgam:
    """Keep some classes of a semiplane.

    Args:
        family: C, L or D.
        q: order of the field.
        points: number of point classes, chosen for the most edges, or the classes themselves;
            None keeps all.
        lines: the same for the line classes.

    Raises:
        TenfoldError: naming a family, order or number of classes that does not exist.
    """
    total, _ = _shape(family, q)
    counts = [_count(kept, total=total, name=name) for kept, name in ((points, "k"), (lines, "l"))]
    chosen = list(_choose(family, q, *counts))
    name = f"amalgam:{family},q={q},k={counts[0]},l={counts[1]}"
    for side, kept in enumerate((points, lines)):
        if isinstance(kept, Sequence):
            chosen[side] = tuple(kept)
            name += f" ({('points', 'lines')[side]} {' '.join(map(str, kept))})"
    whole = semiplane(family, q)
    classes = [whole.point_classes[i] for i in chosen[0]]
    classes += [whole.line_classes[i] for i in chosen[1]]
    return _keep(whole.base, classes, name=name)


def truncate(source: Amalgam, *, keep: Nodes) -> Amalgam:
    """Keep only some nodes of an amalgam; they are renumbered, class after class."""
    classes = [nodes[np.isin(nodes, keep)] for nodes in source.classes]
    name = f"{source.name} on {len(keep)} of {source.nodes} nodes"
    return _keep(source.base, [nodes for nodes in classes if len(nodes)], name=name)


def _keep(base: Graph, classes: list[Nodes], *, name: str) -> Amalgam:
    kept = induced(base, np.concatenate(classes))
    label = np.repeat(np.arange(len(classes)), [len(nodes) for nodes in classes])
    inside = label[:, None] == label
    np.fill_diagonal(inside, False)
    return Amalgam(name, kept.nodes, kept, _slices(label, first=0), inside | kept.adjacency())


def _count(kept: int | Sequence[int] | None, *, total: int, name: str) -> int:
    if isinstance(kept, Sequence):
        if len(set(kept)) != len(kept) or not all(0 <= i < total for i in kept):
            raise TenfoldError(
                f"{name} keeps the classes {list(kept)}; give different ones of 0 .. {total - 1}"
            )
        return _count(len(kept), total=total, name=name)
    count = total if kept is None else kept
    if not 1 <= count <= total:
        raise TenfoldError(f"{name}={count} classes cannot be kept; give 1 to {total}")
    return count


def _shape(family: str, q: int) -> tuple[int, int]:
    """Return how many classes a side has, and of how many nodes."""
    prime_power(q)
    if family == "C":
        return q, q
    if family == "L":
        return q + 1, q - 1
    if family == "D":
        return q + _root(q) + 1, q - _root(q)
    raise TenfoldError(f"amalgam has the family {family!r}; give C, L or D, as in {SPELLING}")


@functools.cache
def _class_pairs(family: Family, q: int) -> NDArray[np.bool_]:
    """Return which point class is joined to which line class, [classes, classes]."""
    whole = semiplane(family, q)
    near = whole.base.adjacency()
    return np.array(
        [[near[p[0], line].any() for line in whole.line_classes] for p in whole.point_classes]
    )


def _choose(family: Family, q: int, points: int, lines: int) -> tuple[Sequence[int], Sequence[int]]:
    """Drop classes, always the one with the fewest joined classes, until so many are left."""
    joined = _class_pairs(family, q)
    sides = [list(range(len(joined))), list(range(len(joined)))]
    while len(sides[0]) > points or len(sides[1]) > lines:
        side = int(len(sides[1]) - lines > len(sides[0]) - points)
        left = joined[np.ix_(*sides)].sum(axis=1 - side)
        last = len(left) - 1 - int(left[::-1].argmin())
        del sides[side][last]
    return sides[0], sides[1]


# What can be asked of an amalgam


def limit(source: Amalgam, forbid: str = "C3,C4") -> int:
    """Return a bound on the edges inside classes: each class on its own filled at best."""
    return sum(_class_limit(len(nodes), forbid) for nodes in source.classes)


@functools.cache
def _class_limit(nodes: int, forbid: str) -> int:
    from tenfold.rooms.extremal.bounds import upper_bound

    return upper_bound(Problem(nodes=nodes, forbid=forbid)).value if nodes > 1 else 0


def amalgam_problem(source: Amalgam, forbid: str = "C3,C4") -> Problem:
    """Return the problem of filling the classes: the base is frozen, the rest of the host free.

    Raises:
        TenfoldError: if cycles are forbidden that the bases have.
    """
    from tenfold.rooms.extremal.codecs import encode_graph6

    if not {6, 8}.isdisjoint(read_forbidden(forbid).lengths):
        raise TenfoldError(
            f"forbid {forbid} bars cycles that a semiplane has; for {source.name} give only "
            "C3, C4, C5, C7 and K2_t"
        )
    host = from_edges(source.nodes, np.argwhere(np.triu(source.allowed)))
    return Problem(
        nodes=source.nodes,
        forbid=forbid,
        host=f"g6:{encode_graph6(host)}",
        frozen=f"g6:{encode_graph6(source.base)}",
    )


def open_amalgam(source: Amalgam, forbid: str = "C3,C4") -> Opened:
    """Return the same problem opened, without a way through text."""
    return Opened(amalgam_problem(source, forbid), source.allowed, source.base)


# Names and plans


def read_amalgam(text: str) -> Amalgam:
    """Build the amalgam that a text such as "amalgam:C,q=9,k=9,l=9" names.

    `k` and `l` are the point and line classes that are kept, all where they are left out.

    Raises:
        TenfoldError: naming the part that is wrong.
    """
    family, *settings = text.removeprefix("amalgam:").replace(" ", "").split(",")
    values: dict[str, int] = {}
    for setting in settings:
        match = re.fullmatch(r"([qkl])=(\d+)", setting)
        if match is None or match[1] in values:
            raise TenfoldError(
                f"{text!r} has {setting!r}; give q, k and l once each, as in {SPELLING}"
            )
        values[match[1]] = int(match[2])
    if "q" not in values:
        raise TenfoldError(f"{text!r} names no field; add q, as in {SPELLING}")
    return amalgam(
        cast(Family, family), q=values["q"], points=values.get("k"), lines=values.get("l")
    )


def amalgams_near(nodes: int, *, below: int = 0, above: int = 0) -> list[Plan]:
    """List the amalgams with nodes - below to nodes + above nodes, the highest limit first.

    Mirror images are left out: there are never fewer point classes than line classes.
    """
    plans = [
        plan(family, q=q, points=total - lines, lines=lines)
        for family in FAMILIES
        for q in ORDERS
        if family != "D" or math.isqrt(q) ** 2 == q
        for classes, size in [_shape(family, q)]
        for total in range(2, 2 * classes + 1)
        if nodes - below <= total * size <= nodes + above
        for lines in range(max(1, total - classes), total // 2 + 1)
    ]
    return sorted(plans, key=lambda found: (-found.limit, found.nodes, found.name))


def plan(family: Family, *, q: int, points: int, lines: int) -> Plan:
    """Count nodes, edges and limit of an amalgam without building it."""
    _, size = _shape(family, q)
    kept = _class_pairs(family, q)[np.ix_(*_choose(family, q, points, lines))]
    edges = size * int(kept.sum())
    return Plan(
        family=family,
        q=q,
        points=points,
        lines=lines,
        nodes=(points + lines) * size,
        edges=edges,
        limit=edges + (points + lines) * _class_limit(size, "C3,C4"),
    )
