"""The table of an archive against what is known, a row for each number of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tenfold.engine.config import Json
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import Known, known, read_known, upper_bound
from tenfold.rooms.extremal.problem import resize


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
        table: what is known, if not ours.
    """
    published = known(archive.problem.forbid) if table is None else table
    sizes = archive.nodes() if not last else range(max(first, 2), last + 1)
    return [_row(archive, nodes, published.get(nodes)) for nodes in sizes if nodes >= first]


def _row(archive: Archive, nodes: int, published: Known | None) -> Json:
    edges = archive.edges(nodes)
    bare = not archive.problem.host and not archive.problem.frozen and not archive.problem.group
    found = archive.best(nodes)
    return {
        "nodes": nodes,
        "edges": edges if edges >= 0 else None,
        "known": published.lower if published else None,
        "over": edges - published.lower if published and edges >= 0 else None,
        "prototype": published.prototype if published else None,
        "upper": upper_bound(resize(archive.problem, nodes)).value if bare else None,
        "classes": len(found),
        "start": found[0].start if found else None,
        "source": published.source if published else None,
    }


def read_table(path: str, *, forbid: str) -> Mapping[int, Known]:
    """Return the known values of a set, with a user's own table laid over ours if named."""
    return read_known(Path(path), forbid=forbid) if path else known(forbid)


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
