import itertools

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine import checkpoint, rng
from tenfold.rooms.extremal import cross_entropy
from tenfold.rooms.extremal.cross_entropy import CrossEntropy
from tenfold.rooms.extremal.cross_entropy_config import CrossEntropyConfig

SMALL = CrossEntropyConfig(nodes=6, sessions=60, learning_rate=3e-3)


def short_cycles(graph):
    return list(networkx.simple_cycles(graph, length_bound=4))


def random_graphs(nodes, *, seed, count=3, share=0.5):
    pairs = nodes * (nodes - 1) // 2
    return torch.from_numpy(np.random.default_rng(seed).random((count, pairs)) < share)


def as_networkx(row, nodes):
    graph = networkx.empty_graph(nodes)
    pairs = itertools.combinations(range(nodes), 2)
    graph.add_edges_from(pair for pair, taken in zip(pairs, row.tolist(), strict=True) if taken)
    return graph


def run(cfg, *, iterations):
    method = CrossEntropy(cfg)
    return method, [method.update(step) for step in range(iterations)]


@given(nodes=st.integers(2, 8), seed=st.integers(0, 10_000))
def test_score_agrees_with_counting_all_cycles(nodes, seed):
    drawn = random_graphs(nodes, seed=seed)
    found = cross_entropy.score(drawn, nodes=nodes).tolist()
    graphs = [as_networkx(row, nodes) for row in drawn]
    assert found == [graph.number_of_edges() - len(short_cycles(graph)) for graph in graphs]


@given(nodes=st.integers(2, 9), seed=st.integers(0, 10_000))
def test_repair_leaves_girth_five_and_at_least_score_many_edges(nodes, seed):
    drawn = random_graphs(nodes, seed=seed, count=1)
    matrix = cross_entropy.as_adjacency(drawn, nodes=nodes)[0].numpy()
    repaired = cross_entropy.repair(matrix)
    assert not short_cycles(repaired.to_networkx())
    assert repaired.size >= int(cross_entropy.score(drawn, nodes=nodes))
    assert not (repaired.adjacency() & ~matrix).any()


def test_playing_is_the_policy_asked_pair_by_pair():
    cfg = CrossEntropyConfig(nodes=4, sessions=5)
    policy = CrossEntropy(cfg).policy
    drawn = cross_entropy.play(policy, 5, generator=rng.torch_stream(3))
    chances = torch.rand(cfg.pairs, 5, generator=rng.torch_stream(3))
    state = torch.zeros(5, 2 * cfg.pairs)
    for pair in range(cfg.pairs):
        state[:, cfg.pairs :] = torch.nn.functional.one_hot(torch.tensor(pair), cfg.pairs)
        taken = chances[pair] < policy(state).sigmoid()
        state[:, pair] = taken.float()
        assert taken.tolist() == drawn[:, pair].tolist()


def test_imitating_one_graph_makes_it_likely():
    method = CrossEntropy(CrossEntropyConfig(nodes=5, learning_rate=1e-2, batch=5))
    graph = random_graphs(5, seed=1, count=1)
    for step in range(150):
        loss = method._imitate(graph, step)
    drawn = cross_entropy.play(method.policy, 100, generator=rng.torch_stream(0))
    assert loss < 0.1
    assert (drawn == graph).all(dim=1).float().mean() > 0.5


def test_selection_keeps_all_above_a_percentile_and_of_those_on_it_no_more_than_the_share():
    scores = torch.tensor([3] * 90 + [5] * 6 + [4] * 4)
    assert sorted(cross_entropy.select(scores, percentile=93, sessions=100).tolist()) == [
        *range(90, 96),
        96,
    ]
    assert cross_entropy.select(scores, percentile=50, sessions=10).tolist() == [
        *range(90, 100),
    ]
    assert len(cross_entropy.select(torch.ones(100), percentile=93, sessions=100)) == 7


def test_same_seed_same_graphs_and_another_seed_others():
    method, told = run(SMALL, iterations=3)
    again, told_again = run(SMALL, iterations=3)
    other, told_other = run(CrossEntropyConfig(nodes=6, sessions=60, seed=1), iterations=3)
    assert told == told_again != told_other
    assert method.best == again.best
    assert torch.equal(method.survivors, again.survivors)
    assert not torch.equal(method.survivors[:2], other.survivors[:2])


@pytest.mark.parametrize("saved_after", [0, 2])
def test_a_resumed_run_goes_on_exactly(tmp_path, saved_after):
    whole, told = run(SMALL, iterations=4)
    half, _ = run(SMALL, iterations=saved_after)
    path = checkpoint.save(tmp_path, saved_after, half)
    resumed = CrossEntropy(SMALL)
    assert checkpoint.load(path, resumed) == saved_after
    assert [resumed.update(step) for step in range(saved_after, 4)] == told[saved_after:]
    assert (resumed.best, resumed.best_score, resumed.flips) == (
        whole.best,
        whole.best_score,
        whole.flips,
    )
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(value, resumed.policy.state_dict()[name]), name


def test_decisions_are_counted_as_flips():
    method, _ = run(SMALL, iterations=2)
    assert method.flips == 2 * 60 * 15
    assert method.seconds > 0


def test_on_eight_nodes_the_mean_graph_becomes_better_than_the_best_random_one():
    cfg = CrossEntropyConfig(nodes=8, sessions=100, learning_rate=3e-3)
    _, told = run(cfg, iterations=100)
    assert told[0].mean < 0
    assert told[-1].mean > told[0].score


@pytest.mark.parametrize(("nodes", "most"), [(6, 6), (7, 8)])
def test_small_graphs_are_solved(nodes, most):
    cfg = CrossEntropyConfig(nodes=nodes, sessions=200, learning_rate=1e-3)
    method, _ = run(cfg, iterations=20)
    assert method.best_score == method.best.size == most
    assert not short_cycles(method.best.to_networkx())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"nodes": 1}, r"nodes \(1\) must be at least 2"),
        ({"elite_percentile": 100.0}, r"elite_percentile \(100.0\) must lie in \[0, 100\)"),
        ({"hidden": ()}, r"hidden \(\(\)\) must name a width"),
        ({"learning_rate": 0.0}, r"learning_rate \(0.0\) must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        CrossEntropyConfig(**setting)
