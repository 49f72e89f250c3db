"""The room's verbs: each takes its config and a call; torch is imported when one runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import tyro

from tenfold.engine.config import Json
from tenfold.engine.verbs import Call, Plain, Verb, open_run
from tenfold.rooms.scope import config
from tenfold.rooms.scope.claim_config import Claim

ROOM = "scope"
FormatName = Literal["gemma-scope", "gemma-scope-2", "sae-lens", "tenfold"]


@dataclass(frozen=True, kw_only=True)
class Sites:
    """List the places of a network whose activations can be read."""

    source: tyro.conf.Positional[str]
    """As --subject.source of `suite`: tiny, quick, laptop, FILE.py:FUNCTION, a folder, a run."""
    text: str = ""
    """File or folder of .txt, .jsonl or .parquet; empty: what the subject brings along."""
    download: bool = False
    """Fetch owner/name from the Hugging Face hub; nothing is downloaded otherwise."""
    proposed: bool = False
    """Only those that a suite takes when it is given none."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure every dictionary of a suite on held-out data."""

    suite: tyro.conf.Positional[str]
    """Run or folder of a suite."""
    subject: config.Subject = field(default_factory=lambda: config.Subject(source="saved"))
    """What to run it on; `saved` is the suite's own."""
    tokens: int = 131_072
    """Kept held-out tokens or items."""
    part_tokens: int = 0
    """Of these for baselines, bfloat16 and uniformity; 0 is a sixteenth."""
    metrics: tuple[str, ...] = ("loss", "baselines", "uniformity", "bfloat16")
    """Groups of metrics beside reconstruction."""
    out: str = ""
    """Folder of the result; empty: out/evaluation of the run."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare sites, widths or kinds of a suite at equal L0, or two suites."""

    evaluations: tyro.conf.Positional[tuple[str, ...]]
    """One run or folder with an evaluation, or two."""
    by: Literal["site", "width", "kind"] = "width"
    """What is compared within one evaluation."""
    measure: Literal["fvu", "delta_loss"] = "fvu"
    """What is read at equal L0."""
    site: str = ""
    """Only this site, IN->OUT for transcoders; empty: all sites, with `by=site` only."""
    reference: str = ""
    """The value that others are compared with; empty: the first."""
    l0: tuple[float, ...] = ()
    """L0s to compare at; empty: some that all fronts reach."""


@dataclass(frozen=True, kw_only=True)
class Dash:
    """Make pages to browse that open from disk."""

    suite: tyro.conf.Positional[str]
    """Run of a suite; or its folder, with --store."""
    store: str = ""
    """Harvest to look at; empty: the run's own."""
    out: str = ""
    """Folder of the pages; empty: out/dash of the run."""
    rows: int = 0
    """Rows of each site; 0 is all of them."""
    cofiring_share: float = 0.1
    """Share of the rows on which latents that fire together are counted."""
    threads: int = 0
    """CPU threads; 0 takes what the machine has."""


@dataclass(frozen=True, kw_only=True)
class Steer:
    """Complete a prompt with and without edited latents."""

    suite: tyro.conf.Positional[str]
    """Run or folder of a suite."""
    prompt: tyro.conf.Positional[str]
    """Text to go on with."""
    dictionary: str
    """Name in the suite, such as blocks.2/w1024_l0_16_s0."""
    edit: tuple[str, ...] = ()
    """Each LATENT:ablate, LATENT:clamp:VALUE, LATENT:scale:VALUE or LATENT:add:VALUE."""
    error: Literal["keep", "drop"] = "keep"
    """What happens to what the dictionary cannot rebuild."""
    tokens: int = 64
    """Tokens to add."""
    temperature: float = 0.0
    """0 takes the most likely token each time."""
    seed: int = 0
    """Of the draw."""
    subject: config.Subject = field(default_factory=lambda: config.Subject(source="saved"))
    """The model; `saved` is the suite's own."""


@dataclass(frozen=True, kw_only=True)
class Publish:
    """Write a suite in a release layout, with a card, ready to be shared."""

    suite: tyro.conf.Positional[str]
    """Run or folder of a suite."""
    out: tyro.conf.Positional[str]
    """Folder to write."""
    format: FormatName = "gemma-scope"
    """Layout: Gemma Scope's folders of params.npz, Gemma Scope 2's, SAELens' or our own."""
    title: str = ""
    """Heading of the card."""
    licence: str = ""
    """Terms of the dictionaries."""
    base_model: str = ""
    """Name of the model on its hub."""
    datasets: tuple[str, ...] = ()
    """Names of the text on its hub."""
    push: str = ""
    """owner/name on the Hugging Face hub to upload the folder to; a private repository."""
    overwrite: bool = False
    """Replace an earlier release in the folder."""


@dataclass(frozen=True, kw_only=True)
class Attach:
    """Put released dictionaries on the sites of a Hugging Face model and measure them."""

    release: tyro.conf.Positional[str]
    """Folder in Gemma Scope's layout, or owner/name with --subject.download."""
    subject: config.Subject = field(default_factory=config.Subject)
    """The model and its text."""
    names: tuple[str, ...] = ()
    """Patterns of folders to take, such as layer_12/width_16k/*; empty: all."""
    tokens: int = 16_384
    """Held-out tokens to measure on; 0 measures nothing."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a suite holds."""

    suite: tyro.conf.Positional[str]
    """Run or folder of a suite."""
    verify: bool = False
    """Compare every file with its sha256."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a run's report.html anew."""

    run: tyro.conf.Positional[str]
    """Run: its path or name."""
    light: bool = False
    """Without scripts, for mail and pull requests."""


def _sites(cfg: Sites, call: Plain) -> Any:
    from tenfold.rooms.scope import tools

    return tools.list_sites(cfg, quiet=call.quiet)


def _harvest(cfg: config.Harvest, call: Call) -> Json:
    from tenfold.rooms.scope.run import fill_store
    from tenfold.rooms.scope.store import open_store
    from tenfold.rooms.scope.trainer import UNITS

    run = open_run(cfg, call, room=ROOM, verb="harvest", schema=config.SCHEMA, units=UNITS)
    fill_store(cfg, run=run, trusted=call.trusts("--subject.source"))
    store = open_store(run.path / "harvest")
    return {"store": str(run.path / "harvest"), "items": store.items, "sites": list(store.sites)}


def _suite(cfg: config.Suite, call: Call) -> Json:
    from tenfold.rooms.scope.run import train
    from tenfold.rooms.scope.suite import open_suite
    from tenfold.rooms.scope.trainer import UNITS

    run = open_run(
        cfg,
        call,
        room=ROOM,
        verb="suite",
        seed=cfg.seeds[0],
        schema=config.SCHEMA,
        units=UNITS,
    )
    train(cfg, run=run, trusted=call.trusts("--subject.source"))
    made = {"report": run.path / "report.html", "pages": run.out / "dash" / "index.html"}
    return {
        "run": str(run.path),
        "dictionaries": len(open_suite(run.path).entries),
        **{name: str(path) for name, path in made.items() if path.exists()},
    }


def _train(cfg: config.Suite, call: Call) -> Json:
    return _suite(replace(cfg, evaluate=False, dash=False), call)


def _plan_harvest(cfg: config.Harvest) -> Json:
    return {"rows_a_site": cfg.tokens, "max_gb": cfg.max_gb or "no limit", "dtype": cfg.dtype}


def _plan_suite(cfg: config.Suite) -> Json:
    train = cfg.train(width=cfg.widths[0], rows=cfg.tokens)
    return {
        "dictionaries_a_site": len(train.lanes) * len(cfg.widths),
        "steps": train.steps,
        "rows_a_site": cfg.tokens,
        "evaluation_tokens": cfg.evaluation_tokens if cfg.evaluate else 0,
    }


def _evaluate(cfg: Evaluate, call: Plain) -> Any:
    from tenfold.rooms.scope import tools

    return tools.evaluate_suite(cfg, call)


def _compare(cfg: Compare, call: Plain) -> Any:
    from tenfold.rooms.scope import tools

    return tools.compare_fronts(cfg, call)


def _dash(cfg: Dash, call: Plain) -> Json:
    from tenfold.rooms.scope import tools

    return tools.make_pages(cfg, call)


def _steer(cfg: Steer, call: Plain) -> Json:
    from tenfold.rooms.scope import tools

    return tools.steer_prompt(cfg, call)


def _publish(cfg: Publish, call: Plain) -> Json:
    from tenfold.rooms.scope import tools

    return tools.publish_suite(cfg, call)


def _attach(cfg: Attach, call: Plain) -> Any:
    from tenfold.rooms.scope import tools

    return tools.attach_release(cfg, quiet=call.quiet)


def _info(cfg: Info, call: Plain) -> Any:
    from tenfold.rooms.scope import tools

    return tools.describe_suite(cfg, call)


def _claim(cfg: Claim, call: Call) -> Json:
    from tenfold.engine.claim import summary
    from tenfold.rooms.scope.claim import run_claim

    run = open_run(cfg, call, room=ROOM, verb="claim", schema=config.SCHEMA)
    return summary(run_claim(cfg, run=run)) | {"report": str(run.path / "report.html")}


def _plan_claim(cfg: Claim) -> Any:
    from tenfold.rooms.scope.claim import estimate

    return estimate(cfg)


def _report(cfg: Report, call: Plain) -> Json:
    from tenfold.engine.files import runs_root
    from tenfold.engine.run import find_run
    from tenfold.rooms.scope.report import write_report

    path = find_run(cfg.run, runs_root(call.runs))
    return {"report": str(write_report(path, light=cfg.light))}


VERBS = {
    "sites": Verb(
        config=Sites, run=_sites, help="List a network's sites, shapes and sizes.", call=Plain
    ),
    "suite": Verb(
        config=config.Suite,
        run=_suite,
        help="Harvest, train, evaluate and show a suite, in one go.",
        recipes=config.RECIPES,
        plan=_plan_suite,
        schema=config.SCHEMA,
    ),
    "harvest": Verb(
        config=config.Harvest,
        run=_harvest,
        help="Write activations of several sites to disk.",
        plan=_plan_harvest,
        schema=config.SCHEMA,
    ),
    "train": Verb(
        config=config.Suite,
        run=_train,
        help="Train a suite without evaluation and pages.",
        recipes=config.RECIPES,
        plan=_plan_suite,
        schema=config.SCHEMA,
    ),
    "eval": Verb(config=Evaluate, run=_evaluate, help="Measure a suite.", call=Plain),
    "compare": Verb(
        config=Compare, run=_compare, help="Compare dictionaries at equal L0.", call=Plain
    ),
    "dash": Verb(config=Dash, run=_dash, help="Make pages that open from disk.", call=Plain),
    "steer": Verb(config=Steer, run=_steer, help="Complete a prompt with edits.", call=Plain),
    "publish": Verb(
        config=Publish, run=_publish, help="Write a suite in a release layout.", call=Plain
    ),
    "attach": Verb(
        config=Attach, run=_attach, help="Put released dictionaries on a model.", call=Plain
    ),
    "info": Verb(config=Info, run=_info, help="Say what a suite holds.", call=Plain),
    "claim": Verb(
        config=Claim,
        run=_claim,
        help="Check the paper's findings at a scale.",
        plan=_plan_claim,
        schema=config.SCHEMA,
    ),
    "report": Verb(config=Report, run=_report, help="Write a run's report.html.", call=Plain),
}
