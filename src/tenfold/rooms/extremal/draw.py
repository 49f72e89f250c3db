"""A graph as one page: a picture that shows its symmetry, its figures, and the text to copy.

The picture is SVG of our own, set into a page without other figures, so that no script is needed
to see it. A node's colour tells its orbit under all automorphisms, an edge's colour its orbit of
edges, as long as there are few.
"""

from __future__ import annotations

from collections import Counter
from html import escape

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.report.figures import Table
from tenfold.engine.report.page import Block, Page, Section, render
from tenfold.engine.report.traces import PALETTE
from tenfold.rooms.extremal.canonical import Canon, canonical_form
from tenfold.rooms.extremal.codecs import encode_graph6, encode_sparse6
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.refinement import join_orbits
from tenfold.rooms.extremal.rotation import (
    Rotation,
    find_rotation,
    place_by_distance,
    place_rings,
)
from tenfold.rooms.extremal.verify import Certificate, find_girth

_WIDTH = 720
PLACE = "The picture stands here."
"""Paragraph in whose place a picture comes."""
_SHOWN_ORBITS = 40
_GREY = PALETTE[-1]


def draw_graph(
    graph: Graph,
    *,
    canon: Canon | None = None,
    certificate: Certificate | None = None,
    title: str = "",
) -> str:
    """Return a page, HTML that needs no network, with a picture of the graph and its figures."""
    canon = canon or canonical_form(graph)
    page = Page(
        title=title or f"{graph.nodes} nodes, {graph.size} edges",
        kicker="graph",
        facts=graph_facts(graph, canon),
        sections=graph_sections(graph, canon, certificate=certificate),
    )
    return insert_picture(render(page), graph, canon)


def graph_sections(
    graph: Graph, canon: Canon, *, certificate: Certificate | None = None
) -> tuple[Section, ...]:
    """Return picture, orbits and certificate as sections; `insert_picture` puts the picture in."""
    caption = _caption(canon, find_rotation(canon.generators))
    return (
        Section(title="Picture", paragraphs=(PLACE, caption)),
        Section(title="Orbits", tables=(_orbit_table(graph, canon),)),
        Section(title="Certificate", blocks=_blocks(graph, certificate)),
    )


def insert_picture(html: str, graph: Graph, canon: Canon) -> str:
    """Return a page, rendered with `graph_sections`, with the picture in its place."""
    picture = draw_picture(graph, canon)
    before, after = html.split(f"<p>{PLACE}</p>")
    return f"{before}{picture}{after}"


def layout(graph: Graph, canon: Canon) -> NDArray[np.float64]:
    """Return the place of every node in the unit disc, [nodes, 2]: x to the right, y upwards.

    If the graph has an automorphism with long cycles, it is a rotation around the origin.
    """
    place = _place(graph, find_rotation(canon.generators))
    return np.stack([place.real, place.imag], axis=1)


def _place(graph: Graph, rotation: Rotation | None) -> NDArray[np.complex128]:
    return place_rings(graph, rotation) if rotation else place_by_distance(graph)


# Words


def graph_facts(graph: Graph, canon: Canon) -> tuple[tuple[str, str], ...]:
    """Return nodes, edges, girth, degrees and what is known of the symmetry."""
    degrees = Counter(graph.degrees().tolist())
    listed = ", ".join(f"{count} of degree {degree}" for degree, count in sorted(degrees.items()))
    rows: list[set[int]] = [set() for _ in range(graph.nodes)]
    for u, v in graph.edges.tolist():
        rows[u].add(v)
        rows[v].add(u)
    return (
        ("nodes", str(graph.nodes)),
        ("edges", str(graph.size)),
        ("girth", str(find_girth(rows) or "no cycle")),
        ("automorphisms", spell_count(canon.group_order) if canon.exact else "not known"),
        ("orbits of nodes", str(len(np.unique(canon.orbits))) if canon.exact else "not known"),
        ("degrees", listed),
    )


def spell_count(count: int) -> str:
    """Write a whole number in full up to 15 digits, else as a power of ten.

    >>> spell_count(252000), spell_count(10**40)
    ('252 000', '1.000e40')
    """
    digits = str(count)
    if len(digits) <= 15:
        return f"{count:,}".replace(",", " ")
    return f"{digits[0]}.{digits[1:4]}e{len(digits) - 1}"


def _caption(canon: Canon, rotation: Rotation | None) -> str:
    if rotation is None:
        known = "No automorphism is fit" if canon.exact else "No automorphism was found"
        return f"{known} to be a rotation; nodes that are near in the graph are near here."
    if rotation.exact:
        turn = f"A turn by 1/{rotation.order} of the circle takes the picture to itself"
    else:
        turn = f"An automorphism turns most rings by 1/{rotation.order} of the circle"
    return f"{turn}. Nodes of one colour are alike: some automorphism takes each to each."


def _orbit_table(graph: Graph, canon: Canon) -> Table:
    orbits, sizes = np.unique(canon.orbits, return_counts=True)
    degrees = graph.degrees()
    largest = np.argsort(-sizes, kind="stable")[:_SHOWN_ORBITS]
    left = len(orbits) - len(largest)
    return Table(
        title="Orbits of nodes" + (f" ({left} more are not shown)" if left else ""),
        columns=("first node", "nodes", "degree"),
        rows=tuple((int(orbits[i]), int(sizes[i]), int(degrees[orbits[i]])) for i in largest),
    )


def _blocks(graph: Graph, certificate: Certificate | None) -> tuple[Block, ...]:
    blocks = [
        Block(title="graph6", text=encode_graph6(graph), folded=graph.nodes > 100),
        Block(title="sparse6", text=encode_sparse6(graph)),
    ]
    if certificate:
        blocks.append(Block(title="Certificate", text=certificate.line()))
    return tuple(blocks)


# Picture


def draw_picture(graph: Graph, canon: Canon, *, bare: bool = False) -> str:
    """Return the picture as an SVG figure; `bare` leaves out its height and names of nodes."""
    place = _place(graph, find_rotation(canon.generators))
    radius = float(np.clip(90 / np.sqrt(graph.nodes), 3.0, 11.0))
    scale = _WIDTH / 2 - radius - 4
    x, y = _WIDTH / 2 + scale * place.real, _WIDTH / 2 - scale * place.imag
    height = "" if bare else f' style="--height:{_WIDTH}px"'
    label = escape(f"{graph.nodes} nodes and {graph.size} edges")
    return (
        f'<figure><svg class="still" viewBox="0 0 {_WIDTH} {_WIDTH}" role="img" '
        f'aria-label="{label}"{height}>'
        f"{_edges(graph, canon, x, y)}{_nodes(canon, x, y, radius=radius, bare=bare)}"
        "</svg></figure>"
    )


def _edges(graph: Graph, canon: Canon, x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Draw the edges of each colour as one path, the commonest first."""
    pale = float(np.clip(22 / np.sqrt(graph.size + 1), 0.35, 0.9))
    color = _colors(edge_orbits(graph, canon))
    parts = []
    for name in dict.fromkeys(color):
        chosen = graph.edges[[given == name for given in color]]
        steps = "".join(f"M{x[u]:.1f} {y[u]:.1f}L{x[v]:.1f} {y[v]:.1f}" for u, v in chosen)
        parts.append(f'<path d="{steps}" stroke="{name}" stroke-opacity="{pale:.2g}" fill="none"/>')
    return "".join(parts)


def _nodes(
    canon: Canon, x: NDArray[np.float64], y: NDArray[np.float64], *, radius: float, bare: bool
) -> str:
    marks = [
        f'<circle cx="{x[node]:.1f}" cy="{y[node]:.1f}" r="{radius:.1f}" fill="{color}">'
        + ("" if bare else f"<title>node {node}</title>")
        + "</circle>"
        for node, color in enumerate(_colors(canon.orbits))
    ]
    return f'<g stroke="var(--card)">{"".join(marks)}</g>'


def _colors(orbits: NDArray[np.int32]) -> list[str]:
    """Give the largest orbits a colour each, all others grey; no colours if nothing is alike."""
    found, index, sizes = np.unique(orbits, return_inverse=True, return_counts=True)
    if len(found) == len(orbits) > 1:
        return [_GREY] * len(orbits)
    palette = np.array([*PALETTE[:-1], *[_GREY] * len(found)])
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    return [str(color) for color in palette[rank[index]]]


def edge_orbits(graph: Graph, canon: Canon) -> NDArray[np.int32]:
    """Return for each edge the first one that the generators take to it, [edges]."""
    number = np.full((graph.nodes, graph.nodes), -1, dtype=np.int32)
    u, v = graph.edges.T
    number[u, v] = number[v, u] = np.arange(graph.size)
    orbits = np.arange(graph.size, dtype=np.int32)
    for generator in canon.generators:
        join_orbits(orbits, number[generator[u], generator[v]][None], orbits[:0])
    return orbits
