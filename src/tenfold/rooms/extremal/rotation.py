"""Places for the nodes of a graph such that one of its automorphisms is a rotation of the picture.

`find_rotation` looks for an automorphism whose cycles are long and all of one length, among
random products of generators and their powers. `place_rings` lays its cycles on rings, evenly
around the centre, and turns and exchanges them until the edges are short. Graphs without such an
automorphism are laid out by distances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.rng import stream
from tenfold.rooms.extremal.graph import Graph

Nodes = NDArray[np.int32]
Points = NDArray[np.complex128]
"""[nodes]: places in the unit disc."""

LEAST_ORDER = 3
"""A turn by half a circle is hardly seen as symmetry."""
_EVENNESS = 16
_PRODUCTS = 400
_POWERS = 4
_SWEEPS = 12
_MAJORISATIONS = 60
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """An automorphism and its cycles."""

    order: int
    """Length of most of its cycles."""
    cycles: tuple[Nodes, ...]
    """Nodes in the order in which the automorphism moves them; the longest cycles first."""

    @property
    def exact(self) -> bool:
        """Whether the picture turns into itself: all cycles are of one length, but for a centre."""
        odd = [len(cycle) for cycle in self.cycles if len(cycle) != self.order]
        return odd in ([], [1])


def find_rotation(generators: Sequence[Nodes], *, seed: int = 0) -> Rotation | None:
    """Return the best rotation seen among products of the generators, or nothing.

    A rotation of order k in which a share s of the nodes, one fixed node among them, lies in
    cycles of length k is worth k s^16.
    """
    if not generators:
        return None
    rng = stream(seed, "extremal", "rotation")
    pool = [np.asarray(generators[i % len(generators)]) for i in range(max(8, len(generators)))]
    best, found = 0.0, pool[0]
    for step in range(len(pool) + _PRODUCTS):
        mixed = pool[step % len(pool)]
        if step >= len(pool):  # product replacement (Celler et al. 1995)
            i, j = rng.choice(len(pool), 2, replace=False)
            mixed = pool[i] = pool[i][pool[j]]
        lengths = np.array([len(cycle) for cycle in _cycles(mixed)])
        value, power = _best_power(lengths)
        if value > best:
            best, found = value, _raise(mixed, power)
    cycles = sorted(_cycles(found), key=len, reverse=True)
    rotation = Rotation(_commonest_length(cycles), tuple(cycles))
    return rotation if rotation.order >= LEAST_ORDER else None


def _best_power(lengths: NDArray[np.int64]) -> tuple[float, int]:
    """Return the worth of the best power of a permutation with these cycles, and which it is."""
    powers = np.arange(1, lengths.max() + 1)
    new = lengths[:, None] // np.gcd(lengths[:, None], powers)
    orders = np.unique(new[new >= LEAST_ORDER])
    if not len(orders):
        return 0.0, 1
    covered = np.stack([(lengths[:, None] * (new == order)).sum(axis=0) for order in orders])
    covered = covered + (new == 1).any(axis=0)
    worth = orders[:, None] * (covered / lengths.sum()) ** _EVENNESS
    row, column = np.unravel_index(worth.argmax(), worth.shape)
    return float(worth[row, column]), int(powers[column])


def _commonest_length(cycles: list[Nodes]) -> int:
    """Return the cycle length that most nodes have."""
    return int(np.bincount([len(c) for c in cycles], [len(c) for c in cycles]).argmax())


def _raise(permutation: Nodes, power: int) -> Nodes:
    found = np.arange(len(permutation), dtype=permutation.dtype)
    for _ in range(power):
        found = permutation[found]
    return found


def _cycles(permutation: Nodes) -> list[Nodes]:
    images, seen, found = permutation.tolist(), set[int](), []
    for start in range(len(images)):
        if start in seen:
            continue
        cycle, node = [start], images[start]
        while node != start:
            cycle.append(node)
            node = images[node]
        seen.update(cycle)
        found.append(np.array(cycle, dtype=np.int32))
    return found


# Rings


def place_rings(graph: Graph, rotation: Rotation) -> Points:
    """Lay the cycles of a rotation on rings, so that the edges are short in sum.

    All powers of the automorphism that have the same cycles are tried, few if there are many.
    """
    order = rotation.order
    powers = [power for power in range(1, order // 2 + 1) if math.gcd(power, order) == 1]
    drawn = [_shorten(graph, *_lay_out(rotation, power)) for power in powers[:_POWERS]]
    return min(drawn, key=lambda place: _length(graph, place))


def _lay_out(rotation: Rotation, power: int) -> tuple[list[Nodes], Points]:
    """Return the cycles of a power and the place of the first node of each, odd ones inside."""
    order = rotation.order
    turned = power * np.arange(order) % order
    long = [cycle[turned] for cycle in rotation.cycles if len(cycle) == order]
    odd = [cycle for cycle in rotation.cycles if len(cycle) not in (order, 1)]
    fixed = [cycle for cycle in rotation.cycles if len(cycle) == 1]
    inner = odd + ([np.concatenate(fixed)] if fixed else [])
    slots = _slots(len(long), order=order, inside=len(inner))
    if len(fixed) == 1:
        slots[-1] = 0
    return long + inner, slots


def _slots(count: int, *, order: int, inside: int) -> Points:
    """Return places for `count` cycles of one length, outermost first, then for those inside.

    Rings are somewhat farther apart than the nodes on a ring; a ring takes a share of the cycles
    that grows with its radius.
    """
    rings = max(1, min(count, round(0.85 * math.sqrt(count * order / math.pi))))
    radii = np.linspace(1, 0, rings + inside + 1)[:-1]
    ends = np.round(np.cumsum(radii[:rings]) / radii[:rings].sum() * count).astype(int)
    slots = list(radii[rings:].astype(complex))
    for ring in reversed(range(rings)):
        taken = ends[ring] - (ends[ring - 1] if ring else 0)
        steps = (np.arange(taken) + 0.5 * (ring % 2)) / max(taken, 1)
        slots = [*(radii[ring] * np.exp(2j * np.pi * steps / order)), *slots]
    return np.array(slots)


def _length(graph: Graph, place: Points) -> float:
    u, v = graph.edges.T
    return float(np.abs(place[u] - place[v]).sum())


def _shorten(graph: Graph, cycles: list[Nodes], slots: Points) -> Points:
    """Turn cycles, and exchange those of one length, as long as that shortens the edges."""
    place = np.empty(graph.nodes, dtype=np.complex128)
    for cycle, slot in zip(cycles, slots, strict=True):
        place[cycle] = slot * np.exp(2j * np.pi * np.arange(len(cycle)) / len(cycle))
    least = math.inf
    for _ in range(_SWEEPS):
        before = least
        for number, cycle in enumerate(cycles):
            least = _turn(graph, place, cycle)
            for other in cycles[:number]:
                least = _exchange(graph, place, (cycle, other), least)
        if least > before - _TINY:
            break
    return place


def _turn(graph: Graph, place: Points, cycle: Nodes) -> float:
    """Turn a cycle, in place, to where the edges are shortest; return their length."""
    here = place[cycle]
    turns = here * np.exp(2j * np.pi * np.arange(len(cycle)) / len(cycle))[:, None]
    lengths = []
    for turned in turns:
        place[cycle] = turned
        lengths.append(_length(graph, place))
    best = int(np.argmin(np.array(lengths) + _TINY * (np.arange(len(cycle)) > 0)))
    place[cycle] = turns[best]
    return lengths[best]


def _exchange(graph: Graph, place: Points, pair: tuple[Nodes, Nodes], least: float) -> float:
    """Exchange the places of two cycles, in place, if that is shorter than `least`."""
    one, other = pair
    if len(one) != len(other):
        return least
    place[one], place[other] = place[other], place[one]
    length = _length(graph, place)
    if length < least - _TINY:
        return length
    place[one], place[other] = place[other], place[one]
    return least


# Without symmetry


def place_by_distance(graph: Graph) -> Points:
    """Place nodes so that distances in the picture are like those in the graph.

    Stress majorisation (Gansner, Koren and North 2004) with weights 1 / distance^2 from the
    classical scaling; parts that hang together with nothing else are one step beyond the widest.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import shortest_path

    u, v = graph.edges.T
    links = csr_array((np.ones(graph.size), (u, v)), shape=(graph.nodes, graph.nodes))
    distance = shortest_path(links, directed=False, unweighted=True)
    apart = np.isinf(distance)
    distance[apart] = distance[~apart].max() + 1
    place = _scale_classically(distance)
    with np.errstate(divide="ignore"):
        weight = np.where(distance > 0, distance**-2.0, 0)
    pull = np.linalg.pinv(np.diag(weight.sum(axis=1)) - weight)
    for _ in range(_MAJORISATIONS):
        between = place[:, None] - place
        gap = np.maximum(np.abs(between), _TINY)
        place = pull @ (weight * distance / gap * between).sum(axis=1)
    return _fit(place)


def _scale_classically(distance: NDArray[np.float64]) -> Points:
    """Return the plane in which squared distances are kept best; tiny shifts part equal nodes."""
    squared = distance**2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    plane = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    shift: Points = 1e-3 * np.exp(1j * np.arange(len(distance)))
    if plane.shape[1] == 2:
        shift = shift + plane[:, 1] + 1j * plane[:, 0]
    return shift


def _fit(place: Points) -> Points:
    """Move the middle to 0 and the farthest node to the unit circle."""
    place = place - place.mean()
    found: Points = place / max(np.abs(place).max(), _TINY)
    return found
