"""The loops of a search and of a ladder, each on one screen; both go on exactly after a kill.

One step of a search is `Searcher.update` in `search.py`; one of a ladder, `Campaign.update` in
`campaign.py`. What is found lies in the archive and in `out` as soon as it is checked.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from tenfold.engine.config import Json
from tenfold.engine.files import read_json, write_json, write_text
from tenfold.engine.run import Options, Run, decode_saved, saved_config
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.campaign import Campaign, open_campaign
from tenfold.rooms.extremal.codecs import encode_graph6, encode_sparse6, read_graphs, write_graphs
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.openings import Opening
from tenfold.rooms.extremal.records import record_rows
from tenfold.rooms.extremal.search import (
    Searcher,
    Tell,
    method_of,
    open_openings,
    open_searcher,
)
from tenfold.rooms.extremal.verify import Certificate

BEST, STARTS = "best", "starts"


def search_run(
    cfg: config.Search,
    *,
    options: Options = Options(),  # noqa: B008 (frozen)
    run: Run | None = None,
) -> Run:
    """Search as `cfg` asks and return the finished run; the best graph is out/best.s6.

    Raises:
        TenfoldError: if problem, start or archive are unusable; then no run is made.
        RunStopped: if it was asked to stop; the state is saved.
    """
    if run is None:
        open_searcher(cfg)
        run = Run.create(
            cfg, room="extremal", verb="search", seed=cfg.seed, schema=config.SCHEMA,
            units=config.SEARCH_UNITS, options=options,
        )  # fmt: skip
    with run:
        searcher = open_searcher(cfg, openings=saved_openings(cfg, run), tell=writer(run))
        run.introduce(facts(searcher))
        for problem in searcher.archive.problems if searcher.archive else ():
            run.note(f"warning: {problem}")
        try:
            for step in run.steps(cfg.steps, searcher):
                if not searcher.done:
                    searcher.update()
                    run.log(step, searcher.measures())
        finally:
            searcher.close()
        write_result(searcher, run)
    return run


def ladder_run(
    cfg: config.Ladder,
    *,
    options: Options = Options(),  # noqa: B008 (frozen)
    run: Run | None = None,
) -> Run:
    """Hunt as `cfg` asks and return the finished run; out/records.json has a row for each size.

    Raises:
        TenfoldError: if the archive is of another problem.
        RunStopped: if it was asked to stop; the state is saved.
    """
    if run is None:
        check_archive(cfg)
        run = Run.create(
            cfg, room="extremal", verb="ladder", seed=cfg.seed, schema=config.SCHEMA,
            units=config.LADDER_UNITS, options=options,
        )  # fmt: skip
    with run, begin_campaign(cfg, run) as campaign:
        run.introduce(campaign.facts())
        for step in run.steps(cfg.steps, campaign):
            campaign.update(step)
            run.log(step, campaign.measures())
        write_records(cfg, campaign, run)
    return run


def resume(path: str | Path, *, options: Options = Options()) -> Run:  # noqa: B008 (frozen)
    """Go on with the run at `path` under its saved config and return it finished."""
    if saved_config(Path(path))["verb"] == "ladder":
        ladder = decode_saved(Path(path), config.Ladder, schema=config.SCHEMA)
        run = Run.resume(Path(path), ladder, units=config.LADDER_UNITS, options=options)
        return ladder_run(ladder, run=run)
    search = decode_saved(Path(path), config.Search, schema=config.SCHEMA)
    run = Run.resume(Path(path), search, units=config.SEARCH_UNITS, options=options)
    return search_run(search, run=run)


def load(path: str | Path) -> Graph | Archive:
    """Return what a run found: the graph of a search, the archive of a ladder.

    Raises:
        TenfoldError: if it has found nothing yet.
    """
    saved = saved_config(Path(path))
    if saved["verb"] == "ladder":
        cfg = decode_saved(Path(path), config.Ladder, schema=config.SCHEMA)
        return Archive(Path(cfg.archive) if cfg.archive else Path(path) / "out" / "archive")
    return read_graphs(Path(path) / "out" / f"{BEST}.s6")[0]


# What a search writes


def saved_openings(cfg: config.Search, run: Run) -> list[Opening]:
    """Return the starts that this run began with, which an archive may not have any more."""
    texts = run.out / f"{STARTS}.json"
    if texts.exists():
        graphs = read_graphs(run.out / f"{STARTS}.g6")
        return [
            Opening(graph, entry["text"], kept=entry["kept"])
            for graph, entry in zip(graphs, read_json(texts), strict=True)
        ]
    openings = open_openings(cfg)
    write_graphs(run.out / f"{STARTS}.g6", [each.graph for each in openings], format="g6")
    write_json(texts, [{"text": each.text, "kept": each.kept} for each in openings])
    return openings


def writer(run: Run) -> Tell:
    """Return what writes an improvement as out/best.s6, .json and .safetensors.

    A resumed run meets again what it found before the kill: only a better graph is written.
    """

    def tell(graph: Graph, certificate: Certificate, searcher: Searcher) -> None:
        if edges_written(run) >= graph.size:
            return
        save_edges(run.out / f"{BEST}.safetensors", graph)
        write_text(run.out / f"{BEST}.s6", encode_sparse6(graph) + "\n")
        write_json(run.out / f"{BEST}.json", summary(graph, certificate, searcher))

    return tell


def edges_written(run: Run) -> int:
    """Return the edges of the best graph in `out`, -1 if there is none."""
    file = run.out / f"{BEST}.json"
    return int(read_json(file)["edges"]) if file.exists() else -1


def save_edges(path: Path, graph: Graph) -> None:
    """Write the edges of a graph as a tensor."""
    from safetensors.numpy import save

    from tenfold.engine.files import write_bytes

    write_bytes(path, save({"edges": graph.edges}))


def summary(graph: Graph, certificate: Certificate, searcher: Searcher) -> Json:
    """Return what is told of a graph that was found."""
    measured = searcher.measures()
    return {
        "nodes": graph.nodes,
        "edges": graph.size,
        "upper": searcher.upper.value,
        "rule": searcher.upper.rule,
        "optimal": graph.size == searcher.upper.value,
        "known_lower": graph.size + int(measured["gap_known"]) if "gap_known" in measured else None,
        "certificate": certificate.line(),
        "graph6": encode_graph6(graph),
        "start": searcher.start,
        "flips": searcher.flips,
        "seconds": round(searcher.elapsed, 3),
    }


def write_result(searcher: Searcher, run: Run) -> None:
    """Write out/result.json: the best graph in `out`, and when each gain came."""
    best = read_json(run.out / f"{BEST}.json") if edges_written(run) >= 0 else {"edges": None}
    seconds = searcher.seconds
    run.write_json(
        "result.json",
        best
        | {
            "total_flips": searcher.flips,
            "total_seconds": round(seconds, 3),
            "flips_per_second": round(searcher.flips / seconds) if seconds else None,
            "trace": [[each.flips, round(each.seconds, 3), each.edges] for each in searcher.trace],
        },
    )


def facts(searcher: Searcher) -> dict[str, str]:
    """Return what was chosen and why, for the block at the start of a run."""
    cfg = searcher.cfg
    budget = f"{cfg.flips:,} flips" if cfg.flips else f"{cfg.minutes:g} minutes"
    starts = sorted({walker.opening.text for walker in searcher.walkers})
    return {
        "problem": f"{cfg.problem.nodes} nodes, {cfg.problem.family()}",
        "upper bound": f"{searcher.upper.value} edges ({searcher.upper.rule})",
        "stops at": f"{searcher.goal} edges, or after {budget}",
        "method": f"{method_of(cfg)}, {len(searcher.walkers)} chains",
        "start": ", ".join(starts[:4]) + (" .." if len(starts) > 4 else ""),
    }


# What a ladder writes


def check_archive(cfg: config.Ladder) -> None:
    """Refuse an archive of another problem before a run is made.

    Raises:
        TenfoldError: naming both problems.
    """
    if cfg.archive:
        Archive(Path(cfg.archive), cfg.problem)


def begin_campaign(cfg: config.Ladder, run: Run) -> AbstractContextManager[Campaign]:
    """Open a ladder on its archive, that of the run if none is named, as it was at the beginning.

    A counted ladder that is killed before its first checkpoint so begins with the same graphs.
    """
    archive = Archive(Path(cfg.archive) if cfg.archive else run.out / "archive", cfg.problem)
    for problem in archive.problems:
        run.note(f"warning: {problem}")
    file = run.out / "began.json"
    if not file.exists():
        write_json(file, {"offset": archive.offset()})
    return open_campaign(cfg, archive, offset=int(read_json(file)["offset"]), run=run)


def write_records(cfg: config.Ladder, campaign: Campaign, run: Run) -> None:
    """Write out/records.json and the best graphs as one sparse6 file with a table."""
    archive = campaign.whole_archive()
    run.write_json("records.json", record_rows(archive, first=cfg.first, last=cfg.last))
    archive.export(run.out / "best.s6", format="s6")
