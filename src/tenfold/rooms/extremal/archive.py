"""The best graphs of one problem at every number of nodes, up to isomorphism, never overwritten.

An archive is a folder: problem.json says what was asked, graphs.jsonl has a line for each graph
with its text, where it came from, and the digest of its canonical form. Lines are only ever added
(see ledger.py), each after an independent check, by as many processes as there are. What is kept
are classes, not labelled graphs: a copy with other names of nodes is no news.
"""

from __future__ import annotations

import copy
import csv
import datetime
import io
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

from tenfold.engine import origin
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_json, write_text
from tenfold.rooms.extremal.bounds import published, upper_bound
from tenfold.rooms.extremal.codecs import (
    Format,
    encode_graph6,
    encode_sparse6,
    write_graphs,
)
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.ledger import Ledger, Line
from tenfold.rooms.extremal.problem import Problem, embed_files, resize
from tenfold.rooms.extremal.shelf import FIELDS, Entry, Find, Shelf
from tenfold.rooms.extremal.verify import verify

__all__ = ["Archive", "Find"]

PROBLEM, GRAPHS = "problem.json", "graphs.jsonl"
FORMAT = "tenfold extremal archive 1"
_GRAPH6_NODES = 62
"""Up to here graph6 has the short form of the number of nodes; beyond, sparse6 is shorter."""
_LARGE_NODES, _SECONDS, _LARGE_SECONDS = 300, 10.0, 1.0
"""A canonical form may take this long, then an invariant takes its place."""


class Archive:
    """A folder of graphs for one problem; several processes may have it open."""

    def __init__(
        self, path: Path, problem: Problem | None = None, *, keep: int = 64, slack: int = 0
    ) -> None:
        """Open an archive, or make one for `problem`; without a problem, the saved one is used.

        Args:
            path: the folder.
            problem: what the graphs are for; its number of nodes does not matter.
            keep: classes kept for each number of nodes and of edges.
            slack: how many edges fewer than the best are still kept.

        Raises:
            TenfoldError: if it was made for another problem, or is none and none can be made.
        """
        self.path = path
        self.problem, self.family = _open_folder(path, problem)
        self._ledger = Ledger(path / GRAPHS)
        self._shelf = Shelf(keep=keep, slack=slack)
        self._foreign: list[str] = []
        self._news: list[Entry] = []
        self._whole: Archive | None = None
        self._take(self._ledger.read())

    @classmethod
    def until(
        cls,
        path: Path,
        offset: int,
        *,
        problem: Problem | None = None,
        keep: int = 64,
        slack: int = 0,
    ) -> Self:
        """Open an archive as it was when it had `offset` bytes, to repeat what came after.

        What is put is kept as then, and goes to the file unless it is there already, so a search
        that goes on from a saved state meets what it met before. What others add is not seen.

        Raises:
            TenfoldError: if no line ends at that byte.
        """
        whole = cls(path, problem, keep=keep, slack=slack)
        view = copy.copy(whole)
        view._whole, view._ledger = whole, Ledger(path / GRAPHS)
        view._shelf, view._foreign, view._news = Shelf(keep=keep, slack=slack), [], []
        view._take(view._ledger.read(until=offset))
        return view

    @property
    def problems(self) -> list[str]:
        """A sentence for each line that could not be read."""
        return [*self._ledger.problems, *self._foreign]

    def nodes(self) -> list[int]:
        """Return the numbers of nodes that have a graph, in order."""
        return sorted(self._shelf.levels)

    def edges(self, nodes: int) -> int:
        """Return the most edges on `nodes` nodes; -1 if there is no graph."""
        return self._shelf.best(nodes)

    def best(self, nodes: int) -> list[Find]:
        """Return all kept graphs with the most edges, first come first."""
        most = self._shelf.best(nodes)
        return [entry.find for entry in self._shelf.entries(nodes) if entry.edges == most]

    def finds(self, nodes: int) -> list[Find]:
        """Return all kept graphs within the slack, most edges first."""
        return [entry.find for entry in self._shelf.entries(nodes)]

    def offset(self) -> int:
        """Return how many bytes of the file are known here, for `until`."""
        return self._ledger.offset

    def refresh(self) -> list[Find]:
        """Return what others have added since this was last asked, duplicates left out."""
        if self._whole is not None:
            return []
        news = self._news + self._take(self._ledger.read())
        self._news = []
        return [entry.find for entry in news]

    def put(
        self,
        graph: Graph,
        *,
        method: str,
        start: str = "empty",
        seed: int = 0,
        flips: int = 0,
        seconds: float = 0.0,
        by: str = "",
    ) -> bool:
        """Check a graph and keep it if it is one of the best and of a new class.

        A graph with too few edges to be kept is not even checked.

        Returns:
            Whether it was kept; it is then on the disk.

        Raises:
            TenfoldError: if the graph does not fit the problem.
        """
        if not self._shelf.wants(graph.nodes, graph.size):
            return False
        text = _text(graph)
        if text in self._shelf.texts:
            return False
        verify(graph, _at_size(self.problem, graph.nodes))
        record = {
            "nodes": graph.nodes, "edges": graph.size, "graph": text, "method": method,
            "seed": seed, "start": start, "flips": flips, "seconds": round(seconds, 3), "by": by,
            "time": _now(), "version": origin.version(), **_form(graph),
        }  # fmt: skip
        return self._store(record)

    def merge(self, other: Archive) -> int:
        """Keep what another archive of the same problem has, after a check; return how many.

        Raises:
            TenfoldError: if it is for another problem, or has a graph that does not fit.
        """
        if other.family != self.family:
            raise TenfoldError(
                f"archive {self.path} is for {self.family!r}, not for {other.family!r} as "
                f"{other.path} is; leave that one out, or merge it into one of its own problem"
            )
        kept = 0
        for nodes in other.nodes():
            for entry in other._shelf.entries(nodes):
                if self._shelf.get(entry) is None and self._shelf.wants(nodes, entry.edges):
                    verify(entry.find.graph, _at_size(self.problem, nodes))
                    kept += self._store(entry.record)
        return kept

    def export(
        self, path: Path, *, format: Format | Literal["csv", "md"], every: bool = False
    ) -> int:
        """Write the first of the best graphs of each size, or `every` kept one; return how many.

        A table (.csv) with a row for each graph, in the same order, is written beside the graphs;
        the formats csv and md (Markdown) write the table alone.
        """
        most = None if every else 1
        kept = (islice(self._shelf.entries(nodes), most) for nodes in self.nodes())
        finds = [entry.find for entries in kept for entry in entries]
        rows = [_row(find, self.problem) for find in finds]
        if format == "md":
            write_text(path, _markdown(rows))
        elif format == "csv":
            write_text(path, _csv(rows))
        else:
            write_graphs(path, [find.graph for find in finds], format=format)
            write_text(path.with_suffix(".csv"), _csv(rows))
        return len(finds)

    def _take(self, lines: list[Line]) -> list[Entry]:
        """Keep lines of the file; return those of new classes."""
        entries = []
        for line in lines:
            if lacking := FIELDS - line.record.keys():
                names = ", ".join(sorted(lacking))
                self._foreign.append(f"{self._ledger.path} line {line.number} lacks {names}")
            else:
                entries.append(Entry(line.record, end=line.end))
        return [entry for entry in entries if self._shelf.add(entry)]

    def _store(self, record: dict[str, Any]) -> bool:
        """Keep a checked record if it is still wanted when the file is ours."""
        if self._whole is not None:
            return self._repeat(record)
        with self._ledger.writing() as lines:
            self._news += self._take(lines)
            entry = Entry(record, end=0)
            if self._shelf.get(entry) or not self._shelf.wants(entry.nodes, entry.edges):
                return False
            self._take(self._ledger.append(record))
        return True

    def _repeat(self, record: dict[str, Any]) -> bool:
        """Keep a record in this view, and in the file if it is not there."""
        assert self._whole is not None, "only a view repeats"
        entry = Entry(record, end=0)
        if not self._shelf.wants(entry.nodes, entry.edges) or not self._shelf.add(entry):
            return False
        self._whole._store(record)
        if there := self._whole._shelf.get(entry):
            self._ledger.offset = max(self._ledger.offset, there.end)
        return True


def _open_folder(path: Path, problem: Problem | None) -> tuple[Problem, str]:
    """Return the problem and the family of an archive, having made it if there is none."""
    if not (path / PROBLEM).exists():
        _make_folder(path, problem)
    saved = read_json(path / PROBLEM)
    try:
        found, family = Problem(**saved["problem"]), str(saved["family"])
    except (KeyError, TypeError, ValueError) as error:
        raise TenfoldError(
            f"{path / PROBLEM} is no problem of an archive ({error}); put it back or name another "
            "folder"
        ) from None
    if problem is not None:
        _check_family(path, family, problem.family())
    return problem or found, family


def _make_folder(path: Path, problem: Problem | None) -> None:
    if problem is None:
        raise TenfoldError(f"{path} is no archive, it has no {PROBLEM}; check the path")
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / GRAPHS).touch()
    except OSError as error:
        raise TenfoldError(
            f"{path} cannot be made a folder ({error.strerror}); name another"
        ) from None
    ledger = Ledger(path / GRAPHS)
    with ledger.writing():
        if (path / PROBLEM).exists():  # another process was first
            return
        if ledger.offset:
            raise TenfoldError(
                f"{path} has graphs but no {PROBLEM} that says what for; put it back or name "
                "another folder"
            )
        spelled = asdict(embed_files(problem))
        described = {"format": FORMAT, "family": problem.family(), "problem": spelled}
        write_json(path / PROBLEM, described)


def _check_family(path: Path, family: str, asked: str) -> None:
    if family != asked:
        raise TenfoldError(
            f"archive {path} is for {family!r}, not for {asked!r}; name another folder"
        )


def _at_size(problem: Problem, nodes: int) -> Problem:
    """Ask the same of graphs of another size, which may be one that no graph can have."""
    try:
        return resize(problem, nodes)
    except ValueError as error:
        raise TenfoldError(f"a graph of {nodes} nodes does not fit: {error}") from None


def _text(graph: Graph) -> str:
    return encode_graph6(graph) if graph.nodes <= _GRAPH6_NODES else encode_sparse6(graph)


def _form(graph: Graph) -> dict[str, Any]:
    from tenfold.rooms.extremal.canonical import canonical_form

    seconds = _SECONDS if graph.nodes <= _LARGE_NODES else _LARGE_SECONDS
    canon = canonical_form(graph, seconds=seconds)
    return {"form": canon.digest, "group_order": canon.group_order}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


# Tables


def _row(find: Find, problem: Problem) -> dict[str, Any]:
    nodes = find.graph.nodes
    told = published(problem).get(nodes)
    return {
        "nodes": nodes,
        "edges": find.graph.size,
        "known_lower": told.lower if told else "",
        "upper": upper_bound(resize(problem, nodes)).value,
        "method": find.method,
        "seed": find.seed,
        "start": find.start,
        "flips": find.flips,
        "seconds": find.seconds,
        "time": find.time,
        "group_order": find.group_order or "",
        "form": find.form,
    }


_MARKDOWN_COLUMNS = ("nodes", "edges", "known_lower", "upper", "method", "seed")


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _markdown(rows: list[dict[str, Any]]) -> str:
    head = " | ".join(_MARKDOWN_COLUMNS).replace("_", " ")
    lines = [f"| {head} |", "|" + "---|" * len(_MARKDOWN_COLUMNS)]
    for row in rows:
        cells = (str(row[name]).replace("|", "\\|") for name in _MARKDOWN_COLUMNS)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
