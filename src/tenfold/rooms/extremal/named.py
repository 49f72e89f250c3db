"""Graphs that are known by name: cages, polarity graphs, incidence graphs of planes.

`construct` reads every name that a command line takes, amalgams included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.rooms.extremal.algebra import dot, field, projective_incidence, projective_points
from tenfold.rooms.extremal.amalgam import read_amalgam
from tenfold.rooms.extremal.graph import Graph, from_adjacency, from_edges
from tenfold.rooms.extremal.problem import MAX_NODES

LCF = {
    "heawood": (14, (5, -5)),
    "pappus": (18, (5, 7, -7, 7, -7, -5)),
    "moebius-kantor": (16, (5, -5)),
    "desargues": (20, (5, -5, 9, -9)),
    "dodecahedron": (20, (10, 7, 4, -4, -7, 10, -4, 7, -7, 4)),
    "mcgee": (24, (12, 7, -7)),
    "tutte-coxeter": (30, (-13, -9, 7, -7, 9, 13)),
}
"""Cubic graphs with a Hamilton cycle: nodes, and how far the chord at each node leads, repeated."""

ROBERTSON_CHORDS = (
    *((0, 4), (0, 7), (1, 9), (1, 12), (2, 6), (2, 14), (3, 8), (3, 11), (4, 15), (5, 13)),
    *((5, 17), (6, 10), (7, 16), (8, 13), (9, 17), (10, 15), (11, 18), (12, 16), (14, 18)),
)
"""With the cycle on 19 nodes: 4-regular of girth 5, of which there is only one."""


def cycle(nodes: int) -> Graph:
    """Return the cycle on 3 or more nodes."""
    if not 3 <= nodes <= MAX_NODES:
        raise TenfoldError(f"cycle:{nodes} is no cycle here; give 3 to {MAX_NODES} nodes")
    return from_edges(nodes, _ring(range(nodes)))


def _ring(nodes: Iterable[int]) -> list[tuple[int, int]]:
    order = list(nodes)
    return list(zip(order, order[1:] + order[:1], strict=True))


def hamiltonian(nodes: int, jumps: tuple[int, ...]) -> Graph:
    """Return the cubic graph of LCF notation [jumps]^k: a cycle, and from node i a chord."""
    chords = {frozenset((i, (i + jumps[i % len(jumps)]) % nodes)) for i in range(nodes)}
    return from_edges(nodes, [*_ring(range(nodes)), *chords])


def petersen() -> Graph:
    """Return the cubic Moore graph on 10 nodes: a pentagon, a pentagram and their spokes."""
    return pentagons(1)


def pentagons(count: int) -> Graph:
    """Return Robertson's graph of `count` pentagons and pentagrams, 1 to 5.

    Node j of pentagon h is joined to node h i + j of pentagram i (modulo 5). It is regular of
    degree count + 2 and has girth 5 (two of each are 20 nodes, five Hoffman-Singleton, 50).
    """
    pentagon = [[10 * h + j for j in range(5)] for h in range(count)]
    star = [[10 * h + 5 + j for j in range(5)] for h in range(count)]
    edges = [edge for nodes in pentagon for edge in _ring(nodes)]
    edges += [edge for nodes in star for edge in _ring(nodes[2 * j % 5] for j in range(5))]
    edges += [
        (pentagon[h][j], star[i][(h * i + j) % 5])
        for h in range(count)
        for i in range(count)
        for j in range(5)
    ]
    return from_edges(10 * count, edges)


def robertson() -> Graph:
    """Return the smallest 4-regular graph of girth 5, on 19 nodes (Robertson 1964)."""
    return from_edges(19, [*_ring(range(19)), *ROBERTSON_CHORDS])


def cage(degree: int) -> Graph:
    """Return a smallest regular graph of girth 5; for degree 5 one of the four.

    Raises:
        TenfoldError: if the degree is not 2 to 7, where the smallest are known.
    """
    known: dict[int, Callable[[], Graph]] = {
        2: lambda: cycle(5),
        3: petersen,
        4: robertson,
        5: lambda: pentagons(3),
        6: lambda: pentagons(4),
        7: lambda: pentagons(5),
    }
    if degree not in known:
        raise TenfoldError(
            f"cage:{degree} is not known; give a degree from 2 to 7, or search with min_degree"
        )
    return known[degree]()


def projective(q: int) -> Graph:
    """Return the incidence graph of PG(2, q): 2(q^2 + q + 1) nodes, degree q + 1, girth 6."""
    return _incidence_graph(projective_incidence(field(_small(q, 16))))


def polarity(q: int) -> Graph:
    """Return the polarity graph of PG(2, q) (Erdos, Renyi, Sos): x ~ y if x . y = 0, x != y.

    It has q^2 + q + 1 nodes, q (q + 1)^2 / 2 edges and no 4-cycle.
    """
    joined = projective_incidence(field(_small(q, 31))).copy()
    np.fill_diagonal(joined, False)
    return from_adjacency(joined)


def quadrangle(q: int) -> Graph:
    """Return the incidence graph of the symplectic quadrangle W(q): girth 8, degree q + 1.

    Its points are those of PG(3, q), (q + 1)(q^2 + 1) in all, its lines the totally isotropic
    ones: through a point x, those to the points y with x1 y2 - x2 y1 + x3 y4 - x4 y3 = 0.
    """
    space = field(_small(q, 7))
    points = projective_points(space, 3)
    turned = points[:, [1, 0, 3, 2]].copy()
    turned[:, [1, 3]] = space.neg[turned[:, [1, 3]]]
    normal = dot(space, points, turned) == 0
    # Points normal to two points of such a line are the points of the line.
    lines = {
        tuple(np.flatnonzero(normal[x] & normal[y])) for x, y in np.argwhere(np.triu(normal, 1))
    }
    incident = np.zeros((len(points), len(lines)), dtype=bool)
    for number, line in enumerate(sorted(lines)):
        incident[list(line), number] = True
    return _incidence_graph(incident)


def _small(q: int, largest: int) -> int:
    if q > largest:
        raise TenfoldError(
            f"q={q} makes a graph of more than {MAX_NODES} nodes; give at most {largest}"
        )
    return q


def _incidence_graph(incident: NDArray[np.bool_]) -> Graph:
    points, lines = incident.shape
    return from_edges(points + lines, np.argwhere(incident) + np.array([0, points]))


# Names

PLAIN: dict[str, Callable[[], Graph]] = {
    "petersen": petersen,
    "robertson": robertson,
    "hoffman-singleton": lambda: pentagons(5),
}
NUMBERED: dict[str, Callable[[int], Graph]] = {
    "cage": cage,
    "cycle": cycle,
    "polarity": polarity,
    "projective": projective,
    "quadrangle": quadrangle,
}


def names() -> list[str]:
    """Return every name that `construct` reads, with a letter where a number belongs."""
    letters = [
        f"{name}:{'k' if name == 'cage' else 'n' if name == 'cycle' else 'q'}" for name in NUMBERED
    ]
    return sorted([*PLAIN, *LCF, *letters, "amalgam:C,q=9,k=9,l=9"])


def construct(text: str) -> Graph:
    """Build the graph of a name such as "cage:7", "polarity:7" or "amalgam:C,q=8,k=8,l=8".

    An amalgam gives its base, with nothing in its classes.

    Raises:
        TenfoldError: naming what is not known, with the names nearest to it.
    """
    name = text.strip().lower()
    if name in PLAIN:
        return PLAIN[name]()
    if name in LCF:
        return hamiltonian(*LCF[name])
    if name.startswith("amalgam:"):
        return read_amalgam(text.strip()).base
    numbered = re.fullmatch(r"([a-z]+):(\d+)", name)
    if numbered and numbered[1] in NUMBERED:
        return NUMBERED[numbered[1]](int(numbered[2]))
    raise unknown_name("graph", text, names())
