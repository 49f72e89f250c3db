"""Texts and files of graphs: graph6, sparse6, edge lists, adjacency matrices, DIMACS.

graph6 and sparse6 are McKay's formats (nauty's formats.txt): characters 63 .. 126 carry six bits
each, the number of nodes comes first. graph6 then has the upper triangle of the adjacency matrix
by columns, padded with zeros. sparse6, which begins with a colon, has groups of one bit b and
k bits x that move a node v upward and join x to it, padded with ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_text
from tenfold.rooms.extremal.graph import Graph, from_adjacency, from_edges

Format = Literal["g6", "s6", "edges", "adjacency", "dimacs"]
Bits = NDArray[np.uint8]

LARGEST = 1 << 18
"""More nodes than this are taken for a broken text."""
_HEADERS = (">>graph6<<", ">>sparse6<<")
_BIAS, _LAST = 63, 126
_ONE_CHARACTER, _FOUR_CHARACTERS = 62, 258_047
"""Most nodes that the short forms of the number of nodes can tell."""
_NODES_LINE = "# nodes"
"""Begins a graph in a file of edges or matrices, so that isolated nodes are not lost."""


# Texts


def encode_graph6(graph: Graph) -> str:
    """Return the graph6 text, without header and line end."""
    n = graph.nodes
    u, v = graph.edges.astype(np.int64).T
    bits = np.zeros(n * (n - 1) // 2, dtype=np.uint8)
    bits[v * (v - 1) // 2 + u] = 1
    return _spell_nodes(n) + _spell(bits, padding=0)


def encode_sparse6(graph: Graph) -> str:
    """Return the sparse6 text, without header and line end."""
    by_larger = np.lexsort((graph.edges[:, 0], graph.edges[:, 1]))
    u, v = graph.edges[by_larger].T
    steps = np.diff(v, prepend=0)
    jumps = steps > 1
    # An edge is one group; where v moves by two or more, a group (1, v) comes before it.
    last = np.arange(len(u)) + np.cumsum(jumps)
    groups = np.ones((len(u) + jumps.sum(), 2), dtype=np.int64)
    groups[last[jumps] - 1, 1] = v[jumps]
    groups[last, 0] = steps == 1
    groups[last, 1] = u
    width = _node_bits(graph.nodes)
    words = groups[:, :1] << width | groups[:, 1:]
    bits = (words >> np.arange(width, -1, -1) & 1).astype(np.uint8).ravel()
    if _padding_reads_as_loop(graph, missing=-len(bits) % 6):
        bits = np.append(bits, np.uint8(0))
    return ":" + _spell_nodes(graph.nodes) + _spell(bits, padding=1)


def _padding_reads_as_loop(graph: Graph, *, missing: int) -> bool:
    """Say whether ones alone would move from node n - 2 to n - 1 and join it to itself."""
    n, width = graph.nodes, _node_bits(graph.nodes)
    if n != 1 << width or missing <= width or not graph.size:
        return False
    return int(graph.edges[:, 1].max()) == n - 2


def _node_bits(nodes: int) -> int:
    return max(1, (nodes - 1).bit_length())


def _spell_nodes(nodes: int) -> str:
    assert 0 <= nodes <= LARGEST, f"{nodes} nodes are beyond the limit of {LARGEST}"
    if nodes <= _ONE_CHARACTER:
        return chr(nodes + _BIAS)
    long = nodes > _FOUR_CHARACTERS
    shifts = range(30 if long else 12, -1, -6)
    digits = "".join(chr((nodes >> shift & 63) + _BIAS) for shift in shifts)
    return chr(_LAST) * (1 + long) + digits


def _spell(bits: Bits, *, padding: int) -> str:
    padded = np.pad(bits, (0, -len(bits) % 6), constant_values=padding).reshape(-1, 6)
    characters = padded @ np.array([32, 16, 8, 4, 2, 1], dtype=np.uint8) + np.uint8(_BIAS)
    return characters.astype(np.uint8).tobytes().decode("ascii")


def decode_graph(text: str) -> Graph:
    """Read a graph6 or sparse6 text, with or without header and line end.

    Raises:
        TenfoldError: naming a wrong length, a wrong character and its place, or bits of padding
            that are set.
    """
    text = text.rstrip()
    start = next((len(header) for header in _HEADERS if text.startswith(header)), 0)
    kind = text[start : start + 1]
    if kind in (";", "&"):
        what = "incremental sparse6" if kind == ";" else "digraph6"
        raise TenfoldError(
            f"the text begins with {kind!r}, which is {what}; give graph6 or plain sparse6"
        )
    start += kind == ":"
    codes = _codes(text, start=start)
    nodes, used = _read_nodes(codes)
    bits = np.unpackbits(codes[used:, None], axis=1)[:, 2:].ravel()
    if kind == ":":
        return _read_sparse6(bits, nodes=nodes, before=start + used)
    return _read_graph6(bits, nodes=nodes, before=start + used)


def _codes(text: str, *, start: int) -> NDArray[np.uint8]:
    """Return the six bits of each character from `start` on."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")[start:]
    wrong = (points < _BIAS) | (points > _LAST)
    if wrong.any():
        place = int(start + wrong.argmax())
        raise TenfoldError(
            f"character {place + 1} is {text[place]!r}; graph6 and sparse6 use only the "
            f"characters {chr(_BIAS)!r} to {chr(_LAST)!r}"
        )
    return (points - _BIAS).astype(np.uint8)


def _read_nodes(codes: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the number of nodes and how many characters tell it."""
    most = _LAST - _BIAS
    marks = 2 if (codes[:2] == most).sum() == 2 else int(codes[:1].sum() == most)
    used = (1, 4, 8)[marks]
    if len(codes) < used:
        raise TenfoldError(
            f"the text ends after {len(codes)} of the {used} characters that tell the number of "
            "nodes; it was cut, so copy it whole"
        )
    nodes = 0
    for code in codes[marks:used].tolist():
        nodes = nodes << 6 | code
    if nodes > LARGEST:
        raise TenfoldError(f"the text tells {nodes} nodes; at most {LARGEST} are read, so check it")
    return nodes, used


def _read_graph6(bits: Bits, *, nodes: int, before: int) -> Graph:
    pairs = nodes * (nodes - 1) // 2
    length, right = len(bits) // 6, -(-pairs // 6)
    if length != right:
        fault = "ends after" if length < right else "goes on behind"
        raise TenfoldError(
            f"the text {fault} character {before + min(length, right)}; graph6 of {nodes} nodes "
            f"has {before + right}, this text {before + length}: it was cut or joined to another, "
            "so copy it whole"
        )
    if bits[pairs:].any():
        raise TenfoldError(
            f"character {before + length} has bits set in the padding behind the last pair; "
            "the text is no graph6, so copy it again"
        )
    places = np.flatnonzero(bits[:pairs])
    ends = np.arange(nodes + 1)
    firsts = ends * (ends - 1) // 2
    v = np.searchsorted(firsts, places, side="right") - 1
    return from_edges(nodes, zip((places - firsts[v]).tolist(), v.tolist(), strict=True))


def _read_sparse6(bits: Bits, *, nodes: int, before: int) -> Graph:
    width = 1 + _node_bits(nodes)
    groups = bits[: len(bits) // width * width].reshape(-1, width)
    x = groups[:, 1:] @ (1 << np.arange(width - 2, -1, -1, dtype=np.int64))
    # v grows by b, then to x if x is larger: with B the running sum of b, v - B is a running
    # maximum of x - B, from 0.
    risen = np.cumsum(groups[:, 0], dtype=np.int64)
    v = risen + np.maximum.accumulate(np.append(0, x - risen))[1:]
    reached = np.append(0, v[:-1]) + groups[:, 0]
    joined = np.flatnonzero((x <= reached) & (v < nodes))
    done = int(joined[-1] + 1) * width if len(joined) else 0
    padding = bits[done:]
    if len(padding) >= 6 or not padding[1:].all():
        raise TenfoldError(
            f"character {before + done // 6 + 1} is behind the last edge of {nodes} nodes and no "
            "padding; the sparse6 text was cut or changed, so copy it again"
        )
    return from_edges(nodes, zip(x[joined].tolist(), v[joined].tolist(), strict=True))


# Files


def read_graphs(path: Path | str) -> list[Graph]:
    """Read all graphs of a file; what it holds is told by its content, not by its name.

    One graph6 or sparse6 text a line; or DIMACS ("p edge N M" begins a graph, nodes from 1); or
    edges, two numbers a line, nodes from 0; or a matrix of 0 and 1. The line "# nodes N" begins a
    graph of edges or a matrix; without it there is one, with nodes up to the largest number.

    Raises:
        TenfoldError: naming the file and the line that is at fault.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise TenfoldError(f"{path} cannot be read ({error.strerror}); check the path") from None
    lines = [_Line(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    lines = [line for line in lines if line.text not in ("", *_HEADERS)]
    first = lines[0].text if lines else ""
    if first and first.split()[0] in ("c", "p"):
        begins, read = "p ", _read_dimacs
        lines = [line for line in lines if line.text.split()[0] != "c"]
    elif first and first[0] in "#-0123456789":
        begins, read = _NODES_LINE, _read_numbers
        lines = [line for line in lines if line.text[0] != "#" or _tells_nodes(line)]
    else:
        begins, read = "", _read_text
    if not lines:
        raise TenfoldError(f"{path} holds no graph; give graph6, sparse6, edges, a matrix, DIMACS")
    return _read_blocks(lines, path=path, begins=begins, read=read)


class _Line(NamedTuple):
    number: int
    text: str


class _LineError(Exception):
    """A fault at a line of the file that is being read."""

    def __init__(self, line: _Line, fault: str) -> None:
        super().__init__(fault)
        self.line = line


def _read_blocks(
    lines: list[_Line], *, path: Path, begins: str, read: Callable[[list[_Line]], Graph]
) -> list[Graph]:
    """Cut the lines before each that `begins` so, and read a graph from each part."""
    starts = [i for i, line in enumerate(lines) if i == 0 or line.text.startswith(begins)]
    graphs = []
    for start, end in pairwise([*starts, len(lines)]):
        try:
            graphs.append(read(lines[start:end]))
        except _LineError as error:
            raise TenfoldError(f"{path} line {error.line.number}: {error}") from None
        except TenfoldError as error:
            raise TenfoldError(f"{path} line {lines[start].number}: {error}") from None
    return graphs


def _read_text(block: list[_Line]) -> Graph:
    return decode_graph(block[0].text)


def _tells_nodes(line: _Line) -> bool:
    return line.text.startswith(_NODES_LINE)


def _read_numbers(block: list[_Line]) -> Graph:
    """Read edges or a matrix: a matrix has as many rows as numbers a row, all 0 or 1."""
    told = _tells_nodes(block[0])
    nodes = _whole(block[0], block[0].text.split()[2:3])[0] if told else -1
    lines = block[told:]
    rows = [_whole(line, _numbers(line.text)) for line in lines]
    square = all(len(row) == len(rows) and set(row) <= {0, 1} for row in rows)
    if square and nodes in (-1, len(rows)):
        return from_adjacency(np.array(rows, dtype=np.int64).reshape(len(rows), len(rows)))
    for line, row in zip(lines, rows, strict=True):
        if len(row) != 2:
            raise _LineError(
                line,
                f"{line.text!r} is neither an edge (two numbers) nor one of {len(rows)} rows of a "
                f"matrix ({len(rows)} of 0 or 1 each); mend it",
            )
    if nodes < 0:
        nodes = 1 + max(max(row) for row in rows)
    return _edge_by_edge(nodes, list(zip(lines, rows, strict=True)))


def _numbers(text: str) -> list[str]:
    """Split a row at blanks or commas; one word of several 0 and 1 is a row of a matrix."""
    words = text.replace(",", " ").split()
    dense = len(words) == 1 and len(words[0]) > 1 and set(words[0]) <= {"0", "1"}
    return list(words[0]) if dense else words


def _whole(line: _Line, words: Sequence[str]) -> list[int]:
    for word in words:
        digits = word.isascii() and word.removeprefix("-").isdigit()
        if not digits or len(word) > len(str(LARGEST)) or int(word) > LARGEST:
            raise _LineError(line, f"{word!r} is no whole number up to {LARGEST}; mend it")
    if not words:
        raise _LineError(line, f"{line.text!r} lacks a number; add it")
    return [int(word) for word in words]


def _edge_by_edge(nodes: int, rows: list[tuple[_Line, list[int]]]) -> Graph:
    """Build a graph, naming the line of an edge that is no edge or comes twice."""
    seen: set[tuple[int, int]] = set()
    for line, (u, v) in rows:
        pair = (min(u, v), max(u, v))
        if u == v or pair in seen or pair[0] < 0 or pair[1] >= nodes:
            fault = "comes twice" if pair in seen else f"is a loop or leaves the {nodes} nodes"
            raise _LineError(line, f"edge {line.text!r} {fault}; leave it out or mend it")
        seen.add(pair)
    return from_edges(nodes, seen)


def _read_dimacs(block: list[_Line]) -> Graph:
    head = block[0].text.split()
    if head[0] != "p" or len(head) != 4 or head[1] not in ("edge", "col"):
        raise _LineError(block[0], f"{block[0].text!r} should be 'p edge NODES EDGES'; mend it")
    nodes, edges = _whole(block[0], head[2:])
    rows = []
    for line in block[1:]:
        words = line.text.split()
        if len(words) != 3 or words[0] != "e":
            raise _LineError(line, f"{line.text!r} should be 'e NODE NODE'; mend it")
        rows.append((line, [node - 1 for node in _whole(line, words[1:])]))
    if len(rows) != edges:
        raise _LineError(block[0], f"{edges} edges are promised, {len(rows)} follow; mend the file")
    return _edge_by_edge(nodes, rows)


def write_graphs(path: Path, graphs: Sequence[Graph], *, format: Format) -> None:
    """Write graphs, one after the other, so that `read_graphs` returns them."""
    spell: dict[Format, Callable[[Graph], str]] = {
        "g6": encode_graph6,
        "s6": encode_sparse6,
        "edges": _spell_edges,
        "adjacency": _spell_adjacency,
        "dimacs": _spell_dimacs,
    }
    write_text(path, "".join(spell[format](graph) + "\n" for graph in graphs))


def _spell_edges(graph: Graph) -> str:
    rows = (f"{u} {v}" for u, v in graph.edges.tolist())
    return "\n".join([f"{_NODES_LINE} {graph.nodes}", *rows])


def _spell_adjacency(graph: Graph) -> str:
    rows = (" ".join(map(str, row)) for row in graph.adjacency().astype(int).tolist())
    return "\n".join([f"{_NODES_LINE} {graph.nodes}", *rows])


def _spell_dimacs(graph: Graph) -> str:
    rows = (f"e {u + 1} {v + 1}" for u, v in graph.edges.tolist())
    return "\n".join([f"p edge {graph.nodes} {graph.size}", *rows])
