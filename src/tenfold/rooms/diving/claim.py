"""The headline: dives find good points sooner, branching needs fewer nodes, both close gaps.

Rules, fixed before any run:

1. sub-MIPs of dives at the network's coverages have a point on 95 of 100 instances (quick);
2. the first choice of the policy is among strong branching's five best more often than chance;
3. the policy needs at most 0.8 of the nodes of pseudo-cost branching;
4. a dive with the family's hooks reaches a mean gap of 1 % at least 10 times sooner than tuned SCIP
   and at least 2 times sooner than LP-RENS with the same sub-solver; a dive that knows nothing of
   the family at least 3 times sooner than tuned SCIP and no later than LP-RENS;
5. dive and search on two threads have at most half the mean primal-dual gap of two searches.

Ratios of times and gaps have 95 % intervals by bootstrap over instances.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tenfold.engine.claim import (
    ClaimResult,
    Comparison,
    Rule,
    Statement,
    claim_page,
    compare,
    decide,
    machine_name,
    save_claim,
    source_commit,
    to_json,
)
from tenfold.engine.config import Json, encode
from tenfold.engine.origin import version
from tenfold.engine.report.figures import Curve, Figure, Table, axis, scatter
from tenfold.engine.report.page import write_page
from tenfold.engine.run import Run
from tenfold.engine.stats import Interval
from tenfold.parts.mip import measure
from tenfold.rooms.diving import claim_pieces, eval, report
from tenfold.rooms.diving.claim_config import (
    Branch,
    Claim,
    Contest,
    Feasibility,
    Joint,
    Plan,
    make_plan,
)

STATEMENT = Statement(
    room="diving",
    sentence="Networks that learnt from a family of mixed-integer programs find good points of new "
    "instances several times sooner than tuned SCIP (Neural Diving), branch with fewer nodes "
    "(Neural Branching), and together close the gap further.",
    paper="Nair et al. 2020, Solving Mixed Integer Programs Using Neural Networks, "
    "arXiv:2012.13349",
    figure="Six data sets, most of them a company's own: the mean primal-dual gap at long limits "
    "is 2 to 10 times better than tuned SCIP's on all sets but one and 100,000 times on that one; "
    "Neural Diving reaches a mean primal gap of 1 % 3 to 10 times sooner (the latter recalled, "
    "not read).",
)

FEASIBLE = Rule(kind="at_least", margin=0.95, unit="of sub-MIPs with a point")
ABOVE_CHANCE = Rule(kind="at_least", margin=0.1, unit="above chance")
FEWER_NODES = Rule(kind="at_least", margin=1.25, unit="times the nodes")
NO_LATER = Rule(kind="at_least", margin=1.0, unit="times as long")
HALF_GAP = Rule(kind="at_least", margin=2.0, unit="times the gap")
LEAST = {
    ("dive-hooks", "scip-tuned"): 10.0,
    ("dive-hooks", "rens"): 2.0,
    ("dive-hooks-scip", "rens-scip"): 2.0,
    ("dive", "scip-tuned"): 3.0,
    ("dive", "rens"): 1.0,
    ("dive-scip", "rens-scip"): 1.0,
}
"""How many times longer the rival must take; other pairs are shown only."""
DECIDES = ("50x24", "100x48")
"""Sizes at which that decides; the largest one is shown."""
ACCURACY = {"set_cover": 0.85, "facility_location": 0.75}
"""Share of states with many candidates at which one of the first five choices must be best."""


def run_claim(claim: Claim, *, run: Run) -> ClaimResult:
    """Check the claim inside `run` and write claim.json and report.html.

    Goes on where a stopped or killed one was, piece by piece.
    """
    plan = make_plan(claim)
    with run:
        run.introduce({name: str(value) for name, value in estimate(claim).items()})
        pieces = claim_pieces.do_all(plan, claim, run=run)
        result = conclude(claim, plan, pieces, seconds=run.seconds)
        run.write_json("claim.json", to_json(result))
        write_page(run.path / "report.html", claim_page(result))
        if claim.results:
            save_claim(result, Path(claim.results))
    return result


def conclude(
    claim: Claim, plan: Plan, pieces: Mapping[str, list[Json]], *, seconds: float
) -> ClaimResult:
    """Compare by the rules above and put everything into one result."""
    comparisons: list[Comparison] = []
    figures: list[Figure] = []
    tables: list[Table] = []
    for feasibility in plan.feasibility:
        rows = pieces[claim_pieces.name_of(feasibility)]
        comparisons.append(_feasible(feasibility, rows))
        figures.append(_coverage_figure(feasibility, rows))
    for branch in plan.branching:
        rows = pieces[claim_pieces.name_of(branch)]
        comparisons += _branch_comparisons(branch, rows)
        tables.append(_branch_table(branch, rows))
    for contest in plan.contests:
        rows = pieces[claim_pieces.name_of(contest)]
        comparisons += _contest_comparisons(contest, rows)
        tables.append(
            report.method_table(
                eval.summarise(
                    rows, target=contest.target, limit=contest.seconds, longer=dict(contest.longer)
                ),
                target=contest.target,
                limit=contest.seconds,
            )
        )
        title = f"{contest.family} {contest.size}"
        figures.append(report.gap_figure(rows, title=title, limit=contest.seconds))
    for joint in plan.joint:
        rows = pieces[claim_pieces.name_of(joint)]
        comparisons.append(_joint_comparison(joint, rows))
        figures.append(report.primal_dual_figure(rows, limit=joint.seconds))
    return ClaimResult(
        statement=STATEMENT,
        scale=claim.scale,
        comparisons=tuple(comparisons),
        figures=tuple(figures),
        tables=tuple(tables),
        notes=_notes(claim, plan, pieces),
        seconds=seconds,
        seeds=(0,),
        config={"claim": encode(replace(claim, results="")), "plan": encode(plan)},
        command=shlex.join(
            ["tenfold", "diving", "claim", "--scale", claim.scale]
            + (["--retrain"] if claim.retrain else [])
            + (["--at-once", str(claim.at_once)] if claim.at_once > 1 else [])
        ),
        version=version(),
        commit=source_commit(),
        machine=machine_name(),
        date=datetime.date.today().isoformat(),
    )


# Comparisons


def _by_interval(
    name: str, rule: Rule, interval: Interval, effects: Sequence[float], *, primary: bool,
    note: str = "",
) -> Comparison:  # fmt: skip
    """Judge an interval that was made by bootstrap over instances."""
    return Comparison(
        name=name,
        asks=rule.kind,
        margin=rule.margin,
        unit=rule.unit,
        effects=tuple(effects),
        interval=interval,
        smallest_effect=None,
        verdict=decide(rule, interval),
        primary=primary,
        note=note,
    )


def _feasible(plan: Feasibility, rows: Sequence[Json]) -> Comparison:
    """Return whether sub-MIPs have a point: the share over coverages of each instance."""
    shares = [float(np.mean([value < 1.0 for value in row["gaps"]])) for row in rows]
    before = np.mean([row["as_assigned"] for row in rows])
    return compare(
        f"{plan.family} {plan.size}, {plan.network}: sub-MIPs at coverages "
        f"{', '.join(f'{c:.2f}' for c in rows[0]['coverages'])}",
        FEASIBLE,
        shares,
        note=f"{100 * before:.0f} % of them before an elastic LP freed what stood in the way.",
    )


def _branch_comparisons(plan: Branch, rows: Sequence[Json]) -> list[Comparison]:
    name = f"{plan.family} {plan.size}"
    found: list[Comparison] = []
    states = [state for row in rows for state in row.get("states", ())]
    many = [state for state in states if state["candidates"] >= claim_pieces.MANY] or states
    if many:
        found.append(
            compare(
                f"{name}: best score among the first five choices, above chance",
                ABOVE_CHANCE,
                [state["top5"] - state["chance5"] for state in many],
                note=f"{len(many)} states, chance {np.mean([s['chance5'] for s in many]):.2f}.",
            )
        )
        if plan.family in ACCURACY and plan.timed:
            found.append(
                compare(
                    f"{name}: best score among the first five choices",
                    Rule(kind="at_least", margin=ACCURACY[plan.family], unit="of states"),
                    [float(state["top5"]) for state in many],
                )
            )
    found.append(
        _ratio(f"{name}: nodes of pseudo-cost branching against ours", FEWER_NODES, rows,
               "pscost", "nodes", shift=10.0)
    )  # fmt: skip
    if plan.timed:
        found.append(
            _ratio(f"{name}: time of SCIP's default rule against ours", NO_LATER, rows,
                   "relpscost", "seconds", shift=1.0, primary=False)
        )  # fmt: skip
        overhead = [row["learnt"]["overhead_ms"] for row in rows]
        found.append(
            compare(
                f"{name}: milliseconds a node below 3",
                Rule(kind="at_least", margin=0.0, unit="ms below 3"),
                [3.0 - value for value in overhead],
                primary=False,
            )
        )
    return found


def _ratio(
    name: str, rule: Rule, rows: Sequence[Json], rival: str, what: str, *, shift: float,
    primary: bool = True,
) -> Comparison:  # fmt: skip
    """Return how many times more the rival needs, by shifted geometric means over instances."""
    ours = np.array([float(row["learnt"][what]) for row in rows])
    theirs = np.array([float(row[rival][what]) for row in rows])
    draw = eval.bootstrap_rows(len(rows))

    def ratio(chosen: np.ndarray) -> np.ndarray:
        tops, lows = (np.exp(np.log(v[chosen] + shift).mean(axis=-1)) for v in (theirs, ours))
        return np.asarray(np.maximum(tops - shift, 1e-9) / np.maximum(lows - shift, 1e-9))

    low, high = np.quantile(ratio(draw), [0.025, 0.975])
    whole = float(ratio(np.arange(len(rows))[None])[0])
    interval = Interval(estimate=whole, low=float(low), high=float(high))
    unsolved = sum(not row[rule_name]["solved"] for row in rows for rule_name in ("learnt", rival))
    note = f"{unsolved} searches hit the limit and count with what they had." if unsolved else ""
    effects = (theirs + shift) / (ours + shift)
    return _by_interval(name, rule, interval, effects.tolist(), primary=primary, note=note)


def _contest_comparisons(plan: Contest, trials: Sequence[Json]) -> list[Comparison]:
    """Return who reaches the target how many times sooner, for every pair that is judged."""
    best, groups = eval.best_known(trials), eval.by_method(trials)
    found = []
    for (ours, rival), margin in LEAST.items():
        if ours not in groups or rival not in groups:
            continue
        mine, theirs = (eval.primal_curves(groups[method], best) for method in (ours, rival))
        limits = plan.limit(ours), plan.limit(rival)
        interval = eval.ratio_of_times(
            mine, theirs, plan.target, limit=limits[0], their_limit=limits[1]
        )
        times = [
            [min(curve.first_below(plan.target), limit) for curve in side]
            for side, limit in zip((mine, theirs), limits, strict=True)
        ]
        limit = limits[1]
        reached = eval.time_to_mean_gap(theirs, plan.target, limit=limit)
        note = ""
        if not np.isfinite(reached.seconds):
            note = f"{rival} does not get there in {limit:g} s, which counts as its time."
        found.append(
            _by_interval(
                f"{plan.family} {plan.size}: time of {rival} to a mean gap of "
                f"{100 * plan.target:g} % against {ours}",
                Rule(kind="at_least", margin=margin, unit="times as long"),
                interval,
                [b / max(a, 1e-3) for a, b in zip(*times, strict=True)],
                primary=plan.size in DECIDES,
                note=note,
            )
        )
    return found


def _joint_comparison(plan: Joint, trials: Sequence[Json]) -> Comparison:
    groups = eval.by_method(trials)
    ours, theirs = (eval.primal_dual_curves(groups[name]) for name in ("joint", "scip-pair"))
    interval = eval.mean_gap_ratio(ours, theirs, plan.seconds)
    floor = measure.FLOOR
    effects = [
        max(float(b.at(plan.seconds)), floor) / max(float(a.at(plan.seconds)), floor)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return _by_interval(
        f"{plan.family} {plan.size}: mean primal-dual gap of two SCIP seeds against ours after "
        f"{plan.seconds:g} s, two threads each",
        HALF_GAP,
        interval,
        effects,
        primary=True,
    )


# Pictures and words


def _coverage_figure(plan: Feasibility, rows: Sequence[Json]) -> Figure:
    coverages = [float(value) for value in rows[0]["coverages"]]
    table = np.array([row["gaps"] for row in rows])
    shares = (table < 1.0).mean(axis=0).tolist()
    gaps = table.mean(axis=0).tolist()
    return scatter(
        f"Coverage against feasibility, {plan.family} {plan.size}, {plan.network}",
        {
            "share with a point": Curve(x=coverages, y=shares),
            "mean gap": Curve(x=coverages, y=gaps),
        },
        x=axis("coverage", unit="share of slots assigned"),
        y=axis("share, gap"),
        caption="First points of sub-MIPs of unseen instances; gaps are to the best of them, and "
        "1 where there is no point.",
    )


def _branch_table(plan: Branch, rows: Sequence[Json]) -> Table:
    told = []
    for rule in plan.rules:
        some = [row[rule] for row in rows]
        told.append(
            (
                rule,
                measure.shifted_mean([one["nodes"] for one in some], 10.0),
                measure.shifted_mean([one["fair_nodes"] for one in some], 10.0),
                measure.shifted_mean([one["seconds"] for one in some], 1.0),
                sum(one["solved"] for one in some),
                float(np.mean([one["overhead_ms"] for one in some])),
            )
        )
    return Table(
        title=f"Branching on {plan.family} {plan.size}, {len(rows)} instances, cuts at the root",
        columns=("rule", "nodes", "fair nodes", "seconds", "solved", "ms a node"),
        rows=tuple(told),
    )


def _notes(claim: Claim, plan: Plan, pieces: Mapping[str, list[Json]]) -> tuple[str, ...]:
    notes = [
        "Families are generated: the paper's own sets are not public. No network was trained on "
        "test instances; what was seen of them before is said in the room's README.",
        "Networks were trained anew."
        if claim.retrain
        else "Networks are those that ship with "
        "the room (`python -m tenfold.rooms.diving.shipped NAME FOLDER` trains one); "
        "`--retrain` trains them within the claim.",
    ]
    if plan.contests:
        emphasis = pieces["emphasis"][0]
        notes.append(
            "Tuned SCIP has "
            + ", ".join(f"{name} {value}" for name, value in emphasis.items())
            + (
                f", the best of a grid of 18 on {plan.tuned_on} other instances."
                if plan.tuned_on
                else ", found best before on a grid of 18."
            )
        )
        notes.append(
            "LP-RENS and dives solve sub-MIPs by HiGHS, or by SCIP where the name says so; what "
            "LP-RENS wins over tuned SCIP is a change of solver and no learning."
        )
    if claim.at_once > 1:
        notes.append(f"{claim.at_once} timed runs went side by side, one a core.")
    if plan.joint:
        notes.append(
            "The search beside the dive branches by SCIP's own rule: no policy was trained on unit "
            "commitment, whose searches hardly leave the root in this time. So what it shows is "
            "the dive and the exchange, not learned branching."
        )
    if claim.scale == "quick":
        notes.append("Times are not compared at this scale; `--scale laptop` and `full` do that.")
    return tuple(notes)


def estimate(claim: Claim) -> Json:
    """Return the size of the work, for --dry-run."""
    plan = make_plan(claim)
    timed = sum(c.count * len(c.methods) * c.seconds for c in plan.contests)
    timed += sum(2 * j.count * j.seconds for j in plan.joint)
    return {
        "sub_mips": sum(f.count * len(f.factors) for f in plan.feasibility),
        "searches": sum(b.count * len(b.rules) for b in plan.branching),
        "timed_runs": sum(c.count * len(c.methods) for c in plan.contests)
        + sum(2 * j.count for j in plan.joint),
        "timed_minutes_at_most": round(timed / 60),
    }
