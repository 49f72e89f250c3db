"""The room's verbs: each takes its config and a call; torch is imported when one runs."""

from __future__ import annotations

from tenfold.engine.config import Json
from tenfold.engine.verbs import Call, Plain, Verb, open_run
from tenfold.rooms.vdn import claim_config, compare_config, config
from tenfold.rooms.vdn import tools_config as told

ROOM = "vdn"


def _train(cfg: config.Train, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.vdn import run as running
    from tenfold.rooms.vdn.report import write_report

    trusted = call.trusts("--env")
    trainer = running.start(cfg, trusted=trusted)  # refuses before a run is made
    run = open_run(
        cfg, call, room=ROOM, verb="train", seed=cfg.seeds[0], schema=config.SCHEMA,
        units=running.metric_units(),
    )  # fmt: skip
    path = running.train(cfg, run=run, trainer=trainer, trusted=trusted).path
    result: Json = read_json(path / "out" / "result.json")
    return {"run": str(path), "report": str(write_report(str(path)))} | result


def _plan_train(cfg: config.Train) -> Json:
    weights = 5 * len(cfg.seeds)
    return {
        "windows_of_play": cfg.steps,
        "team_updates": cfg.updates * len(cfg.seeds),
        "steps_of_each_team": cfg.steps * cfg.copies * cfg.learning.window,
        "memory_mb": round(cfg.learning.capacity * len(cfg.seeds) * 2e3 / 1e6 + weights, 1),
    }


def _compare(cfg: compare_config.Compare, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.vdn.compare import check_tasks, compare_run

    check_tasks(cfg)
    run = open_run(
        cfg, call, room=ROOM, verb="compare", seed=cfg.seeds[0], schema=compare_config.SCHEMA,
        units=compare_config.UNITS,
    )  # fmt: skip
    path = compare_run(cfg, run=run).path
    means = read_json(path / "out" / "compare.json")["means"]
    return {"run": str(path), "report": str(path / "report.html"), "means": means}


def _plan_compare(cfg: compare_config.Compare) -> Json:
    teams = len(cfg.names) * len(cfg.all_tasks) * len(cfg.seeds)
    return {"teams": teams, "team_updates": teams * cfg.updates}


def _claim(cfg: claim_config.Claim, call: Call) -> Json:
    from tenfold.engine.claim import summary
    from tenfold.rooms.vdn.claim import run_claim

    run = open_run(cfg, call, room=ROOM, verb="claim", schema=config.SCHEMA)
    result = run_claim(cfg, run=run)
    return {"run": str(run.path), "report": str(run.path / "report.html")} | summary(result)


def _plan_claim(cfg: claim_config.Claim) -> Json:
    return _plan_compare(claim_config.make_plan(cfg))


def _play(cfg: told.Play, call: Plain) -> Json:
    from tenfold.rooms.vdn.tools import play_team

    return play_team(cfg, runs=call.runs)


def _explain(cfg: told.Explain, call: Plain) -> Json:
    from tenfold.rooms.vdn.tools import explain_teams

    return explain_teams(cfg, runs=call.runs)


def _probe(cfg: told.Probe, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.vdn.tools import probe_env

    return probe_env(cfg)


def _export(cfg: told.Export, call: Plain) -> Json:
    from tenfold.rooms.vdn.tools import export_team

    return export_team(cfg, runs=call.runs)


def _report(cfg: told.Report, call: Plain) -> Json:
    from tenfold.rooms.vdn.report import write_report

    return {"report": str(write_report(cfg.run, runs=call.runs))}


VERBS: dict[str, Verb] = {
    "train": Verb(
        config=config.Train,
        run=_train,
        help="Train teams of one architecture on one task, several seeds as one stack.",
        recipes={
            "tiny": config.tiny,
            "laptop": config.laptop,
            "gpu": config.gpu,
            "paper": config.paper,
        },
        plan=_plan_train,
        schema=config.SCHEMA,
    ),
    "compare": Verb(
        config=compare_config.Compare,
        run=_compare,
        help="Train architectures on tasks and compare their learning, with heat maps.",
        recipes={
            "tiny": compare_config.tiny,
            "laptop": compare_config.laptop,
            "gpu": compare_config.gpu,
            "paper": compare_config.paper,
        },
        plan=_plan_compare,
        schema=compare_config.SCHEMA,
    ),
    "play": Verb(
        config=told.Play,
        run=_play,
        help="Write a trained team's episode as one page, with each agent's values.",
        call=Plain,
    ),
    "explain": Verb(
        config=told.Explain,
        run=_explain,
        help="Say who does the work in a team, and whether it is lazy.",
        call=Plain,
    ),
    "probe": Verb(
        config=told.Probe,
        run=_probe,
        help="Test before training whether a sum of values is enough for a task.",
        call=Plain,
    ),
    "export": Verb(
        config=told.Export,
        run=_export,
        help="Write each agent as a file that acts alone, without torch.",
        call=Plain,
    ),
    "claim": Verb(
        config=claim_config.Claim,
        run=_claim,
        help="Check the paper's headline at a scale.",
        plan=_plan_claim,
        schema=config.SCHEMA,
    ),
    "report": Verb(config=told.Report, run=_report, help="Write the page of a run.", call=Plain),
}
