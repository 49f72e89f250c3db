"""What is done with archives: show, merge, export, and the table of records."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_text
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.codecs import read_graphs
from tenfold.rooms.extremal.problem import resize
from tenfold.rooms.extremal.records import count_rows, read_table, record_rows
from tenfold.rooms.extremal.verify import find_faults

if TYPE_CHECKING:
    from tenfold.rooms.extremal import tools_config as told


def keep(cfg: told.Keep) -> Json:
    """Show an archive, merge others into it, or export it."""
    if cfg.do == "merge":
        return merge(cfg)
    archive = open_archive(cfg.archive, skip_broken=cfg.skip_broken)
    if cfg.do == "export":
        count = archive.export(Path(cfg.out), format=cfg.format, every=cfg.every)
        return {"file": cfg.out, "graphs": count, "bytes": Path(cfg.out).stat().st_size}
    return show(archive)


def open_archive(folder: str, *, skip_broken: bool) -> Archive:
    """Open an archive that is there.

    Raises:
        TenfoldError: naming the first broken line, unless told to go on without it.
    """
    archive = Archive(Path(folder))
    if archive.problems and not skip_broken:
        more = len(archive.problems) - 1
        others = f" ({more} more such lines)" if more else ""
        raise TenfoldError(f"{archive.problems[0]}{others}; add --skip-broken to go on with them")
    return archive


def show(archive: Archive) -> Json:
    """Tell what an archive is for and what it has."""
    rows = record_rows(archive)
    return {
        "problem": archive.family,
        "counts": count_rows(rows),
        "classes": sum(row["classes"] for row in rows),
        "warnings": "; ".join(archive.problems) or None,
        "best": rows,
    }


def merge(cfg: told.Keep) -> Json:
    """Put graphs of other archives or files into an archive, after a check of all of them.

    A folder that is not there becomes an archive for the problem of the first source.
    """
    sources = {
        name: open_archive(name, skip_broken=cfg.skip_broken)
        for name in cfg.others
        if Path(name).is_dir()
    }
    archive = _open_target(cfg, sources)
    rows = []
    for name in cfg.others:
        source = sources.get(name)
        kept = archive.merge(source) if source else _merge_file(archive, Path(name), cfg.by)
        rows.append({"from": name, "kept": kept})
    warnings = [line for each in (archive, *sources.values()) for line in each.problems]
    return {"archive": cfg.archive, "merged": rows, "warnings": "; ".join(warnings) or None}


def _open_target(cfg: told.Keep, sources: dict[str, Archive]) -> Archive:
    """Open the archive that others are merged into, or begin it."""
    if Path(cfg.archive).exists():
        return open_archive(cfg.archive, skip_broken=cfg.skip_broken)
    first = sources.get(cfg.others[0])
    if first is None:
        raise TenfoldError(
            f"{cfg.archive} is no archive yet, and the file {cfg.others[0]} does not say what for; "
            f"begin it by `tenfold extremal search --archive {cfg.archive}`, or name an archive "
            "first"
        )
    return Archive(Path(cfg.archive), first.problem)


def _merge_file(archive: Archive, path: Path, by: str) -> int:
    graphs = read_graphs(path)
    for number, graph in enumerate(graphs, start=1):
        if faults := find_faults(graph, resize(archive.problem, graph.nodes)):
            raise TenfoldError(
                f"{path} graph {number}: {faults[0]}; nothing of this file was kept, mend it"
            )
    return sum(archive.put(graph, method="file", start=path.name, by=by) for graph in graphs)


def show_records(cfg: told.Records) -> Json:
    """Show an archive beside what is known, and write the table if asked to."""
    archive = open_archive(cfg.archive, skip_broken=cfg.skip_broken)
    table = read_table(cfg.table, archive.problem)
    rows = record_rows(archive, first=cfg.first, last=cfg.last, table=table)
    if cfg.out:
        write_text(Path(cfg.out), as_csv(rows))
    return {"counts": count_rows(rows), "records": rows}


def as_csv(rows: list[Json]) -> str:
    """Write rows as CSV, an empty cell where nothing is known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
