"""The room's claims: five findings of Gemma Scope, checked on a model trained on the spot.

- dictionaries of the residual stream cost the model the most loss (GS figure 2);
- the first positions of a text are rebuilt at the least loss (figure 3);
- wider dictionaries are better at equal L0 (figures 4 and 5);
- text of another kind is rebuilt worse (figure 9);
- dictionaries of the base model serve the tuned one, by loss better than by FVU (figures 8, 21).

All comparisons are at equal L0, read on log-log axes between trained dictionaries, and paired
over seeds. Rules and margins stand here, fixed before any run.
"""

from __future__ import annotations

import datetime
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.engine.claim import (
    ClaimResult,
    Comparison,
    Rule,
    Statement,
    claim_page,
    compare,
    machine_name,
    save_claim,
    source_commit,
    to_json,
)
from tenfold.engine.config import Json, encode
from tenfold.engine.device import choose
from tenfold.engine.errors import TenfoldError
from tenfold.engine.origin import version
from tenfold.engine.report.figures import Table
from tenfold.engine.report.page import write_page
from tenfold.engine.run import Options, Run
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.subject import Subject, load_or_train
from tenfold.parts.text.corpus import Corpus, load_corpus
from tenfold.parts.text.packing import KINDS
from tenfold.rooms.scope import config
from tenfold.rooms.scope.claim_config import ATTENTION, MLP, RESIDUAL, Claim, Plan, make_plan
from tenfold.rooms.scope.eval import evaluate
from tenfold.rooms.scope.evaluation.figures import front_figures, position_figures
from tenfold.rooms.scope.evaluation.matched import Evaluation, front, read_front
from tenfold.rooms.scope.run import train
from tenfold.rooms.scope.subjects import specimen_of_subject
from tenfold.rooms.scope.suite import SavedSuite, open_suite
from tenfold.rooms.scope.trainer import UNITS
from tenfold.rooms.scope.tuning import only_kind, tune

STATEMENT = Statement(
    room="scope",
    sentence="Residual-stream dictionaries cost a model the most loss, first positions cost the "
    "least, wider is better at equal L0, foreign text is rebuilt worse, and base dictionaries "
    "serve a tuned model.",
    paper="Lieberum et al. 2024, Gemma Scope: Open Sparse Autoencoders Everywhere All At Once on "
    "Gemma 2, arXiv:2408.05147",
    figure="Figures 2 to 5, 8, 9 and 21, Gemma 2 2B and 9B: curves without intervals.",
)
FIRST_PLACES = 4
"""Positions at the start of a window that count as first."""
SETTLED_PLACE = 32
"""From this position on a window counts as settled."""

MORE = Rule(kind="at_least", margin=10.0, unit="% more")
EASIER = Rule(kind="at_least", margin=20.0, unit="% lower")
WIDER = Rule(kind="at_least", margin=2.0, unit="% lower")
FOREIGN = Rule(kind="at_least", margin=5.0, unit="% more")
TRANSFERS = Rule(kind="at_least", margin=1.0, unit="points")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One suite and the models that it is evaluated on."""

    name: str
    suite: config.Suite
    trained_on: Specimen
    evaluated_on: Mapping[str, Specimen]
    """By the name of the evaluation."""
    only_site: str = ""
    """Of evaluations beside that on its own model; empty: all."""


def run_claim(claim: Claim, *, run: Run) -> ClaimResult:
    """Check the claim inside `run` and write claim.json and report.html.

    Goes on where a stopped or killed one was: finished suites and evaluations are kept.
    """
    plan = make_plan(claim)
    with run:
        run.introduce({name: str(value) for name, value in estimate(claim).items()})
        options = replace(run.options, stop_after=0)
        _refuse_one_kind(load_corpus(plan.subject.text), claim)
        subject = load_or_train(plan.subject, options=options, device=choose().device)
        found: dict[str, Json] = {}
        for arm in make_arms(claim, plan, subject, run):
            found |= _measure(arm, run)
            run.note(f"{arm.name}: trained and evaluated")
        result = conclude(claim, plan, found, subject=subject.report, seconds=run.seconds)
        run.write_json("claim.json", to_json(result))
        write_page(run.path / "report.html", claim_page(result))
        if claim.results:
            save_claim(result, Path(claim.results))
    return result


def _refuse_one_kind(corpus: Corpus, claim: Claim) -> None:
    """Refuse text whose restriction to code or to prose would be an endless stream of nothing."""
    for split, packed in corpus.splits.items():
        for number, kind in enumerate(KINDS):
            if not (packed.kinds == number).any():
                raise TenfoldError(
                    f"{claim.text or 'the text'} has no {kind} in the split {split!r}; the claim "
                    "compares code with prose: give more files of both, such as .py and .txt"
                )


def make_arms(claim: Claim, plan: Plan, subject: Subject, run: Run) -> list[Arm]:
    """Return the suites that the claims rest on."""
    base = specimen_of_subject(subject, config.Subject(source="base"))
    code, prose = only_kind(base, "code"), only_kind(base, "prose")
    tuned = tune(
        subject,
        text=claim.tuning_text,
        steps=plan.tuning_steps,
        folder=run.path / "tuned",
        check_stop=run.check_stop,
    )
    one_site = plan.suite(sites=(plan.kind_site,))
    return [
        Arm(
            name="base",
            suite=plan.suite(sites=plan.sites, both_widths=True),
            trained_on=base,
            evaluated_on={"base": base, "base on tuned": tuned},
            only_site=plan.kind_site,
        ),
        Arm(
            name="code",
            suite=one_site,
            trained_on=code,
            evaluated_on={"code": code, "code on prose": prose},
        ),
        Arm(
            name="prose",
            suite=one_site,
            trained_on=prose,
            evaluated_on={"prose": prose, "prose on code": code},
        ),
        Arm(name="tuned", suite=one_site, trained_on=tuned, evaluated_on={"tuned": tuned}),
    ]


def _measure(arm: Arm, run: Run) -> dict[str, Json]:
    """Train one suite and return its evaluations by name."""
    cfg = arm.suite
    path = run.path / "arms" / arm.name
    options = Options(quiet=True)
    if (path / "config.json").exists():
        inner = Run.resume(path, cfg, units=UNITS, options=options)
    else:
        inner = Run.create(cfg, room="scope", verb="suite", units=UNITS, options=options, path=path)
    train(cfg, arm.trained_on, run=inner)
    suite = open_suite(path)
    found = {}
    for name, specimen in arm.evaluated_on.items():
        chosen = suite if name == arm.name or not arm.only_site else _at_site(suite, arm.only_site)
        found[name] = evaluate(
            chosen,
            specimen,
            tokens=cfg.evaluation_tokens,
            metrics=("loss",),
            out=run.out / "evaluations" / name.replace(" ", "_"),
            check_stop=run.check_stop,
            quiet=True,
        )
    return found


def _at_site(suite: SavedSuite, site: str) -> SavedSuite:
    entries = tuple(suite.select(site=site))
    return SavedSuite(path=suite.path, manifest=replace(suite.manifest, entries=entries))


def value_at(found: Json, measure: str, *, l0: float, **facts: Any) -> float | None:
    """Return a measure of the dictionaries with these facts, read at an L0; None if not reached.

    Args:
        found: an evaluation.
        measure: "fvu" or "delta_loss".
        l0: where.
        facts: such as site="blocks.1", width=512, seed=0.
    """
    points = front(Evaluation(result=found, items={}), measure, **facts)
    return read_front(points, l0).estimate if points else None


def percent_more(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Return by how many percent the firsts exceed the seconds, as a geometric mean.

    None if a value is missing or not positive, or there are none.

    >>> percent_more([(2.0, 1.0), (1.0, 2.0)])
    0.0
    """
    logs = []
    for ours, theirs in pairs:
        if ours is None or theirs is None or ours <= 0 or theirs <= 0:
            return None
        logs.append(math.log(ours / theirs))
    return 100 * (math.exp(sum(logs) / len(logs)) - 1) if logs else None


def _over(plan: Plan, effect: Callable[[int], float | None]) -> list[float | None]:
    return [effect(seed) for seed in plan.seeds]


def cost_against(found: Mapping[str, Json], plan: Plan, rival: str, *, seed: int) -> float | None:
    """Return by how many percent residual dictionaries cost more loss than those of `rival`."""
    width = plan.widths[0]

    def read(site: str, l0: float) -> float | None:
        return value_at(found["base"], "delta_loss", l0=l0, site=site, width=width, seed=seed)

    return percent_more(
        [
            (read(RESIDUAL.format(block), l0), read(rival.format(block), l0))
            for block in plan.blocks
            for l0 in plan.matched_l0
        ]
    )


def ease_of_first(found: Mapping[str, Json], plan: Plan, *, seed: int) -> float | None:
    """Return by how many percent the first positions cost less loss than settled ones."""
    sites = {RESIDUAL.format(block) for block in plan.blocks}
    first: list[float] = []
    settled: list[float] = []
    for entry in found["base"]["entries"].values():
        if entry["site"] in sites and entry["seed"] == seed:
            curve = entry["by_position"]
            pairs = list(zip(curve["place"], curve["delta_loss"], strict=True))
            first += [rise for place, rise in pairs if place < FIRST_PLACES and rise is not None]
            settled += [
                rise for place, rise in pairs if place >= SETTLED_PLACE and rise is not None
            ]
    if not first or not settled or sum(settled) <= 0:
        return None
    return 100 * (1 - (sum(first) / len(first)) / (sum(settled) / len(settled)))


def gain_of_width(found: Mapping[str, Json], plan: Plan, *, seed: int) -> float | None:
    """Return by how many percent FVU is lower in the wider dictionaries, over all sites."""
    narrow, wide = plan.widths
    sites = dict.fromkeys(entry["site"] for entry in found["base"]["entries"].values())
    more = percent_more(
        [
            (
                value_at(found["base"], "fvu", l0=l0, site=site, width=wide, seed=seed),
                value_at(found["base"], "fvu", l0=l0, site=site, width=narrow, seed=seed),
            )
            for site in sites
            for l0 in plan.matched_l0
        ]
    )
    return None if more is None else -more


def cost_of_foreign(found: Mapping[str, Json], plan: Plan, *, seed: int) -> float | None:
    """Return by how many percent dictionaries of the other kind of text cost more loss."""
    return percent_more(
        [
            (
                value_at(found[foreign], "delta_loss", l0=l0, seed=seed),
                value_at(found[own], "delta_loss", l0=l0, seed=seed),
            )
            for foreign, own in (("prose on code", "code"), ("code on prose", "prose"))
            for l0 in plan.matched_l0
        ]
    )


def transfer_gaps(
    found: Mapping[str, Json], plan: Plan, *, seed: int
) -> tuple[float | None, float | None]:
    """Return by how many percent base dictionaries are worse on the tuned model than its own.

    First by FVU, then by delta loss.
    """
    gaps = [
        percent_more(
            [
                (
                    value_at(found["base on tuned"], measure, l0=l0, seed=seed, width=width),
                    value_at(found["tuned"], measure, l0=l0, seed=seed, width=width),
                )
                for l0 in plan.matched_l0
            ]
        )
        for width in plan.widths[:1]
        for measure in ("fvu", "delta_loss")
    ]
    return gaps[0], gaps[1]


def _transfer(found: Mapping[str, Json], plan: Plan, seed: int) -> float | None:
    fvu, loss = transfer_gaps(found, plan, seed=seed)
    return None if fvu is None or loss is None else fvu - loss


def make_comparisons(found: Mapping[str, Json], plan: Plan) -> tuple[Comparison, ...]:
    """Judge the five findings by the rules above."""
    cost = "delta loss of the residual stream against"
    return (
        compare(
            f"{cost} attention heads",
            MORE,
            _over(plan, lambda seed: cost_against(found, plan, ATTENTION, seed=seed)),
        ),
        compare(
            f"{cost} the MLP's output",
            MORE,
            _over(plan, lambda seed: cost_against(found, plan, MLP, seed=seed)),
        ),
        compare(
            f"delta loss at the first {FIRST_PLACES} positions against settled ones",
            EASIER,
            _over(plan, lambda seed: ease_of_first(found, plan, seed=seed)),
        ),
        compare(
            f"FVU at {plan.widths[1]:,} latents against {plan.widths[0]:,}",
            WIDER,
            _over(plan, lambda seed: gain_of_width(found, plan, seed=seed)),
        ),
        compare(
            "delta loss on text of the other kind against one's own dictionaries",
            FOREIGN,
            _over(plan, lambda seed: cost_of_foreign(found, plan, seed=seed)),
        ),
        compare(
            "base dictionaries on the tuned model: gap in FVU minus gap in delta loss",
            TRANSFERS,
            _over(plan, lambda seed: _transfer(found, plan, seed)),
        ),
    )


def conclude(
    claim: Claim, plan: Plan, found: Mapping[str, Json], *, subject: Json, seconds: float
) -> ClaimResult:
    """Compare what was evaluated and put everything into one result."""
    base = found["base"]["entries"]
    return ClaimResult(
        statement=STATEMENT,
        scale=claim.scale,
        comparisons=make_comparisons(found, plan),
        figures=(*front_figures(base, "delta_loss"), *position_figures(base)),
        tables=(_transfer_table(found, plan), _entry_table(found)),
        notes=_notes(claim, plan, subject),
        seconds=seconds,
        seeds=plan.seeds,
        config={"claim": encode(replace(claim, results="")), "plan": encode(plan)},
        command=shlex.join(
            ["tenfold", "scope", "claim", "--scale", claim.scale]
            + (["--text", claim.text] if claim.text else [])
            + (["--tuning-text", claim.tuning_text] if claim.tuning_text else [])
        ),
        version=version(),
        commit=source_commit(),
        machine=machine_name(),
        date=datetime.date.today().isoformat(),
    )


def _transfer_table(found: Mapping[str, Json], plan: Plan) -> Table:
    rows = tuple((seed, *transfer_gaps(found, plan, seed=seed)) for seed in plan.seeds)
    columns = ("seed", "gap in FVU, %", "gap in delta loss, %")
    return Table(
        title="Base dictionaries on the tuned model against its own", columns=columns, rows=rows
    )


def _entry_table(found: Mapping[str, Json]) -> Table:
    rows = tuple(
        (where, name, entry["l0"], entry["fvu"], entry.get("delta_loss"), entry["dead"])
        for where, evaluation in found.items()
        for name, entry in evaluation["entries"].items()
    )
    columns = ("evaluation", "dictionary", "L0", "FVU", "delta loss", "dead")
    return Table(title="Every dictionary", columns=columns, rows=rows)


def _notes(claim: Claim, plan: Plan, subject: Json) -> tuple[str, ...]:
    tuned_on = claim.tuning_text or "the prose of its own text"
    return (
        f"The model has {subject['parameters']:,} parameters and was trained on the spot; the "
        f"paper's have billions. It needs {subject['bits_per_byte']:.3f} bits a byte of held-out "
        f"text, a trigram model {subject['trigram_bits_per_byte']:.3f}.",
        f"Dictionaries have {plan.widths[0]:,} and {plan.widths[1]:,} latents and "
        f"{plan.rows // plan.batch:,} steps under the schedule 'short'; the paper's have 16k and "
        "more and a million steps.",
        "One model serves all seeds: intervals show the spread of dictionaries, not of models.",
        f"The tuned model is the base model after {plan.tuning_steps} steps on {tuned_on}, not an "
        "instruction-tuned one, and is read on that text, not on its own rollouts.",
        "Windows are cut anywhere in a document, so a first position has no text before it.",
        f"L0s compared: {', '.join(f'{l0:g}' for l0 in plan.matched_l0)}, by interpolation "
        "between trained dictionaries.",
    )


def estimate(claim: Claim) -> Json:
    """Return the size of the work, for --dry-run."""
    plan = make_plan(claim)
    each = len(plan.target_l0) * len(plan.seeds)
    return {
        "dictionaries": each * (2 * len(plan.sites) + 3),
        "steps_each": -(-plan.rows // plan.batch),
        "subject_steps": plan.subject.steps,
        "evaluation_tokens": plan.evaluation_tokens,
    }
