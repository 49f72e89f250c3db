"""The table of an archive against what is known, a row for each number of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import Known, published, read_known, upper_bound
from tenfold.rooms.extremal.problem import Problem, resize


def record_rows(
    archive: Archive,
    *,
    first: int = 0,
    last: int = 0,
    table: Mapping[int, Known] | None = None,
) -> list[Json]:
    """Return nodes, edges, what is published, and the proven upper bound of each size.

    Args:
        archive: whose best graphs count.
        first: fewest nodes; 0: as in the archive.
        last: most nodes; 0: as in the archive.
        table: what is known, if not ours, which has nothing on restricted problems.
    """
    told = published(archive.problem) if table is None else table
    sizes = archive.nodes() if not last else range(max(first, 2), last + 1)
    return [_row(archive, nodes, told.get(nodes)) for nodes in sizes if nodes >= first]


def _row(archive: Archive, nodes: int, told: Known | None) -> Json:
    edges = archive.edges(nodes)
    found = archive.best(nodes)
    return {
        "nodes": nodes,
        "edges": edges if edges >= 0 else None,
        "known": told.lower if told else None,
        "over": edges - told.lower if told and edges >= 0 else None,
        "prototype": told.prototype if told else None,
        "upper": _upper(archive.problem, nodes),
        "classes": len(found),
        "start": found[0].start if found else None,
        "source": told.source if told else None,
    }


def _upper(problem: Problem, nodes: int) -> int | None:
    try:
        return upper_bound(resize(problem, nodes)).value
    except (TenfoldError, ValueError):  # a size of which no such graph can be asked
        return None


def read_table(path: str, problem: Problem) -> Mapping[int, Known]:
    """Return the known values of a problem, with a user's own table laid over ours if named."""
    ours = published(problem)
    return read_known(Path(path), forbid=problem.forbid, over=ours) if path else ours


def count_rows(rows: list[Json]) -> Json:
    """Return at how many sizes published and prototype values are met and passed."""
    here = [row for row in rows if row["edges"] is not None]
    met = [row for row in here if row["known"] is not None]
    old = [row for row in here if row["prototype"] is not None]
    return {
        "sizes": len(here),
        "at_known": sum(row["edges"] >= row["known"] for row in met),
        "above_known": sum(row["edges"] > row["known"] for row in met),
        "below_known": sum(row["edges"] < row["known"] for row in met),
        "at_prototype": sum(row["edges"] >= row["prototype"] for row in old),
        "above_prototype": sum(row["edges"] > row["prototype"] for row in old),
    }
