import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.diving.branch.nodes import random_graph
from tenfold.rooms.diving.branch.config import GraphConvolution, HalfConvolutions
from tenfold.rooms.diving.branch.policy import BranchNet, Policy
from tenfold.rooms.diving.branch.reach import cut_out


@settings(max_examples=30)
@given(seed=st.integers(0, 1_000), depth=st.integers(1, 3), half=st.booleans())
def test_what_is_out_of_reach_has_no_effect_on_a_logit(seed, depth, half):
    graph = random_graph(seed, columns=40, rows=30, share=0.04)
    network = HalfConvolutions(width=4) if half else GraphConvolution(width=4, depth=depth)
    net = BranchNet(network, seed=seed)
    net.measure([random_graph(3)])
    policy = Policy(net=net.eval(), network=network)
    candidates = np.random.default_rng(seed).permutation(40)[:3]
    part, places = cut_out(graph, candidates, hops=2 if half else depth)
    assert len(part.columns) < 40
    assert policy.logits(part, places) == pytest.approx(policy.logits(graph, candidates), abs=1e-5)


def test_a_graph_that_is_all_within_reach_is_returned_as_it_is():
    graph = random_graph(0, share=1.0)
    part, places = cut_out(graph, np.array([4]), hops=2)
    assert part is graph
    assert places.tolist() == [4]
    far, _ = cut_out(graph, np.array([4]), hops=1)
    assert (len(far.columns), len(far.rows)) == (1, len(graph.rows))
