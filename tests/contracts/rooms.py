"""How the contract makes each room's tiny run; a later room adds its entry to ROOMS."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deadly import bits_of


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What differs between rooms."""

    in_a_step: str
    """Function, "module:name" where it is looked up, that is called in the midst of each step."""
    options: Callable[[Path], tuple[str, ...]] = lambda _folder: ()
    """Writes the input of the tiny run into an empty folder and returns its options."""
    verb: str = "train"
    """The verb that has the recipes."""
    with_workers: Callable[[int, Path, Path], Any] | None = None
    """Does the work of a verb that has `workers`: takes their number, a new directory and a
    folder of text; returns what must not depend on the number."""


def jumprelu_matrix(folder):
    file = folder / "x.npy"
    np.save(file, np.random.default_rng(0).standard_normal((400, 8)).astype("float32"))
    return ("--data.path", str(file))


def jumprelu_claim(workers, path, text):
    """Check the claim in seconds, on a model that has learnt next to nothing."""
    from tenfold.engine.files import read_json
    from tenfold.engine.run import Options, Run
    from tenfold.parts.sae import subject_config
    from tenfold.rooms.jumprelu import claim, claim_config

    asked = claim_config.Claim(workers=workers)
    plan = replace(
        claim_config.make_plan(asked),
        subject=subject_config.tiny(str(text)),
        sites=("blocks.0",),
        width=32,
        target_l0=(2.0, 4.0),
        matched_l0=(3.0,),
        seeds=(0, 1),
        rows=8 * 128,
        batch=128,
        tokens=4_000,
        loss_tokens=2_048,
    )
    run = Run.create(asked, room="jumprelu", verb="claim", options=Options(quiet=True), path=path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "make_plan", lambda _claim: plan)
        claim.run_claim(asked, run=run)
    measured = {file.name: read_json(file) for file in (run.out / "pieces").iterdir()}
    return measured, {arm.name: bits_of(arm) for arm in (path / "arms").iterdir()}


def scope_text(folder):
    """Write text enough for both splits of a tiny model."""
    from conftest import write_text

    write_text(folder)
    return ("--subject.text", str(folder))


def scope_suite(workers, path, text):
    """Make a tiny suite with its evaluation and pages."""
    from tenfold.engine.run import Options, Run
    from tenfold.rooms.scope import config
    from tenfold.rooms.scope.run import train
    from tenfold.rooms.scope.trainer import UNITS

    cfg = config.tiny()
    cfg = replace(
        cfg, subject=replace(cfg.subject, text=str(text)), workers=str(workers), threads=1
    )
    run = Run.create(
        cfg, room="scope", verb="suite", units=UNITS, options=Options(quiet=True), path=path
    )
    train(cfg, run=run)
    suite = run.out / "suite"
    return {
        str(file.relative_to(suite)): file.read_bytes()
        for file in suite.rglob("*")
        if file.is_file()
    }


def extremal_ladder(workers, path, _text):
    """Hunt over small sizes; return the table, the tensors and what the archive has."""
    from tenfold.engine.files import read_json
    from tenfold.engine.run import Options, Run
    from tenfold.rooms.extremal import config
    from tenfold.rooms.extremal.archive import Archive
    from tenfold.rooms.extremal.run import ladder_run

    cfg = config.Ladder(first=18, last=24, pieces=12, piece_flips=4_000, workers=str(workers))
    units, options = config.LADDER_UNITS, Options(quiet=True)
    run = Run.create(cfg, room="extremal", verb="ladder", units=units, options=options, path=path)
    ladder_run(cfg, run=run)
    archive = Archive(run.out / "archive")
    finds = [
        (find.graph, find.start, find.flips) for n in archive.nodes() for find in archive.finds(n)
    ]
    return read_json(run.out / "records.json"), bits_of(path), finds


def extremal_claim(workers, path):
    """Check the claim in seconds, all budgets counted; return the pieces without their times."""
    from tenfold.engine.files import read_json
    from tenfold.engine.run import Options, Run
    from tenfold.rooms.extremal import claim
    from tenfold.rooms.extremal.claim_config import Claim, Contest, Exact, Plan, Walk

    plan = Plan(
        seeds=(0, 1),
        walks=(Walk(nodes=40, flips=4_000), Walk(nodes=64, flips=4_000)),
        arms=("curriculum", "scratch"),
        contests=(Contest(nodes=6, seconds=1.0, methods=("tabu-curriculum", "ce"), flips=1),),
        contest_seeds=1,
        exact=Exact(last=9, flips=2_000),
        exact_seeds=2,
    )
    asked = Claim(workers=workers)
    run = Run.create(asked, room="extremal", verb="claim", options=Options(quiet=True), path=path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "make_plan", lambda _claim: plan)
        result = claim.run_claim(asked, run=run)
    pieces = {file.name: untimed(read_json(file)) for file in (run.out / "pieces").iterdir()}
    return pieces, [found.effects for found in result.comparisons]


def untimed(piece):
    """Leave out of a piece of the claim, and of its rows and curves, what a clock has said."""
    kept = {name: value for name, value in piece.items() if not name.endswith("seconds")}
    if "rows" in kept:
        kept["rows"] = [untimed(row) for row in kept["rows"]]
    if "curve" in kept:
        kept["curve"] = [(flips, edges) for flips, _, edges in kept["curve"]]
    return kept


def extremal_work(workers, path, text):
    """Do the work of both verbs that have workers."""
    return extremal_ladder(workers, path / "ladder", text), extremal_claim(workers, path / "claim")


def diving_store(folder):
    """Label a few small instances, with budgets that are counted."""
    from tenfold.parts.mip import families
    from tenfold.rooms.diving.dive.collecting import label
    from tenfold.rooms.diving.dive.config import CollectDive
    from tenfold.rooms.diving.dive.store import write_labelled

    family = families.find_family("facility_location")
    for seed in range(6):
        mip = family.make(seed, customers=6, facilities=5)
        cfg = CollectDive(nodes=20)
        write_labelled(label(mip, key=f"f{seed}", cfg=cfg), folder / "store")
    return ("dive", str(folder / "store"))


def diving_claim(workers, path, _text):
    """Check the claim on tiny instances with untrained networks; leave out what a clock said."""
    from tenfold.engine.files import read_json
    from tenfold.engine.run import Options, Run
    from tenfold.rooms.diving import claim, shipped
    from tenfold.rooms.diving.claim_config import Branch, Claim, Plan

    plan = Plan(
        branching=(
            Branch(
                family="set_cover",
                size="small",
                count=2,
                seconds=20.0,
                states=2,
                rules=("learnt", "pscost"),
                network="set_cover-branch",
            ),
        ),
    )
    asked = Claim(workers=workers)
    run = Run.create(asked, room="diving", verb="claim", options=Options(quiet=True), path=path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "make_plan", lambda _claim: plan)
        patch.setattr(shipped, "make_instance", small_cover)
        result = claim.run_claim(asked, run=run)
    pieces = {}
    for file in (run.out / "pieces").iterdir():
        piece = read_json(file)
        for rule in plan.branching[0].rules:
            piece[rule] = {name: piece[rule][name] for name in ("nodes", "objective", "solved")}
        pieces[file.name] = piece
    return pieces, [found.effects for found in result.comparisons]


def small_cover(_family, _size, seed):
    """Return an instance that takes SCIP no second."""
    from tenfold.parts.mip import families

    return families.find_family("set_cover").make(seed, rows=120, columns=240)


def vdn_compare(workers, path, _text):
    """Train two architectures of different structure on one task."""
    from tenfold.engine.files import read_json
    from tenfold.engine.run import Options, Run
    from tenfold.rooms.vdn import compare, compare_config

    cfg = replace(compare_config.tiny(), archs=("ind", "v.s", "v.c"), workers=workers, stack=2)
    run = Run.create(cfg, room="vdn", verb="compare", options=Options(quiet=True), path=path)
    compare.compare_run(cfg, run=run)
    return read_json(run.out / "compare.json")


ROOMS = {
    "vdn": Entry(
        in_a_step="tenfold.rooms.vdn.trainer:block_of",
        with_workers=vdn_compare,
    ),
    "jumprelu": Entry(
        options=jumprelu_matrix,
        in_a_step="tenfold.rooms.jumprelu.trainer:learning_rate",
        with_workers=jumprelu_claim,
    ),
    "scope": Entry(
        verb="suite",
        options=scope_text,
        in_a_step="tenfold.rooms.jumprelu.trainer:learning_rate",
        with_workers=scope_suite,
    ),
    "diving": Entry(
        options=diving_store,
        in_a_step="tenfold.rooms.diving.dive.training:learning_rate",
        with_workers=diving_claim,
    ),
    "extremal": Entry(
        verb="search",
        in_a_step="tenfold.rooms.extremal.search:play_round",
        with_workers=extremal_work,
    ),
}
