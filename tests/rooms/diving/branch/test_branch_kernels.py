import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.diving.branch.nodes import random_graph, small_cover
from tenfold.engine import kernel
from tenfold.parts.mip import scip
from tenfold.parts.mip.features import encode
from tenfold.parts.mip.lp_state import from_relaxed
from tenfold.rooms.diving.branch.config import GraphConvolution, HalfConvolutions
from tenfold.rooms.diving.branch.kernels import Loops
from tenfold.rooms.diving.branch.policy import BranchNet, Policy
from tenfold.rooms.diving.branch.scoring import find_obstacle, scorer

pytestmark = pytest.mark.skipif(bool(kernel.find_obstacle()), reason="needs compiled loops")


def policy_of(network, graphs, seed=0):
    net = BranchNet(network, seed=seed)
    net.measure(graphs)
    return Policy(net=net.eval(), network=network)


def assert_agree(policy, loops, graph, candidates):
    found, right = loops(graph, candidates), policy.logits(graph, candidates)
    assert np.abs(found - right).max() <= 1e-5 * max(1.0, np.abs(right).max())


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1_000),
    width=st.sampled_from([1, 3, 8, 33]),
    depth=st.integers(1, 4),
    shape=st.sampled_from([(1, 0), (1, 1), (12, 7), (5, 30), (150, 90)]),
    share=st.sampled_from([0.02, 0.3, 1.0]),
    few=st.booleans(),
)
def test_loops_say_what_the_network_says(seed, width, depth, shape, share, few):
    graph = random_graph(seed, columns=shape[0], rows=shape[1], share=share)
    policy = policy_of(GraphConvolution(width=width, depth=depth), [random_graph(7)], seed=seed)
    count = 1 if few else shape[0]
    candidates = np.random.default_rng(seed).permutation(shape[0])[:count]
    assert_agree(policy, Loops(policy.net), graph, candidates)


def test_buffers_serve_graphs_of_any_size_one_after_the_other():
    policy = policy_of(GraphConvolution(width=8, depth=2), [random_graph(0)])
    loops = Loops(policy.net)
    for seed, columns in enumerate((5, 200, 3, 90)):
        graph = random_graph(seed, columns=columns, rows=columns // 2)
        assert_agree(policy, loops, graph, np.arange(0, columns, 2))


def test_loops_agree_on_the_graph_of_an_instance():
    mip = small_cover()
    graph = encode(from_relaxed(mip, scip.relax(mip)))
    policy = policy_of(GraphConvolution(width=32, depth=2), [graph])
    assert not find_obstacle(policy)
    broken = np.flatnonzero(graph.columns[:, 9] > 0)
    assert len(broken) > 1
    assert_agree(policy, scorer(policy), graph, broken)


def test_half_convolutions_are_scored_by_torch():
    graph = random_graph(1)
    policy = policy_of(HalfConvolutions(width=8), [graph])
    assert "HalfConvolutions" in find_obstacle(policy)
    candidates = np.array([2, 5])
    assert np.array_equal(scorer(policy)(graph, candidates), policy.logits(graph, candidates))
