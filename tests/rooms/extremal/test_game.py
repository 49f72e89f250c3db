import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.rooms.extremal import data, method
from tenfold.rooms.extremal.data import Games, as_features, board_at
from tenfold.rooms.extremal.graph import Graph, empty, from_edges
from tenfold.rooms.extremal.kernels import Board, graph_of
from tenfold.rooms.extremal.named import petersen
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults

NODES, TENURE = 7, 3
PROBLEM = Problem(nodes=NODES)
ALL = np.arange(3)


def random_graph(seed, *, nodes=NODES, share=0.3):
    made = np.random.default_rng(seed)
    u, v = np.triu_indices(nodes, 1)
    chosen = made.random(len(u)) < share
    return from_edges(nodes, np.stack([u[chosen], v[chosen]], axis=1))


def begin(seed=0, *, objective="best", starts=None):
    starts = starts or [random_graph(seed + g) for g in range(3)]
    return Games(PROBLEM, starts, objective=objective, tenure=TENURE)


def graph_at(games, g):
    return graph_of(Board(*(field[g] for field in games.boards)))


def flip_at_random(games, made, which):
    legal = games.legal(which)
    actions = np.array([made.choice(np.flatnonzero(row)) for row in legal])
    return actions, *games.apply(which, actions)


def snapshot(games):
    table = games.boards.table.copy()
    state = games.state
    used = [row[: moves + 1].tolist() for row, moves in zip(state.best, state.moves, strict=True)]
    graphs = [graph_at(games, g) for g in ALL]
    return table.tolist(), state.last.tolist(), state.moves.tolist(), used, graphs


@given(seed=st.integers(0, 10_000), objective=st.sampled_from(["final", "best"]))
def test_rewards_are_those_of_the_paper_on_the_graphs_at_hand(seed, objective):
    games, made = begin(seed, objective=objective), np.random.default_rng(seed)
    scores = [[method.score(graph_at(games, g).adjacency())] for g in ALL]
    for _ in range(8):
        which = games.running()
        _, rewards, _ = flip_at_random(games, made, which)
        for g, reward in zip(which, rewards, strict=True):
            after = method.score(graph_at(games, g).adjacency())
            if objective == "final":
                assert reward == method.reward_final(scores[g][-1], after)
            else:
                assert reward == method.reward_best(max(scores[g]), after)
            scores[g].append(after)
    assert games.bests.tolist() == [max(row) for row in scores]
    assert games.scores.tolist() == [row[-1] for row in scores]


@given(seed=st.integers(0, 10_000), depth=st.integers(1, 12))
def test_what_is_taken_back_leaves_no_trace_but_the_records(seed, depth):
    games, made = begin(seed), np.random.default_rng(seed)
    flip_at_random(games, made, ALL)
    before, seen, legal = snapshot(games), games.observe(ALL), games.legal(ALL)
    records = games.state.record.copy()
    for _ in range(depth):
        flip_at_random(games, made, ALL[1:])
    for _ in range(depth):
        games.undo(ALL[1:])
    assert snapshot(games) == before
    np.testing.assert_array_equal(games.legal(ALL), legal)
    for now, then in zip(games.observe(ALL), seen, strict=True):
        np.testing.assert_array_equal(now, then)
    assert (games.state.record >= records).all()
    assert games.state.record[0] == records[0]
    assert games.state.flips.tolist() == [1, 1 + depth, 1 + depth]


def test_the_last_flips_may_not_be_repeated_and_older_ones_may():
    games = begin(starts=[empty(NODES)])
    one = np.array([0])
    for action in (4, 9, 2, 7):
        games.apply(one, np.array([action]))
    assert np.flatnonzero(~games.legal(one)[0]).tolist() == [2, 7, 9]


@given(seed=st.integers(0, 10_000))
def test_features_are_what_their_names_say(seed):
    games, made = begin(seed), np.random.default_rng(seed)
    flips = [flip_at_random(games, made, ALL)[0] for _ in range(4)]
    pairs, scalars = as_features(games.observe(ALL), nodes=NODES)
    u, v = np.triu_indices(NODES, 1)
    for g in ALL:
        one = graph_at(games, g).adjacency().astype(int)
        root = np.sqrt(NODES)
        np.testing.assert_array_equal(pairs[g, :, :, 0], one)
        np.testing.assert_array_equal(pairs[g, :, :, 2], np.eye(NODES))
        for i, j in zip(u, v, strict=True):
            expected = min(1, method.path_count(one, i, j) / 4)
            assert pairs[g, i, j, 3] == pairs[g, j, i, 3] == np.float32(expected)
        degrees = np.repeat(one.sum(axis=1)[:, None], NODES, axis=1) / root
        np.testing.assert_allclose(pairs[g, :, :, 4], degrees, rtol=1e-6)
        np.testing.assert_allclose(pairs[g, :, :, 5], degrees.T, rtol=1e-6)
        ago = np.zeros(len(u))
        for age, actions in enumerate(reversed(flips), start=1):
            ago[actions[g]] = ago[actions[g]] or 1 / age
        np.testing.assert_allclose(pairs[g, u, v, 1], ago)
        left = 1 - 4 / games.state.length[g]
        below = (games.bests[g] - games.scores[g]) / root
        np.testing.assert_allclose(scalars[g], [left, below], rtol=1e-6)


def test_many_paths_are_cut_and_do_not_look_like_an_edge():
    nodes = 18
    spokes = [(0, m) for m in range(2, nodes)] + [(1, m) for m in range(2, nodes)]
    rim = [(m, m + 1) for m in range(2, nodes - 1)]
    full = [(a, b) for a in range(2, nodes) for b in range(a + 2, nodes)]
    games = Games(Problem(nodes=nodes), [from_edges(nodes, [*spokes, *rim, *full])])
    entries, _, _ = games.observe(np.array([0]))
    assert entries[0, 0] == data.PRESENT - 1
    pairs, _ = as_features(games.observe(np.array([0])), nodes=nodes)
    assert pairs[0, 0, 1, 0] == 0
    assert pairs[0, 0, 1, 3] == 1


def test_games_end_at_the_bound_or_with_their_flips():
    almost = petersen()
    starts = [Graph(10, almost.edges[1:]), Graph(10, almost.edges), empty(10)]
    games = Games(Problem(nodes=10), starts)
    assert games.upper == 15
    assert games.running().tolist() == [0, 2]
    u, v = almost.edges[0]
    missing = int(games.boards.row[0, u] + v)
    rewards, ended = games.apply(np.array([0]), np.array([missing]))
    assert (rewards.tolist(), ended.tolist()) == ([1.0], [True])
    made = np.random.default_rng(0)
    for _ in range(method.episode_length(15, 0)):
        assert games.running().tolist() == [2]
        _, _, ended = flip_at_random(games, made, np.array([2]))
    assert ended[0]
    assert games.running().tolist() == []


@given(seed=st.integers(0, 10_000))
def test_records_are_repaired_and_have_as_many_edges_as_the_best_score_met(seed):
    games, made = begin(seed), np.random.default_rng(seed)
    met = games.scores.copy()
    for _ in range(6):
        flip_at_random(games, made, ALL)
        met = np.maximum(met, games.scores)
    for _ in range(6):
        games.undo(ALL)
    for graph, best in zip(games.records(least=-100), met, strict=True):
        assert graph.size >= best
        assert not find_faults(graph, PROBLEM)
    assert len(games.records(least=int(met.max()))) == (met == met.max()).sum()
    assert games.records(least=int(met.max()) + 1) == []


def test_games_side_by_side_are_each_game_alone():
    starts = [random_graph(g) for g in range(3)]
    together = begin(starts=starts)
    alone = [begin(starts=[start]) for start in starts]
    made = np.random.default_rng(1)
    for _ in range(10):
        which = together.running()
        actions, rewards, _ = flip_at_random(together, made, which)
        for g, action, reward in zip(which, actions, rewards, strict=True):
            said, _ = alone[g].apply(np.array([0]), np.array([action]))
            assert said[0] == reward
    for g in ALL:
        for many, one in zip(together.observe(ALL[[g]]), alone[g].observe(ALL[:1]), strict=True):
            np.testing.assert_array_equal(many, one)


def test_a_board_taken_out_of_many_has_every_field_in_its_place():
    games = begin()
    found = board_at(games.boards, 1)
    for name, many, one in zip(Board._fields, games.boards, found, strict=True):
        assert np.shares_memory(many, one) or many.size == 0, name
        np.testing.assert_array_equal(many[1], one)


def test_pairs_outside_the_host_are_never_legal():
    problem = Problem(nodes=6, host="bipartite:3,3")
    games = Games(problem, [empty(6)])
    u, v = np.triu_indices(6, 1)
    np.testing.assert_array_equal(games.legal(np.array([0]))[0], (u < 3) & (v >= 3))
    assert games.observe(np.array([0]))[0].max() == 0


@pytest.mark.parametrize("forbid", ["C3,C4", "C4", "C3,C4,C5"])
def test_scores_fall_by_one_for_every_forbidden_cycle(forbid):
    problem = dataclasses.replace(PROBLEM, forbid=forbid)
    games = Games(problem, [empty(NODES)], tenure=1)
    ring = [(i, i + 1) for i in range(3)] + [(0, 3)]
    for u, v in ring:
        pair = int(games.boards.row[0, u] + v)
        games.apply(np.array([0]), np.array([pair]))
    assert games.scores[0] == 3
