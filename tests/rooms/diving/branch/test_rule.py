from dataclasses import replace

import numpy as np
import pytest

from rooms.diving.branch.nodes import random_graph, small_cover, small_search
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import scip
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving.branch import comparing, rule
from tenfold.rooms.diving.branch.comparing import count_findings, search
from tenfold.rooms.diving.branch.config import Branching, GraphConvolution, HalfConvolutions
from tenfold.rooms.diving.branch.policy import BranchNet, Policy
from tenfold.rooms.diving.branch.rule import flatness, include, search_settings

pytest.importorskip("pyscipopt")

LIMITS = Limits(nodes=400)


def blank_policy(network=GraphConvolution(width=4, depth=2)):  # noqa: B008
    net = BranchNet(network)
    net.measure([random_graph(0)])
    return Policy(net=net.eval(), network=network)


@pytest.mark.parametrize("network", [GraphConvolution(width=4), HalfConvolutions(width=4)])
@pytest.mark.parametrize("mip", [small_search(), small_cover(rows=60, columns=120)])
def test_any_policy_ends_at_the_same_optimum(mip, network):
    right = scip.solve(mip).objective
    found = search(mip, "learnt", policy=blank_policy(network))
    assert found.solved.status == "optimal"
    assert found.solved.objective == pytest.approx(right, rel=1e-6)
    assert found.tally.calls == found.tally.branched + found.tally.few > 0
    assert found.fair_nodes == found.solved.nodes


def test_the_rule_branches_where_its_logits_are_largest(monkeypatch):
    seen = []

    def score(graph, places):
        logits = -graph.columns[places, 4]  # the cheapest candidate
        seen.append((graph.columns[places, 4].copy(), places.copy(), graph.places.copy()))
        return logits

    monkeypatch.setattr(rule, "scorer", lambda _policy: score)
    branched = []
    original = rule._Variables.find

    def find(self, model, graph, place):
        branched.append((place, original(self, model, graph, place).getCol().getLPPos()))
        return original(self, model, graph, place)

    monkeypatch.setattr(rule._Variables, "find", find)
    search(small_search(), "learnt", policy=blank_policy(), limits=LIMITS)
    assert len(branched) > 5
    for (costs, places, _), (place, position) in zip(seen, branched, strict=True):
        assert place == position == places[np.argmin(costs)]


@pytest.mark.parametrize(
    ("cfg", "field"),
    [
        (Branching(deepest=0), "deep"),
        (Branching(flatness=0.0), "flat"),
        (Branching(fewest=999), "few"),
    ],
)
def test_nodes_that_are_not_for_the_policy_are_left_to_scip_and_counted(cfg, field):
    mip = small_search()
    found = search(mip, "learnt", policy=blank_policy(), branching=cfg)
    left = getattr(found.tally, field)
    assert left > 0
    assert found.tally.calls == left + found.tally.branched
    assert (found.tally.branched == 1) == (field == "deep")
    if field != "deep":
        plain = search(mip, "relpscost")
        assert found.solved.nodes == plain.solved.nodes


def test_flatness_is_the_share_of_the_largest_entropy():
    assert flatness(np.zeros(7, dtype=np.float32)) == pytest.approx(1.0)
    assert flatness(np.array([50.0, 0.0, 0.0])) == pytest.approx(0.0, abs=1e-12)
    weights = np.array([0.5, 0.25, 0.25])
    entropy = -(weights * np.log(weights)).sum() / np.log(3)
    assert flatness(np.log(weights)) == pytest.approx(entropy)
    assert flatness(np.array([3.0])) == 1.0


def test_a_fault_of_the_policy_comes_out_of_the_search(monkeypatch):
    def fail(graph, places):  # noqa: ARG001
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(rule, "scorer", lambda _policy: fail)
    with pytest.raises(ZeroDivisionError, match="deep inside"):
        search(small_search(), "learnt", policy=blank_policy())


def test_a_family_unlike_training_is_told():
    policy = blank_policy()
    policy.net.column_norm.shift[16] = -30.0
    found = search(small_search(), "learnt", policy=policy, limits=LIMITS)
    assert found.tally.mismatch.startswith("'LP value' has a mean of 0.")
    assert "the 30 that the policy was trained on" in found.tally.mismatch
    assert found.tally.seconds > 0
    assert found.tally.seconds_per_call == found.tally.seconds / found.tally.calls


def test_root_cuts_only_leaves_no_separation_below_the_root_and_no_restart():
    mip = small_search()
    model = scip.build(mip)
    tally = include(model, blank_policy(), cfg=Branching())
    rows = []

    def look(self, *args, _original=rule._Variables.find):
        rows.append((args[0].getDepth(), args[0].getNLPRows(), args[0].getNRuns()))
        return _original(self, *args)

    patch = pytest.MonkeyPatch()
    patch.setattr(rule._Variables, "find", look)
    scip.solve(mip, model=model, settings=search_settings("root"), limits=LIMITS)
    model.freeProb()
    patch.undo()
    tally.check()
    below = [count for depth, count, _ in rows if depth > 0]
    assert len(below) > 3
    assert max(below) <= rows[0][1]
    assert {runs for _, _, runs in rows} == {1}


def test_strong_branching_is_charged_for_what_it_finds_and_pseudo_costs_find_nothing():
    mip = small_cover()
    strong = search(mip, "vanillafullstrong")
    plain = search(mip, "pscost")
    assert strong.fair_nodes > strong.solved.nodes
    assert (strong.fair_nodes - strong.solved.nodes) % 2 == 0
    assert plain.fair_nodes == plain.solved.nodes
    assert strong.solved.objective == pytest.approx(plain.solved.objective)


def test_what_cannot_be_compared_is_refused(monkeypatch):
    mip = small_search()
    with pytest.raises(TenfoldError, match=r"unknown branching rule 'psocst'.*pscost"):
        search(mip, "psocst")
    with pytest.raises(TenfoldError, match="needs a policy"):
        search(mip, "learnt")
    monkeypatch.setattr(comparing.scip_library, "find_library", lambda: None)
    with pytest.raises(TenfoldError, match="fair nodes cannot be counted"):
        count_findings(scip.build(mip))


def test_rules_that_make_no_sense_are_refused():
    for wrong in ({"deepest": -2}, {"flatness": 1.5}, {"fewest": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(Branching(), **wrong)
