"""What an archive keeps, in memory: graphs by nodes, edges and class, and the rule of keeping."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tenfold.rooms.extremal.codecs import decode_graph
from tenfold.rooms.extremal.graph import Graph


@dataclass(frozen=True, kw_only=True, slots=True)
class Find:
    """A kept graph and where it came from."""

    graph: Graph
    method: str
    seed: int
    start: str
    """What the search began from."""
    flips: int
    seconds: float
    by: str
    """Who or what ran the search."""
    time: str
    """When it was put here first, UTC, ISO 8601."""
    version: str
    """Version of this package that found it."""
    form: str
    """Digest of the canonical form, or of an invariant (`canonical.Canon.digest`)."""
    group_order: int
    """Number of automorphisms; 0: unknown."""


class Entry:
    """A line as read; its graph is decoded when it is asked for."""

    def __init__(self, record: dict[str, Any], *, end: int) -> None:
        self.record = record
        self.end = end
        self.nodes: int = record["nodes"]
        self.edges: int = record["edges"]
        self.form: str = record["form"]

    @functools.cached_property
    def find(self) -> Find:
        """The line with its graph."""
        facts = {name: value for name, value in self.record.items() if name in _FACTS}
        return Find(graph=decode_graph(self.record["graph"]), **facts)


_FACTS = set(Find.__dataclass_fields__) - {"graph"}
FIELDS = _FACTS | {"graph", "nodes", "edges"}
"""What a line must tell."""


class Shelf:
    """The kept classes in memory and the rule of what is kept."""

    def __init__(self, *, keep: int, slack: int) -> None:
        self.keep, self.slack = keep, slack
        self.levels: dict[int, dict[int, dict[str, Entry]]] = {}
        """Nodes, then edges, then digest."""
        self.texts: set[str] = set()

    def best(self, nodes: int) -> int:
        """Return the most edges, -1 if there is no graph."""
        return max(self.levels.get(nodes, ()), default=-1)

    def wants(self, nodes: int, edges: int) -> bool:
        """Say whether another class of this size would be kept."""
        classes = self.levels.get(nodes, {}).get(edges, {})
        return edges >= self.best(nodes) - self.slack and len(classes) < self.keep

    def get(self, entry: Entry) -> Entry | None:
        """Return the entry of the same class."""
        return self.levels.get(entry.nodes, {}).get(entry.edges, {}).get(entry.form)

    def add(self, entry: Entry) -> bool:
        """Keep an entry unless its class is here; say whether it is new."""
        self.texts.add(entry.record["graph"])
        classes = self.levels.setdefault(entry.nodes, {}).setdefault(entry.edges, {})
        return classes.setdefault(entry.form, entry) is entry

    def entries(self, nodes: int) -> Iterator[Entry]:
        """Yield all within the slack, most edges first, then in order of arrival."""
        least = self.best(nodes) - self.slack
        for edges in sorted(self.levels.get(nodes, ()), reverse=True):
            if edges >= least:
                yield from self.levels[nodes][edges].values()
