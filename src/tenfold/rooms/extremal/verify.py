"""Check a graph against its problem, from nothing but its list of edges.

No code is shared with the engine: sets of neighbours in plain Python, a search in depth for
cycles, dictionaries of pairs for common neighbours. What is found is named: the cycle in order,
the pair, the node. Only the texts of hosts, frozen edges and groups are read by their own readers.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.codecs import encode_sparse6
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.problem import LONGEST, SHORTEST, Problem, read_named

Pair = tuple[int, int]
Rows = list[set[int]]
"""The neighbours of every node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """What was checked, with all that another program needs to check it again."""

    nodes: int
    edges: int
    forbid: str
    girth: int
    """Length of a shortest cycle; 0 if there is none."""
    degrees: dict[int, int]
    """How many nodes have which degree, smallest degree first."""
    sparse6: str
    sha256: str
    """Of the sparse6 text, in hexadecimal."""

    def line(self) -> str:
        """Return one line for people; the graph itself is in `sparse6`."""
        degrees = " ".join(f"{degree}^{count}" for degree, count in self.degrees.items())
        girth = f"girth {self.girth}" if self.girth else "no cycle"
        return (
            f"{self.nodes} nodes, {self.edges} edges, no {self.forbid}, {girth}, "
            f"degrees {degrees}, sha256 {self.sha256}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain data; degrees become texts."""
        data = asdict(self)
        data["degrees"] = {str(degree): count for degree, count in self.degrees.items()}
        return data


def verify(graph: Graph, problem: Problem) -> Certificate:
    """Certify that a graph fits its problem.

    Raises:
        TenfoldError: with the first fault.
    """
    if faults := find_faults(graph, problem):
        raise TenfoldError(
            f"{graph.nodes} nodes, {graph.size} edges: {faults[0]}; "
            "mend the graph or check it against another problem"
        )
    pairs = _pairs(graph)
    rows = _rows(graph.nodes, pairs)
    text = encode_sparse6(graph)
    return Certificate(
        nodes=graph.nodes,
        edges=len(pairs),
        forbid=problem.forbid,
        girth=_girth(rows, problem),
        degrees=dict(sorted(Counter(len(row) for row in rows).items())),
        sparse6=text,
        sha256=hashlib.sha256(text.encode("ascii")).hexdigest(),
    )


def find_faults(graph: Graph, problem: Problem) -> list[str]:
    """Return what is wrong with a graph, one sentence for each kind of fault; empty: legal."""
    if graph.nodes != problem.nodes:
        return [f"the graph has {graph.nodes} nodes, the problem {problem.nodes}"]
    pairs = _pairs(graph)
    if faults := list(_malformed(pairs, nodes=graph.nodes)):
        return faults
    rows = _rows(graph.nodes, pairs)
    return [
        *_short_cycles(rows, problem),
        *_common_neighbours(rows, problem),
        *_outside_host(pairs, problem),
        *_lost_frozen(rows, problem),
        *_wrong_degrees(rows, problem),
        *_broken_symmetry(rows, problem),
    ]


def _pairs(graph: Graph) -> list[Pair]:
    return [(u, v) for u, v in graph.edges.tolist()]


def _rows(nodes: int, pairs: list[Pair]) -> Rows:
    rows: Rows = [set() for _ in range(nodes)]
    for u, v in pairs:
        rows[u].add(v)
        rows[v].add(u)
    return rows


def _malformed(pairs: list[Pair], *, nodes: int) -> Iterator[str]:
    """Tell pairs that no simple graph has: the engine builds graphs without being asked twice."""
    for u, v in pairs:
        if not 0 <= u < v < nodes:
            yield f"edge {u} - {v} is a loop, turned round, or leaves the {nodes} nodes"
            return
    ((u, v), count), *_ = Counter(pairs).most_common(1) or [((0, 0), 0)]
    if count > 1:
        yield f"edge {u} - {v} comes {count} times"


# Forbidden subgraphs


def _short_cycles(rows: Rows, problem: Problem) -> Iterator[str]:
    for length in problem.forbidden.lengths:
        if cycle := find_cycle(rows, length):
            yield f"cycle of length {length} through nodes {' - '.join(map(str, cycle))}"


def find_cycle(rows: Rows, length: int) -> list[int]:
    """Return the nodes of a cycle of this length in order, or nothing; length is 3 or more."""
    if length == 3:
        return _triangle(rows)
    if length == 4:
        return _quadrilateral(rows)
    for root in range(len(rows)):
        walks = _walks_home(rows, root=root, length=length)
        if walks[-1] and (cycle := _close([root], rows=rows, walks=walks)):
            return cycle
    return []


def _triangle(rows: Rows) -> list[int]:
    for u, row in enumerate(rows):
        for v in row:
            if u < v and (both := row & rows[v]):
                return sorted([u, v, min(both)])
    return []


def _quadrilateral(rows: Rows) -> list[int]:
    """Look for a pair of nodes that is seen as neighbours of two nodes."""
    seen: dict[Pair, int] = {}
    for middle, row in enumerate(rows):
        for pair in combinations(sorted(row), 2):
            if pair in seen:
                return [seen[pair], pair[0], middle, pair[1]]
            seen[pair] = middle
    return []


def _walks_home(rows: Rows, *, root: int, length: int) -> list[set[int]]:
    """Return for k = 1 .. length - 1 the nodes above `root` that k steps can bring home.

    `root` is the smallest node of the cycle that is looked for, so no step goes below it. In a
    bipartite graph odd walks come home from nowhere, and no path is tried.
    """
    above = set(range(root + 1, len(rows)))
    walks = [rows[root] & above]
    for _ in range(length - 2):
        walks.append(set().union(*(rows[node] for node in walks[-1])) & above)
    return walks


def _close(path: list[int], *, rows: Rows, walks: list[set[int]]) -> list[int]:
    """Go on from the end of a path, by nodes not in it, until it is a cycle; or return nothing."""
    left = len(walks) - len(path)
    for node in rows[path[-1]] & walks[left]:
        if node in path:
            continue
        if not left:
            return [*path, node]
        if cycle := _close([*path, node], rows=rows, walks=walks):
            return cycle
    return []


def _common_neighbours(rows: Rows, problem: Problem) -> Iterator[str]:
    limit = problem.forbidden.codegree
    if not limit:
        return
    middles: dict[Pair, list[int]] = {}
    for middle, row in enumerate(rows):
        for pair in combinations(sorted(row), 2):
            found = middles.setdefault(pair, [])
            found.append(middle)
            if len(found) == limit:
                names = ", ".join(map(str, found))
                yield f"nodes {pair[0]} and {pair[1]} have {limit} common neighbours {names}"
                return


def _girth(rows: Rows, problem: Problem) -> int:
    """Return the girth of a legal graph: what is forbidden need not be looked for again."""
    for length in range(SHORTEST, LONGEST + 1):
        if length not in problem.forbidden.lengths and find_cycle(rows, length):
            return length
    return find_girth(rows)


def girth_of(graph: Graph) -> int:
    """Return the length of a shortest cycle of a graph, 0 if it has none."""
    return find_girth(_rows(graph.nodes, _pairs(graph)))


def find_girth(rows: Rows) -> int:
    """Return the length of a shortest cycle, 0 in a forest."""
    best = len(rows) + 1
    for root in range(len(rows)):
        best = min(best, _shortest_cycle_seen(rows, root=root, below=best))
    return best if best <= len(rows) else 0


def _shortest_cycle_seen(rows: Rows, *, root: int, below: int) -> int:
    """Return the length of the first cycle that a search in breadth closes, at most `below`.

    From a root on a shortest cycle this is its length (Itai and Rodeh 1978); from others more.
    """
    depth, parent = {root: 0}, {root: -1}
    queue = deque([root])
    while queue:
        node = queue.popleft()
        if 2 * depth[node] + 1 >= below:
            break
        for other in rows[node]:
            if other not in depth:
                depth[other], parent[other] = depth[node] + 1, node
                queue.append(other)
            elif other != parent[node]:
                below = min(below, depth[node] + depth[other] + 1)
    return below


# What else is asked


def _outside_host(pairs: list[Pair], problem: Problem) -> Iterator[str]:
    if not problem.host:
        return
    outside = [pair for pair in pairs if not _in_host(pair, problem)]
    if outside and not re.match("bipartite:|hypercube:", problem.host):
        host = set(_pairs(read_named(problem.host, problem.nodes)))
        outside = [pair for pair in outside if pair not in host]
    if outside:
        u, v = outside[0]
        yield f"edge {u} - {v} and {len(outside) - 1} more are no edges of host {problem.host}"


def _in_host(pair: Pair, problem: Problem) -> bool:
    """Say whether a pair is an edge of a host that is told by its sizes."""
    u, v = pair
    if sides := re.fullmatch(r"bipartite:(\d+),\d+", problem.host):
        return u < int(sides[1]) <= v
    if re.fullmatch(r"hypercube:\d+", problem.host):
        return (u ^ v).bit_count() == 1
    return False


def _lost_frozen(rows: Rows, problem: Problem) -> Iterator[str]:
    if not problem.frozen:
        return
    frozen = _pairs(read_named(problem.frozen, problem.nodes))
    lost = [(u, v) for u, v in frozen if v not in rows[u]]
    if lost:
        u, v = lost[0]
        yield f"frozen edge {u} - {v} is missing and {len(lost) - 1} more"


def _wrong_degrees(rows: Rows, problem: Problem) -> Iterator[str]:
    for node, row in enumerate(rows):
        if problem.max_degree and len(row) > problem.max_degree:
            yield f"node {node} has degree {len(row)}, max_degree is {problem.max_degree}"
            break
    for node, row in enumerate(rows):
        if len(row) < problem.min_degree:
            yield f"node {node} has degree {len(row)}, min_degree is {problem.min_degree}"
            break


def _broken_symmetry(rows: Rows, problem: Problem) -> Iterator[str]:
    if not problem.group:
        return
    from tenfold.rooms.extremal.groups import read_action

    for images in read_action(problem.group, problem.nodes).permutations.tolist():
        for u, row in enumerate(rows):
            for v in row:
                if images[v] not in rows[images[u]]:
                    yield (
                        f"group {problem.group} takes edge {u} - {v} to {images[u]} - {images[v]}, "
                        "which is missing"
                    )
                    return
