import dataclasses
import json
import math
import re

import plotly.graph_objects as plotly
import pytest
import torch

from tenfold.engine.claim import from_json, summary
from tenfold.engine.config import decode, encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.run import Options, Run
from tenfold.rooms.extremal import alphazero_config
from tenfold.rooms.extremal import claim as module
from tenfold.rooms.extremal.alphazero_config import tiny
from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.claim import (
    LARGE,
    MOORE,
    NAMES,
    conclude,
    edges_of,
    estimate,
    lead,
    make_comparisons,
    mean_lead,
    missed,
    run_claim,
)
from tenfold.rooms.extremal.claim_config import Claim, Contest, Exact, Plan, Walk, make_plan
from tenfold.rooms.extremal.claim_figures import mean_staircase
from tenfold.rooms.extremal.claim_pieces import ContestTask, do_task, make_tasks
from tenfold.rooms.extremal.codecs import decode_graph
from tenfold.rooms.extremal.compare_config import CONTENDERS
from tenfold.rooms.extremal.contend import open_learner
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.report import write_report
from tenfold.rooms.extremal.verify import find_faults

torch.set_num_threads(1)

SCALES = ("quick", "laptop", "full", "gpu")
METHODS = ("tabu-curriculum", "az-curriculum", "az", "ce")
PLAN = Plan(
    seeds=(0, 1, 2),
    walks=tuple(Walk(nodes=nodes, flips=100) for nodes in (40, 50, 64)),
    arms=("curriculum", "scratch", "returning"),
    contests=(
        Contest(nodes=16, seconds=9.0, methods=METHODS),
        Contest(nodes=12, seconds=9.0, methods=METHODS),
        Contest(nodes=20, seconds=9.0, methods=("tabu-curriculum", "ce")),
    ),
    contest_seeds=3,
    exact=Exact(),
    exact_seeds=3,
)


# Pieces by hand: edges of each seed.


def walk(nodes, arm, edges):
    return [
        {"part": "walk", "nodes": nodes, "arm": arm, "seed": seed, "edges": value, "flips": 100,
         "seconds": 1.0, "curve": [[10, 0.1, value - 1], [50, 0.5, value]]}
        for seed, value in enumerate(edges)
    ]  # fmt: skip


def contest(nodes, method, edges):
    return [
        {"part": "contest", "nodes": nodes, "method": method, "seed": seed, "edges": value,
         "flips": 100, "seconds": 9.0, "processor_seconds": 8.0, "curve": [[10, 0.1, value]]}
        for seed, value in enumerate(edges)
    ]  # fmt: skip


def exact(seed, short=()):
    rows = [
        {"nodes": n, "exact": 9, "edges": 9 - (n in short), "flips": 10 + n, "seconds": 0.1}
        for n in Exact().sizes
    ]
    return {"part": "exact", "seed": seed, "rows": rows, "seconds": 5.0}


def pieces_with(*others):
    """All searches of PLAN at equal edges, but for those given."""
    found = [p for n in (40, 50, 64) for arm in PLAN.arms for p in walk(n, arm, [99, 99, 99])]
    found += [p for c in PLAN.contests for m in c.methods for p in contest(c.nodes, m, [9, 9, 9])]
    found += [exact(seed) for seed in PLAN.seeds]
    named = {name_of(piece): piece for piece in found}
    named |= {name_of(piece): piece for other in others for piece in other}
    return list(named.values())


def name_of(piece):
    return tuple(piece.get(fact) for fact in ("part", "nodes", "arm", "method", "seed"))


def comparison(pieces, *words):
    (found,) = [c for c in make_comparisons(pieces, PLAN) if all(word in c.name for word in words)]
    return found


WALK = ("64 nodes", "tabu from scratch")


def judged(ours, theirs, *, nodes=64, rival="scratch", words=WALK):
    found = pieces_with(walk(nodes, "curriculum", ours), walk(nodes, rival, theirs))
    (result,) = [
        c for c in make_comparisons(found, PLAN)
        if c.name.startswith(words[0]) and c.name.endswith(words[1])
    ]  # fmt: skip
    return result


def test_leads_are_paired_by_seed():
    assert lead({2: 10, 0: 7}, {0: 5, 2: 11}) == [2.0, -1.0]
    assert lead({0: 7}, {0: 5, 1: 4}) == [2.0, None]


def test_mean_leads_are_taken_over_sizes_and_need_all_of_them():
    assert mean_lead([[1.0, 2.0], [3.0, 0.0]]) == [2.0, 1.0]
    assert mean_lead([[1.0, None], [3.0, 0.0]]) == [2.0, None]


def test_edges_are_picked_by_all_facts():
    found = pieces_with(walk(40, "scratch", [1, 2, 3]))
    assert edges_of(found, part="walk", nodes=40, arm="scratch") == {0: 1, 1: 2, 2: 3}
    assert edges_of(found, part="walk", nodes=40, arm="curriculum") == {0: 99, 1: 99, 2: 99}


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([229, 229, 230], "holds"),
        ([227, 227, 227], "holds"),  # the margin itself
        ([226, 226, 226], "does not hold"),
        ([225, 229, 226], "undecided"),
    ],
)
def test_from_64_nodes_on_the_curriculum_must_have_two_edges_more(ours, verdict):
    found = judged(ours, [225, 225, 225])
    assert found.verdict == verdict
    assert found.primary


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([118, 118, 118], "does not hold"),
        ([119, 119, 119], "holds"),
        ([120, 120, 120], "holds"),
        ([117, 121, 120], "undecided"),
    ],
)
def test_at_40_nodes_the_curriculum_may_be_one_edge_worse(ours, verdict):
    found = judged(ours, [120, 120, 120], nodes=40, words=("40 nodes", "tabu from scratch"))
    assert found.verdict == verdict
    assert found.primary


def test_the_moore_graph_and_the_rival_that_returns_are_shown_only():
    found = judged([171] * 3, [175] * 3, nodes=MOORE, words=("50 nodes", "tabu from scratch"))
    assert (found.verdict, found.primary) == ("does not hold", False)
    found = judged([1] * 3, [2] * 3, rival="returning", words=("64 nodes", "when idle"))
    assert (found.verdict, found.primary) == ("does not hold", False)


def test_cross_entropy_is_met_on_the_largest_shared_size():
    found = pieces_with(
        contest(20, "tabu-curriculum", [41, 41, 41]),
        contest(20, "ce", [36, 35, 37]),
        contest(16, "az-curriculum", [27, 28, 28]),
        contest(16, "ce", [24, 25, 25]),
    )
    tabu = comparison(found, "tabu with curriculum against cross-entropy")
    assert (tabu.name[:8], tabu.effects, tabu.verdict) == ("20 nodes", (5.0, 6.0, 4.0), "holds")
    learned = comparison(found, "AlphaZero with curriculum against cross-entropy")
    assert (learned.name[:8], learned.effects) == ("16 nodes", (3.0, 3.0, 3.0))
    assert tabu.primary
    assert learned.primary


def test_tabu_meets_alphazero_on_the_mean_of_all_shared_sizes():
    found = pieces_with(
        contest(12, "az-curriculum", [9, 9, 9]), contest(16, "az-curriculum", [10, 10, 10])
    )
    result = comparison(found, "tabu with curriculum against AlphaZero")
    assert result.name.startswith("12, 16 nodes")
    assert result.effects == (-0.5, -0.5, -0.5)
    assert (result.verdict, result.primary) == ("holds", True)
    worse = pieces_with(contest(16, "az-curriculum", [11, 11, 11]))
    assert comparison(worse, "tabu with curriculum against AlphaZero").verdict == "does not hold"


def test_a_plan_without_alphazero_says_nothing_about_it():
    plan = dataclasses.replace(PLAN, contests=PLAN.contests[-1:])
    result = conclude(Claim(), plan, pieces_with(), seconds=1.0)
    assert not [c for c in result.comparisons if "AlphaZero" in c.name]
    assert any("from the laptop scale on" in note for note in result.notes)


def test_one_missed_size_in_one_seed_does_not_pass():
    assert missed(exact(0, short=(7, 33))) == 2
    assert comparison(pieces_with(), "exact value").verdict == "holds"
    once = comparison(pieces_with([exact(0, short=(7,))]), "exact value")
    assert (once.effects, once.verdict) == ((1.0, 0.0, 0.0), "undecided")
    always = [[exact(seed, short=(7,))] for seed in PLAN.seeds]
    assert comparison(pieces_with(*always), "exact value").verdict == "does not hold"


def test_a_seed_without_a_rival_gives_no_effect_and_is_told():
    found = [p for p in pieces_with() if (p.get("arm"), p["seed"]) != ("scratch", 1)]
    (result,) = [
        c for c in make_comparisons(found, PLAN)
        if c.name.startswith("64") and c.name.endswith("from scratch")
    ]  # fmt: skip
    assert result.effects == (0.0, None, 0.0)
    assert "1 of 3 seeds" in result.note


# What the scales fix


@pytest.mark.parametrize("scale", SCALES)
def test_every_plan_can_decide_all_that_is_claimed(scale):
    plan = make_plan(Claim(scale=scale))
    assert {"curriculum", "scratch"} <= set(plan.arms)
    assert min(walk.nodes for walk in plan.walks) < LARGE <= max(walk.nodes for walk in plan.walks)
    assert all({"tabu-curriculum", "ce"} <= set(contest.methods) for contest in plan.contests)
    assert {m for contest in plan.contests for m in contest.methods} <= set(NAMES) & set(CONTENDERS)
    assert all(contest.flips == 0 for contest in plan.contests)
    assert plan.exact.sizes == range(3, 54)
    assert 3 <= min(plan.contest_seeds, plan.exact_seeds) <= len(plan.seeds)
    assert decode(Plan, json.loads(json.dumps(encode(plan)))) == plan


@pytest.mark.parametrize("scale", SCALES)
def test_every_search_has_a_file_of_its_own(scale):
    plan = make_plan(Claim(scale=scale))
    tasks = make_tasks(plan)
    walks = len(plan.walks) * len(plan.arms) * len(plan.seeds)
    contests = plan.contest_seeds * sum(len(contest.methods) for contest in plan.contests)
    assert (
        len(tasks)
        == walks + contests + plan.exact_seeds
        == estimate(Claim(scale=scale))["searches"]
    )
    assert all(re.fullmatch(r"[\w-]+", key) for key in tasks)


def test_no_worker_is_no_claim():
    with pytest.raises(ValueError, match=r"workers \(0\) must be at least 1"):
        Claim(workers=0)


def test_a_mean_staircase_waits_for_every_seed():
    curves = [[[1, 0.5, 10], [4, 2.0, 12]], [[2, 1.0, 20]]]
    means = mean_staircase(curves, [0.5, 1, 2, 3, 4, 9], column=0)
    assert [math.isnan(value) for value in means] == [True, True, False, False, False, False]
    assert means[2:] == [15, 15, 16, 16]
    assert mean_staircase(curves, [2.0], column=1) == [16]


# Single searches


@pytest.mark.parametrize("method", ["az", "az-curriculum"])
def test_alphazero_ends_when_no_more_edges_are_possible(method, monkeypatch):
    small = tiny()
    monkeypatch.setattr(alphazero_config, "AlphaZeroConfig", lambda: small)
    contest = Contest(nodes=5, seconds=1.0, methods=(method,), flips=1_000_000)
    piece = do_task(ContestTask(contest=contest, method=method, seed=0))
    assert piece["edges"] == decode_graph(piece["graph6"]).size == 5
    assert piece["flips"] < 1_000_000
    assert piece["curve"][-1][2] == 5


def test_only_the_curriculum_plays_on_smaller_sizes_and_a_gpu_has_a_recipe_of_its_own():
    def game(method, **more):
        return open_learner(method, Problem(nodes=8), seed=3, **more).cfg

    assert (game("az").sizes, game("az").curriculum) == ((8,), False)
    assert (game("az-curriculum").sizes, game("az-curriculum").seed) == ((5, 6, 7, 8), 3)
    assert game("az-curriculum", gpu=True).games > game("az-curriculum").games


def test_a_learner_that_has_reached_its_limit_stops_after_the_step_at_hand():
    contest = Contest(nodes=8, seconds=9.0, methods=("ce",), flips=1)
    piece = do_task(ContestTask(contest=contest, method="ce", seed=0))
    assert piece["flips"] == 1_000 * 28
    assert len(piece["curve"]) == 1


# A whole claim in seconds


TINY = Plan(
    seeds=(0, 1),
    walks=(Walk(nodes=14, flips=3_000), Walk(nodes=66, flips=6_000)),
    arms=("curriculum", "scratch", "returning"),
    contests=(Contest(nodes=6, seconds=1.0, methods=("tabu-curriculum", "tabu", "ce"), flips=400),),
    contest_seeds=2,
    exact=Exact(last=9, flips=4_000),
    exact_seeds=2,
)


def open_claim(path):
    asked = Claim(workers=1)
    if (path / "config.json").exists():
        return asked, Run.resume(path, asked, options=Options(quiet=True))
    options = Options(quiet=True)
    return asked, Run.create(asked, room="extremal", verb="claim", options=options, path=path)


def check(path):
    asked, run = open_claim(path)
    return run_claim(asked, run=run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the directory of a whole claim and what it found."""
    path = tmp_path_factory.mktemp("claim") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_plan", lambda _claim: TINY)
        return path, check(path)


def pieces_in(path):
    return {file.stem: read_json(file) for file in (path / "out" / "pieces").iterdir()}


def test_a_claim_ends_with_a_result_that_reads_back(whole):
    path, result = whole
    again = from_json(read_json(path / "out" / "claim.json"))
    assert again == result
    assert {c.name for c in again.comparisons} == set(summary(result)["comparisons"])
    assert again.command == "tenfold extremal claim --scale quick"


def test_every_graph_of_a_claim_is_legal_and_has_the_edges_that_are_told(whole):
    graphs = [piece for piece in pieces_in(whole[0]).values() if "graph6" in piece]
    assert len(graphs) == 2 * (2 * 3 + 3)
    for piece in graphs:
        graph = decode_graph(piece["graph6"])
        assert graph.size == piece["edges"] <= known("C3,C4")[graph.nodes].upper
        assert not find_faults(graph, Problem(nodes=piece["nodes"]))


def test_equal_flips_are_equal_and_the_curriculum_counts_all_its_sizes(whole):
    for key, piece in pieces_in(whole[0]).items():
        if key.startswith("walk-66"):
            assert 6_000 <= piece["flips"] <= 6_000 + 4 * 62
            # Half a per mille of the flips is all that any one start gets.
            late = piece["curve"][0][0] > 5_000
            assert late == (piece["arm"] == "curriculum")


def test_the_effects_are_the_differences_of_the_pieces(whole):
    found = pieces_in(whole[0])
    ours, theirs = (
        [found[f"walk-66-{arm}-s{s}"]["edges"] for s in (0, 1)] for arm in TINY.arms[:2]
    )
    (result,) = [
        c for c in whole[1].comparisons if c.name.startswith("66") and "idle" not in c.name
    ]
    assert result.effects == tuple(float(a - b) for a, b in zip(ours, theirs, strict=True))


def test_the_report_of_a_claim_is_made_again_with_figures_that_plotly_accepts(whole):
    page = (whole[0] / "report.html").read_text(encoding="utf-8")
    islands = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert len(islands) >= 5 + 2
    for island in islands:
        figure = json.loads(island)
        plotly.Figure(data=figure["data"], layout=figure["layout"])
    assert write_report(whole[0]).read_text(encoding="utf-8") == page
    assert "Cross-entropy counts" in page


def test_a_claim_that_was_cut_off_makes_only_the_searches_that_are_missing(
    whole, tmp_path, monkeypatch
):
    path, left, done = tmp_path / "cut", [5], []

    def mortal(task):
        if len(done) == left[0]:
            raise KeyboardInterrupt
        done.append(task)
        return do_task(task)

    monkeypatch.setattr(module, "make_plan", lambda _claim: TINY)
    monkeypatch.setattr(module, "do_task", mortal)
    with pytest.raises(KeyboardInterrupt):
        check(path)
    with pytest.raises(TenfoldError, match="claim cut is unfinished; `tenfold runs resume cut`"):
        write_report(path)
    left[0] = 1_000
    result = check(path)
    assert done == list(make_tasks(TINY).values())
    assert [c.effects for c in result.comparisons] == [c.effects for c in whole[1].comparisons]


def test_results_are_kept_beside_those_of_other_scales(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "make_plan", lambda _claim: TINY)
    monkeypatch.setattr(module, "search_all", lambda _plan, _claim, _run: list(ordered(whole[0])))
    asked = Claim(results=str(tmp_path / "claims"))
    options = Options(quiet=True)
    run = Run.create(asked, room="extremal", verb="claim", options=options, path=tmp_path / "kept")
    run_claim(asked, run=run)
    saved = read_json(tmp_path / "claims" / "extremal.json")
    assert list(saved["scales"]) == ["quick"]
    assert saved["scales"]["quick"]["config"]["claim"]["results"] == ""


def ordered(path):
    found = pieces_in(path)
    return (found[key] for key in make_tasks(TINY))
