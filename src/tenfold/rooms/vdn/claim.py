"""The headline: adding values beats independent and combinatorial learners, sharing helps further.

Rules, fixed before any run, on areas under training curves in reward per 100 steps, paired over
seeds:

1. each team that adds values is above independent learners on Fetch and on Switch;
2. and above the combinatorial one there (where that is trained);
3. sharing weights is at least as good as not sharing them on Fetch;
4. on Checkers a role makes a team better that shares weights;
5. on Fetch the busiest agent of independent learners causes more than 80 % of events at the end
   (shown, and for the combinatorial team too), that of a team with shared weights at most 60 %.

A difference decides by its whole 95 % interval over seeds.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
from tenfold.engine.files import read_json
from tenfold.engine.origin import version
from tenfold.engine.report.page import write_page
from tenfold.engine.run import Run
from tenfold.rooms.vdn import report
from tenfold.rooms.vdn.claim_config import Claim, make_plan
from tenfold.rooms.vdn.compare import train_all
from tenfold.rooms.vdn.compare_config import Compare
from tenfold.rooms.vdn.config import arch_of

STATEMENT = Statement(
    room="vdn",
    sentence="A team whose value is the sum of its agents' values learns much better than "
    "independent learners and than one network over joint actions; sharing weights helps further, "
    "roles where they matter.",
    paper="Sunehag et al. 2017, Value-Decomposition Networks for Cooperative Multi-Agent Learning, "
    "arXiv:1706.05296",
    figure="Nine architectures on seven grid worlds with ten seeds: normalised areas under the "
    "curve and final performance, as heat maps whose values are not known to us; every "
    "architecture that adds values is above the independent and the combinatorial one.",
)
ABOVE = Rule(kind="at_least", margin=0.0, unit="reward per 100 steps more")
AS_GOOD = Rule(kind="at_least", margin=-1.0, unit="reward per 100 steps more")
LAZY = Rule(kind="at_least", margin=0.8, unit="of events")
BALANCED = Rule(kind="at_least", margin=0.0, unit="of events below 0.6")
ADDING = ("v", "v.s", "v.s.id", "v.s.id.l", "v.s.id.h", "v.s.id.l.h", "v.c")
DECIDES = ("fetch/open", "switch/corridor")
"""Tasks on which areas decide; others are shown."""


def run_claim(claim: Claim, *, run: Run) -> ClaimResult:
    """Check the claim inside `run` and write claim.json and report.html.

    Goes on where a stopped or killed one was: stacks that are trained are kept.
    """
    plan = make_plan(claim)
    with run:
        train_all(plan, run)
        told = read_json(run.out / "compare.json")
        result = conclude(claim, plan, told, seconds=run.seconds)
        run.write_json("claim.json", to_json(result))
        write_page(run.path / "report.html", claim_page(result))
        if claim.results:
            save_claim(result, Path(claim.results))
    return result


def conclude(claim: Claim, plan: Compare, told: Json, *, seconds: float) -> ClaimResult:
    """Compare by the rules above and put everything into one result."""
    return ClaimResult(
        statement=STATEMENT,
        scale=claim.scale,
        comparisons=tuple(make_comparisons(told)),
        figures=tuple(report.compare_figures(told)),
        tables=tuple(report.compare_tables(told)),
        notes=_notes(claim, plan),
        seconds=seconds,
        seeds=plan.seeds,
        config={"claim": encode(replace(claim, results="")), "plan": encode(plan)},
        command=shlex.join(["tenfold", "vdn", "claim", "--scale", claim.scale]),
        version=version(),
        commit=source_commit(),
        machine=machine_name(),
        date=datetime.date.today().isoformat(),
    )


def make_comparisons(told: Json) -> list[Comparison]:
    """Judge all rules for which architectures and tasks were trained."""
    found: list[Comparison] = []
    names = told["archs"]
    for task in told["tasks"]:
        decides = task in DECIDES
        for rival in ("ind", "c"):
            found += [
                _lead(told, task, name, rival, ABOVE, primary=decides)
                for name in ADDING
                if name in names and rival in names
            ]
        if {"v", "v.s"} <= set(names):
            found.append(_lead(told, task, "v.s", "v", AS_GOOD, primary=task == "fetch/open"))
        if task.startswith("checkers") and {"v.s", "v.s.id"} <= set(names):
            found.append(_lead(told, task, "v.s.id", "v.s", ABOVE, primary=True))
        if task == "fetch/open":
            found += _shares(told, task)
    return found


def values_of(told: Json, task: str, name: str, measure: str) -> list[float | None]:
    """Return a measure of one architecture on one task, a value a seed."""
    rows = {
        row["seed"]: row[measure]
        for row in told["rows"]
        if row["task"] == task and row["arch"] == name
    }
    return [rows.get(seed) for seed in told["seeds"]]


def _lead(
    told: Json, task: str, ours: str, theirs: str, rule: Rule, *, primary: bool
) -> Comparison:
    pairs = zip(
        values_of(told, task, ours, "auc"), values_of(told, task, theirs, "auc"), strict=True
    )
    leads = [None if a is None or b is None else a - b for a, b in pairs]
    return compare(
        f"{task}: area of {arch_of(ours).title} over {arch_of(theirs).title}",
        rule,
        leads,
        primary=primary,
    )


def _shares(told: Json, task: str) -> list[Comparison]:
    """Return how evenly the agents of some teams work at the end of training."""
    words = "share of events of the busiest agent"
    found = [
        compare(
            f"{task}: {words}, {arch_of(name).title}",
            LAZY,
            values_of(told, task, name, "busiest"),
            primary=False,
        )
        for name in ("ind", "c")
        if name in told["archs"]
    ]
    for name in ("v.s", "v.s.id"):
        if name in told["archs"]:
            shares = values_of(told, task, name, "busiest")
            below = [None if share is None else 0.6 - share for share in shares]
            title = f"{task}: {words}, {arch_of(name).title}"
            found.append(compare(title, BALANCED, below, primary=False))
    return found


def _notes(claim: Claim, plan: Compare) -> tuple[str, ...]:
    notes: Sequence[str] = [
        "Maps, view, optimiser, learning rate, batch, replay, target period and the schedule of "
        "exploration are ours: the paper's are not published.",
        f"Teams had {plan.updates:,} updates; the paper's had 50,000 episodes of 5,000 steps.",
        "Areas are of training curves, exploration included. Gradients have the same scale for "
        "independent and summed values.",
    ]
    if claim.scale == "quick":
        notes = [*notes, "Three seeds and one task: a look, no decision on the whole claim."]
    return tuple(notes)
