from dataclasses import replace

import numpy as np
import pytest

from rooms.diving.branch.nodes import random_graph, random_sample, small_cover, small_search
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_json
from tenfold.rooms.diving.branch import collecting, expert
from tenfold.rooms.diving.branch.collecting import collect_instance, collect_shard
from tenfold.rooms.diving.branch.config import CollectBranch, GraphConvolution
from tenfold.rooms.diving.branch.policy import BranchNet, Policy
from tenfold.rooms.diving.branch.samples import Samples, keep, read_samples, write_samples

pytest.importorskip("pyscipopt")

CFG = CollectBranch(asked_share=0.5, samples=6, nodes=60)


def blank_policy():
    net = BranchNet(GraphConvolution(width=4, depth=1))
    net.measure([random_graph(0)])
    return Policy(net=net.eval(), network=GraphConvolution(width=4, depth=1))


def assert_same(one, two):
    assert one.digest == two.digest
    assert len(one.samples) == len(two.samples) > 0
    for a, b in zip(one.samples, two.samples, strict=True):
        for name in ("columns", "rows", "edge_rows", "edge_columns", "edges", "places"):
            first, second = getattr(a.graph, name), getattr(b.graph, name)
            assert first.dtype == second.dtype
            assert np.array_equal(first, second), name
        assert np.array_equal(a.candidates, b.candidates)
        assert np.array_equal(a.scores, b.scores)
        assert a.depth == b.depth


@pytest.mark.parametrize("driver", ["pscost", "policy"])
def test_a_collection_within_node_limits_can_be_made_again_exactly(driver):
    mip, policy = small_search(), blank_policy() if driver == "policy" else None
    made = [collect_instance(mip, cfg=CFG, seed=1, policy=policy) for _ in range(2)]
    assert_same(*made)
    assert made[0].source["driver"] == driver
    assert made[0].source["repeatable"]
    for sample in made[0].samples:
        broken = sample.graph.columns[sample.candidates, 9]
        assert ((broken > 0) & (broken < 1)).all()
        assert len(sample.candidates) == len(sample.scores) > 1
        assert (sample.scores > 0).all()


def test_never_more_nodes_are_asked_than_wanted_and_all_of_them_if_so_wished():
    mip = small_search()
    few = collect_instance(mip, cfg=replace(CFG, samples=2), seed=0)
    assert len(few.samples) == 2
    every = collect_instance(mip, cfg=replace(CFG, asked_share=1.0, samples=500), seed=0)
    single = every.source["met"] - len(every.samples)
    assert len(every.samples) > 2
    assert 0 <= single <= every.source["met"] / 2  # nodes with one candidate


class Watched:
    """A model that notes which columns are branched on."""

    def __init__(self, model, branched):
        self.model, self.branched = model, branched

    def __getattr__(self, name):
        return getattr(self.model, name)

    def branchVar(self, variable):
        self.branched.append(variable.getCol().getLPPos())
        return self.model.branchVar(variable)


@pytest.mark.parametrize("driver", ["expert", "policy"])
def test_the_expert_is_followed_without_a_policy_and_only_heard_with_one(driver, monkeypatch):
    branched, original = [], collecting._visitor
    policy = blank_policy() if driver == "policy" else None

    def watched(*args, **kwargs):
        visit = original(*args, **kwargs)
        return lambda model: visit(Watched(model, branched))

    monkeypatch.setattr(collecting, "_visitor", watched)
    cfg = replace(CFG, asked_share=1.0, samples=4)
    samples = collect_instance(small_search(), cfg=cfg, seed=0, policy=policy).samples
    assert len(samples) == 4
    liked = [s.scores if policy is None else policy.logits(s.graph, s.candidates) for s in samples]
    best = [int(s.candidates[np.argmax(told)]) for s, told in zip(samples, liked, strict=True)]
    # A node with a single candidate is branched on and not written down.
    assert [place for place in branched if place in best][:4] == best


def test_a_fault_inside_the_search_comes_out_of_it(monkeypatch):
    def fail(*args, **kwargs):  # noqa: ARG001
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(expert, "ask", fail)
    with pytest.raises(ZeroDivisionError, match="deep inside"):
        collect_instance(small_search(), cfg=replace(CFG, asked_share=1.0), seed=0)


def test_the_approximate_expert_mostly_agrees_on_what_is_good():
    mip, cfg = small_cover(), replace(CFG, asked_share=1.0, samples=1, admm_iterations=300)
    exact = collect_instance(mip, cfg=cfg, seed=0).samples[0]
    batched = collect_instance(mip, cfg=replace(cfg, expert="admm"), seed=0).samples[0]
    assert np.array_equal(exact.candidates, batched.candidates)
    assert exact.scores[np.argmax(batched.scores)] >= 0.8 * exact.scores.max()


def test_a_shard_reads_back_and_is_not_collected_twice(tmp_path, monkeypatch):
    mip, path = small_search(), tmp_path / "store" / "7"
    told = collect_shard(path, mip, cfg=CFG, seed=2)
    assert told["samples"] == len(read_samples(path).samples) > 0
    assert_same(read_samples(path), collect_instance(mip, cfg=CFG, seed=2))
    monkeypatch.setattr(collecting, "collect_instance", None)
    assert collect_shard(path, mip, cfg=CFG, seed=2) == told
    with pytest.raises(TenfoldError, match="with other settings"):
        collect_shard(path, mip, cfg=replace(CFG, samples=5), seed=2)
    with pytest.raises(TenfoldError, match="with other settings"):
        collect_shard(path, mip, cfg=CFG, seed=3)


def test_edges_that_stay_are_kept_once(tmp_path):
    first = random_sample(1)
    again = replace(first, graph=keep(first.graph, [first]), depth=9)
    other = random_sample(2)
    assert again.graph.edges is first.graph.edges
    assert again.graph.columns is not first.graph.columns
    samples = Samples(samples=(first, again, other), digest="d", source={"seed": 0})
    write_samples(samples, tmp_path / "s")
    found = read_samples(tmp_path / "s")
    assert_same(found, samples)
    assert found.samples[0].graph.edges is found.samples[1].graph.edges
    assert found.samples[2].graph.edges is not found.samples[1].graph.edges


def test_shards_that_cannot_be_used_are_refused(tmp_path):
    path = tmp_path / "s"
    write_samples(Samples(samples=(random_sample(1),), digest="d", source={}), path)
    told = read_json(path.with_suffix(".json"))
    write_json(path.with_suffix(".json"), told | {"features": 77})
    with pytest.raises(TenfoldError, match="has features 77, this version reads"):
        read_samples(path)
    write_json(path.with_suffix(".json"), told)
    path.with_suffix(".safetensors").write_bytes(b"half")
    with pytest.raises(TenfoldError, match="collect it again"):
        read_samples(path)


def test_settings_that_make_no_sense_are_refused():
    for wrong, word in (
        ({"asked_share": 0.0}, "asked_share"),
        ({"samples": 0}, "samples"),
        ({"nodes": -1}, "nodes"),
        ({"seconds": 0.0}, "seconds"),
    ):
        with pytest.raises(ValueError, match=word):
            replace(CFG, **wrong)
