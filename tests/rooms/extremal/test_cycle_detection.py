import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.rooms.extremal import cycles


def drawn(nodes, *, count=40, seed=0):
    return cycles.draw_examples(count, nodes=nodes, generator=np.random.default_rng(seed))


def short_cycles(matrix):
    return list(networkx.simple_cycles(networkx.from_numpy_array(matrix), length_bound=4))


def edges_of(found):
    return {
        frozenset(pair) for ring in found for pair in zip(ring, [*ring[1:], ring[0]], strict=True)
    }


@given(nodes=st.integers(2, 9), seed=st.integers(0, 10_000), share=st.floats(0.1, 0.6))
def test_edges_on_short_cycles_agree_with_a_list_of_all_cycles(nodes, seed, share):
    upper = np.triu(np.random.default_rng(seed).random((nodes, nodes)) < share, k=1)
    matrix = (upper | upper.T).astype(np.uint8)
    found = cycles.edges_on_short_cycles(matrix[None])[0]
    expected = edges_of(short_cycles(matrix))
    assert {frozenset(pair) for pair in np.argwhere(found).tolist()} == expected


@pytest.mark.parametrize("nodes", [8, 16, 24])
def test_every_second_graph_has_exactly_one_short_cycle_and_the_others_none(nodes):
    examples = drawn(nodes)
    counts = [len(short_cycles(matrix)) for matrix in examples.adjacency]
    assert counts == [0, 1] * 20
    assert examples.cyclic.tolist() == [False, True] * 20


def test_planted_cycles_have_three_edges_about_as_often_as_four():
    examples = drawn(16, count=400)
    lengths = examples.edges[examples.cyclic].sum(axis=(1, 2)) // 2
    assert set(lengths) == {3, 4}
    assert 0.35 < (lengths == 3).mean() < 0.65


def test_numbers_of_edges_do_not_tell_the_label():
    examples = drawn(16, count=2_000)
    edges = examples.adjacency.sum(axis=(1, 2), dtype=int) // 2
    with_cycle, without = edges[examples.cyclic], edges[~examples.cyclic]
    error = np.hypot(with_cycle.std(), without.std()) / 1_000**0.5
    assert abs(with_cycle.mean() - without.mean()) < 4 * error


def test_on_few_nodes_a_graph_in_which_nothing_can_be_planted_stays_without_a_cycle():
    examples = drawn(3)
    assert not examples.cyclic.any()
    assert examples.adjacency.sum(axis=(1, 2)).min() > 0


def test_inputs_hold_the_adjacency_and_the_diagonal_and_nothing_else():
    examples = drawn(8, count=3)
    pairs, scalars = cycles.as_inputs(examples.adjacency)
    np.testing.assert_array_equal(pairs[..., 0], examples.adjacency)
    np.testing.assert_array_equal(pairs[..., 2], np.broadcast_to(np.eye(8), (3, 8, 8)))
    assert not pairs[..., [1, 3, 4, 5]].any()
    assert not scalars.any()


def test_accuracy_is_one_for_a_network_that_counts_and_a_half_for_one_that_says_yes():
    examples = drawn(8)

    class Counting(torch.nn.Module):
        def forward(self, pairs, _scalars):
            said = cycles.edges_on_short_cycles(pairs[..., 0].numpy().astype(np.uint8))
            return pairs[:, 0, :, 0], torch.from_numpy(said.sum(axis=(1, 2)) - 0.5)

    class Yes(torch.nn.Module):
        def forward(self, pairs, _scalars):
            return pairs[:, 0, :, 0], torch.ones(len(pairs))

    assert cycles.measure_accuracy(Counting(), examples) == 1.0
    assert cycles.measure_accuracy(Yes(), examples) == 0.5


@pytest.mark.parametrize("kind", ["pairnet", "resnet"])
def test_training_is_decided_by_its_seed(kind):
    def train(seed):
        return cycles.train_detector(kind, steps=3, seed=seed, batch=4, test_graphs=8)

    first, again, other = train(0), train(0), train(1)
    assert first.loss == again.loss != other.loss
    assert first.accuracy == again.accuracy
    assert set(first.accuracy) == {16, 20, 24}


@pytest.mark.slow
def test_pairnet_trained_on_16_nodes_is_right_on_24_where_resnet_is_not():
    found = {kind: cycles.train_detector(kind, steps=400) for kind in ("pairnet", "resnet")}
    assert found["pairnet"].accuracy[24] > 0.95
    assert found["resnet"].accuracy[24] < 0.7
