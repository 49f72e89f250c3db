"""The room's verbs: each takes its config and a call; torch is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenfold.engine.config import Json
from tenfold.engine.verbs import Call, CallFromRun, Plain, Verb, open_run
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal import tools_config as told
from tenfold.rooms.extremal.claim_config import Claim
from tenfold.rooms.extremal.compare_config import UNITS as COMPARE_UNITS
from tenfold.rooms.extremal.compare_config import Compare
from tenfold.rooms.extremal.learning_config import AZ_UNITS, CE_UNITS, Az, AzTrain, CrossEntropyRun

ROOM = "extremal"


def _search(cfg: config.Search, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.extremal.run import search_run
    from tenfold.rooms.extremal.search import open_searcher

    if not _goes_on(call):
        open_searcher(cfg)  # refuses before a run is made
    run = open_run(
        cfg, call, room=ROOM, verb="search", seed=cfg.seed, schema=config.SCHEMA,
        units=config.SEARCH_UNITS,
    )  # fmt: skip
    _write_report(search_run(cfg, run=run).path)
    result: Json = read_json(run.out / "result.json")
    result.pop("trace")
    return _reported(run.path) | result


def _plan_search(cfg: config.Search) -> Json:
    pairs = cfg.problem.nodes * (cfg.problem.nodes - 1) // 2
    return {
        "steps": cfg.steps,
        "flips": cfg.flips or None,
        "minutes": None if cfg.flips else cfg.minutes,
        "chains": cfg.chains,
        "memory_mb": round(cfg.chains * pairs * 60 / 1e6, 1),
    }


def _ladder(cfg: config.Ladder, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.extremal.records import count_rows
    from tenfold.rooms.extremal.run import check_archive, ladder_run

    check_archive(cfg)
    run = open_run(
        cfg, call, room=ROOM, verb="ladder", seed=cfg.seed, schema=config.SCHEMA,
        units=config.LADDER_UNITS,
    )  # fmt: skip
    _write_report(ladder_run(cfg, run=run).path)
    rows = read_json(run.out / "records.json")
    return _reported(run.path) | {"counts": count_rows(rows), "records": rows}


def _plan_ladder(cfg: config.Ladder) -> Json:
    from tenfold.rooms.extremal.ladder import mean_length

    flips = round(cfg.pieces * cfg.piece_flips * mean_length())
    return {
        "sizes": cfg.last - cfg.first + 1,
        "pieces": cfg.pieces or None,
        "flips": flips or None,
        "minutes": None if cfg.pieces else cfg.minutes,
    }


def _az(cfg: Az, call: Call) -> Json:
    from tenfold.engine.files import read_json, runs_root
    from tenfold.engine.run import find_run
    from tenfold.rooms.extremal.learning_runs import az_search, az_train
    from tenfold.rooms.extremal.records import count_rows

    if isinstance(cfg.do, AzTrain):
        run = open_run(
            cfg, call, room=ROOM, verb="az", seed=cfg.do.game.seed, schema=config.SCHEMA,
            units=AZ_UNITS,
        )  # fmt: skip
        _write_report(az_train(cfg.do, run=run).path)
        rows = read_json(run.out / "records.json")
        return _reported(run.path) | {"counts": count_rows(rows), "records": rows}
    name = cfg.do.run_name
    trained = Path(find_run(name, runs_root(call.runs))) if name else None
    run = open_run(
        cfg, call, room=ROOM, verb="az", seed=cfg.do.seed, schema=config.SCHEMA, units=AZ_UNITS
    )
    _write_report(az_search(cfg.do, run=run, trained=trained).path)
    result: Json = read_json(run.out / "result.json")
    result.pop("curve")
    return _reported(run.path) | result


def _ce(cfg: CrossEntropyRun, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.extremal.learning_runs import ce_run

    run = open_run(
        cfg, call, room=ROOM, verb="ce", seed=cfg.method.seed, schema=config.SCHEMA, units=CE_UNITS
    )
    _write_report(ce_run(cfg, run=run).path)
    result: Json = read_json(run.out / "result.json")
    return _reported(run.path) | result


def _compare(cfg: Compare, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.extremal.compare import compare_run

    run = open_run(
        cfg, call, room=ROOM, verb="compare", seed=cfg.seeds[0], schema=config.SCHEMA,
        units=COMPARE_UNITS,
    )  # fmt: skip
    _write_report(compare_run(cfg, run=run).path)
    result = read_json(run.out / "compare.json")
    return _reported(run.path) | {"methods": result["methods"]}


def _reported(path: Path) -> Json:
    """Write the page of a finished run; return where both are."""
    from tenfold.rooms.extremal.report import write_report

    return {"run": str(path), "report": str(write_report(path))}


def _write_report(path: Path) -> None:
    from tenfold.rooms.extremal.report import write_report

    write_report(path)


def _goes_on(call: Call) -> bool:
    return bool(call.path) and (Path(call.path) / "config.json").exists()


def _construct(cfg: told.Construct, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.extremal import tools

    return tools.build_named(cfg)


def _lift(cfg: told.Lift, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.extremal import tools

    return tools.lift(cfg)


def _polish(cfg: told.Polish, call: Plain) -> Json:
    from tenfold.rooms.extremal import tools

    return tools.polish(cfg, quiet=call.quiet)


def _verify(cfg: told.Verify, call: Plain) -> list[Json]:  # noqa: ARG001
    from tenfold.rooms.extremal import tools

    return tools.check_file(cfg)


def _all_fit(rows: Any) -> bool:
    return all(row["fits"] for row in rows)


def _records(cfg: told.Records, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.extremal import shelving

    return shelving.show_records(cfg)


def _classes(cfg: told.Classes, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.extremal import tools

    return tools.count_classes(cfg)


def _bound(cfg: told.BoundOf, call: Plain) -> list[Json]:  # noqa: ARG001
    from tenfold.rooms.extremal import tools

    return tools.show_bounds(cfg)


def _exact(cfg: told.ExactOf, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.extremal import tools

    return tools.solve(cfg)


def _archive(cfg: told.Keep, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.extremal import shelving

    return shelving.keep(cfg)


def _draw(cfg: told.Draw, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.extremal import tools

    return tools.draw(cfg)


def _claim(cfg: Claim, call: Call) -> Json:
    from tenfold.engine.claim import summary
    from tenfold.rooms.extremal.claim import run_claim

    run = open_run(cfg, call, room=ROOM, verb="claim", schema=config.SCHEMA)
    return summary(run_claim(cfg, run=run)) | {"report": str(run.path / "report.html")}


def _plan_claim(cfg: Claim) -> Json:
    from tenfold.rooms.extremal.claim import estimate

    return estimate(cfg)


def _report(cfg: told.Report, call: Plain) -> Json:
    from tenfold.rooms.extremal import report

    path = report.find_place(cfg.run, runs=call.runs)
    return {"report": str(report.write_report(path, light=cfg.light))}


VERBS = {
    "search": Verb(
        config=config.Search,
        run=_search,
        help="Look for a graph with as many edges as possible on one number of nodes.",
        recipes=config.RECIPES,
        plan=_plan_search,
        schema=config.SCHEMA,
    ),
    "ladder": Verb(
        config=config.Ladder,
        run=_ladder,
        help="Hunt over many numbers of nodes at once, from and into one archive.",
        call=CallFromRun,
        plan=_plan_ladder,
        schema=config.SCHEMA,
    ),
    "construct": Verb(
        config=told.Construct, run=_construct, help="Build a graph by name.", call=Plain
    ),
    "lift": Verb(config=told.Lift, run=_lift, help="Look for Cayley graphs and lifts.", call=Plain),
    "polish": Verb(
        config=told.Polish, run=_polish, help="Search on from each graph of a file.", call=Plain
    ),
    "verify": Verb(
        config=told.Verify,
        run=_verify,
        help="Check every graph of a file independently.",
        call=Plain,
        succeeded=_all_fit,
    ),
    "records": Verb(
        config=told.Records, run=_records, help="Show an archive beside what is known.", call=Plain
    ),
    "classes": Verb(
        config=told.Classes, run=_classes, help="Count graphs up to isomorphism.", call=Plain
    ),
    "bound": Verb(
        config=told.BoundOf,
        run=_bound,
        help="Show upper bounds and their rules.",
        call=Plain,
    ),
    "exact": Verb(
        config=told.ExactOf, run=_exact, help="Solve a problem with few free pairs.", call=Plain
    ),
    "ce": Verb(
        config=CrossEntropyRun,
        run=_ce,
        help="Run the cross-entropy baseline.",
        schema=config.SCHEMA,
    ),
    "az": Verb(
        config=Az,
        run=_az,
        help="Train AlphaZero, or search with what it learned.",
        schema=config.SCHEMA,
    ),
    "compare": Verb(
        config=Compare,
        run=_compare,
        help="Compare methods at the same budget.",
        schema=config.SCHEMA,
    ),
    "archive": Verb(
        config=told.Keep, run=_archive, help="Show, merge or export an archive.", call=Plain
    ),
    "draw": Verb(config=told.Draw, run=_draw, help="Draw a graph as a page.", call=Plain),
    "claim": Verb(
        config=Claim,
        run=_claim,
        help="Check the paper's headline at a scale.",
        plan=_plan_claim,
        schema=config.SCHEMA,
    ),
    "report": Verb(
        config=told.Report,
        run=_report,
        help="Write report.html of a run or an archive.",
        call=Plain,
    ),
}
