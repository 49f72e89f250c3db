import dataclasses

import numpy as np
import pytest
import torch

from tenfold.engine import checkpoint
from tenfold.engine.errors import TenfoldError
from tenfold.parts.search.config import SearchConfig
from tenfold.rooms.extremal import actors, alphazero, alphazero_config, method, model, trials
from tenfold.rooms.extremal.actors import Crew, Judge, Solutions, as_block, play, searching
from tenfold.rooms.extremal.alphazero import AlphaZero, losses_of
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig, Budget, LearnConfig
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.graph import empty, from_edges, relabel
from tenfold.rooms.extremal.model_config import NetworkConfig
from tenfold.rooms.extremal.named import cycle, petersen
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.replay import Block, Replay
from tenfold.rooms.extremal.verify import verify

TINY = dataclasses.replace(alphazero_config.tiny(), games=4)
SHORT = dataclasses.replace(
    TINY, sizes=(5, 6, 7), search=SearchConfig(simulations=4, considered=4, least_range=1.0)
)
EXACT = {nodes: value.lower for nodes, value in known("C3,C4").items()}


def run(cfg, *, steps, first=0, learner=None, **settings):
    learner = learner or AlphaZero(cfg, **settings)
    return learner, [facts(learner.update(step)) for step in range(first, steps)]


def facts(iteration):
    """Return what does not depend on the clock."""
    told = dataclasses.asdict(iteration)
    return {name: value for name, value in told.items() if "seconds" not in name}


def weights(learner):
    return torch.cat([value.detach().ravel() for value in learner.network.parameters()])


def graphs_of(learner):
    return {n: [encode_graph6(g) for g in learner.solutions.best(n)] for n in learner.cfg.sizes}


def block_of(cfg, *, nodes=6, seed=0):
    network = model.build_network(cfg.network, seed=seed)
    games = actors.new_games(cfg, [empty(nodes)] * 3)
    mover = searching(Judge(network, crew=Crew(threads=1)), cfg.search, seed=seed)
    moves, rewards = play(games, mover, name="block")
    return network, games, as_block(moves, rewards, nodes=nodes)


# Learning


def test_the_policy_loss_is_nothing_where_the_network_already_says_what_searches_say():
    network, _, block = block_of(SHORT)
    taught = dataclasses.replace(block, policy=own_policy(network, block))
    policy, value = losses_of(network, taught, tenure=SHORT.tenure)
    assert abs(policy.item()) < 1e-5
    assert value.item() > 0


def own_policy(network, block):
    _, logits, _ = judged(network, block)
    logits = np.where(tabu_in(block), -np.inf, logits)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def judged(network, block):
    judge = Judge(network, crew=Crew(threads=1))
    return judge, *judge(block.seen, nodes=block.nodes)


def test_values_of_a_block_are_what_the_games_earned_from_there_on():
    _, games, block = block_of(SHORT)
    assert len(block) == int(games.state.moves.sum())
    first = block.value[:3] * method.value_scale(6)
    np.testing.assert_allclose(first, games.bests, rtol=1e-6)
    assert (block.value >= 0).all()
    np.testing.assert_allclose(block.policy.sum(axis=1), 1, rtol=1e-5)


def test_a_value_in_edges_does_not_depend_on_how_a_batch_is_cut():
    network, _, block = block_of(SHORT)
    _, logits, values = judged(network, block)
    pairs, scalars = (torch.from_numpy(part) for part in actors.as_features(block.seen, nodes=6))
    with torch.no_grad():
        whole_logits, whole_values = network(pairs, scalars)
    np.testing.assert_allclose(logits, whole_logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(values, whole_values.numpy() * method.value_scale(6), atol=1e-4)


def test_learning_one_batch_of_games_lowers_both_losses():
    cfg = dataclasses.replace(SHORT, learn=LearnConfig(steps=25, batch=16, learning_rate=8e-3))
    learner = AlphaZero(cfg, threads=1)
    _, _, block = block_of(cfg)
    # What can be learned: flip the pairs that close nothing, whatever the noise of a search says.
    free = (block.entries == 0) & ~tabu_in(block)
    block = block.take(np.flatnonzero(free.any(axis=1)))
    taught = dataclasses.replace(block, policy=as_shares(free[free.any(axis=1)]))
    learner.replay.add(taught)
    before = [loss.item() for loss in losses_of(learner.network, taught, tenure=cfg.tenure)]
    learner._learn(0)
    after = [loss.item() for loss in losses_of(learner.network, taught, tenure=cfg.tenure)]
    assert after[0] < 0.6 * before[0]
    assert after[1] < 0.6 * before[1]


def tabu_in(block):
    return (block.ago > 0) & (block.ago <= SHORT.tenure)


def as_shares(chosen):
    return (chosen / chosen.sum(axis=1, keepdims=True)).astype(np.float32)


def test_gradients_of_portions_add_up_to_that_of_the_batch(monkeypatch):
    learner = AlphaZero(SHORT, threads=2)
    _, _, block = block_of(SHORT)
    found = {}
    for pairs in (10_000_000, 36 * 5):
        monkeypatch.setattr(actors, "PAIRS_AT_ONCE", pairs)
        learner._descend(block)
        found[pairs] = torch.cat([w.grad.ravel() for w in learner.network.parameters()])
    whole, parts = found.values()
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-3)


# Runs


def test_same_seed_same_run_and_another_seed_another():
    first, told = run(SHORT, steps=2)
    again, told_again = run(SHORT, steps=2, threads=2)
    other, _ = run(dataclasses.replace(SHORT, seed=1), steps=2)
    assert told == told_again
    assert graphs_of(first) == graphs_of(again)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("saved_after", [0, 2])
def test_a_resumed_run_goes_on_exactly(tmp_path, saved_after):
    whole, told = run(SHORT, steps=3)
    half, _ = run(SHORT, steps=saved_after)
    path = checkpoint.save(tmp_path, saved_after, half)
    resumed = AlphaZero(SHORT)
    assert checkpoint.load(path, resumed) == saved_after
    _, rest = run(SHORT, steps=3, first=saved_after, learner=resumed)
    assert rest == told[saved_after:]
    assert torch.equal(weights(whole), weights(resumed))
    assert graphs_of(whole) == graphs_of(resumed)
    assert whole.turn == resumed.turn


def test_small_sizes_are_solved_and_the_archive_holds_what_was_found(tmp_path):
    archive = Archive(tmp_path / "found", Problem(nodes=8))
    learner, curve = alphazero.train(TINY, Budget(flips=60_000), archive=archive)
    assert {n: archive.edges(n) for n in archive.nodes()} == {n: EXACT[n] for n in TINY.sizes}
    assert learner.finished == list(TINY.sizes)
    for nodes in TINY.sizes:
        assert {find.method for find in archive.best(nodes)} == {"alphazero"}
        for graph in learner.solutions.best(nodes):
            verify(graph, Problem(nodes=nodes))
    assert [point.flips for point in curve] == sorted({point.flips for point in curve})
    assert curve[-1].flips == learner.flips


def test_training_stops_when_the_flips_are_spent():
    cfg = dataclasses.replace(SHORT, sizes=(9,), curriculum=False)
    learner, curve = alphazero.train(cfg, Budget(flips=10))
    assert len(curve) == 1
    assert learner.flips >= 10


def test_flips_count_every_position_a_search_reaches():
    cfg = dataclasses.replace(SHORT, sizes=(9,), curriculum=False)
    learner, _ = run(cfg, steps=1)
    moves = sum(len(block) for block in learner.replay.blocks)
    assert moves < learner.flips
    # A simulation makes at least one flip, and a move is one more.
    assert learner.flips >= moves * (1 + cfg.search.simulations)


@pytest.mark.parametrize("change", ["resnet", "puct", "final"])
def test_every_kind_of_network_search_and_objective_solves_five_nodes(change):
    changes = {
        "resnet": {"network": NetworkConfig(torso="resnet", width=8, blocks=1)},
        "puct": {"search": SearchConfig(rule="puct", simulations=8, leaves=2, least_range=1.0)},
        "final": {"objective": "final"},
    }
    cfg = dataclasses.replace(SHORT, sizes=(5,), **changes[change])
    learner, _ = run(cfg, steps=1)
    assert learner.solutions.edges(5) == 5


# Starts


def test_games_of_the_curriculum_begin_from_padded_graphs_and_others_from_no_edges():
    learner = AlphaZero(dataclasses.replace(SHORT, games=12))
    learner.solutions.put(petersen())
    games = learner._begin(12, 0)
    assert games.state.length.tolist() == [30] * 12
    assert games.scores.tolist() == [15] * 12
    degrees = [sorted(board_degrees(games, g)) for g in range(12)]
    assert degrees == [[0, 0] + [3] * 10] * 12
    assert len({tuple(board_degrees(games, g)) for g in range(12)}) > 1
    plain = AlphaZero(dataclasses.replace(SHORT, curriculum=False))
    plain.solutions.put(petersen())
    assert plain._begin(12, 0).scores.tolist() == [0] * 4


def board_degrees(games, g):
    return games.boards.degree[g].tolist()


def test_solutions_keep_one_of_each_class_and_only_the_best():
    solutions = Solutions(Problem(nodes=10), keep=2)
    assert solutions.edges(5) == -1
    assert solutions.put(from_edges(5, [(0, 1)]))
    assert solutions.put(cycle(5))
    assert not solutions.put(relabel(cycle(5), np.array([2, 0, 4, 1, 3])))
    assert not solutions.put(from_edges(5, [(0, 1)]))
    assert solutions.best(5) == [cycle(5)]
    with pytest.raises(TenfoldError, match="cycle of length 3"):
        solutions.put(from_edges(5, [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2), (1, 3)]))


# Searches without learning


def test_searching_is_ahead_of_random_flips_at_equally_many():
    network = model.build_network(TINY.network)
    searched = trials.search_with(network, TINY, Budget(flips=1_000), nodes=12)
    drawn = trials.random_flips(TINY, Budget(flips=searched.flips), nodes=12)
    for outcome in (searched, drawn):
        verify(outcome.graph, Problem(nodes=12))
        assert outcome.curve[-1] == (outcome.flips, outcome.graph.size)
    assert drawn.flips >= searched.flips
    assert searched.graph.size > drawn.graph.size
    assert searched.mean_best > drawn.mean_best + 2


def test_a_search_that_meets_the_bound_stops():
    solutions = Solutions(Problem(nodes=10))
    solutions.put(petersen())
    network = model.build_network(TINY.network)
    found = trials.search_with(network, TINY, Budget(flips=10**6), nodes=11, solutions=solutions)
    assert found.graph.size == EXACT[11] == 16
    assert found.flips < 10_000


# Replay


def block_with(nodes, count, *, value):
    pairs = nodes * (nodes - 1) // 2
    return Block(
        nodes=nodes,
        entries=np.zeros((count, pairs), np.uint8),
        ago=np.zeros((count, pairs), np.uint8),
        scalars=np.zeros((count, 2), np.float32),
        policy=np.full((count, pairs), 1 / pairs, np.float32),
        value=np.full(count, value, np.float32),
    )


def test_replay_drops_the_oldest_games_when_the_newer_ones_suffice():
    replay = Replay(10)
    for value, count in enumerate((4, 6, 5)):
        replay.add(block_with(5, count, value=value))
    assert [block.value[0] for block in replay.blocks] == [1, 2]
    replay.add(block_with(6, 4, value=3))
    assert [block.value[0] for block in replay.blocks] == [1, 2, 3]
    replay.add(block_with(6, 1, value=4))
    assert [block.value[0] for block in replay.blocks] == [2, 3, 4]


def test_positions_are_drawn_equally_often_from_large_and_small_blocks():
    replay = Replay(100)
    replay.add(block_with(5, 30, value=0))
    replay.add(block_with(6, 10, value=1))
    generator = np.random.default_rng(0)
    drawn = [replay.sample(4, generator=generator) for _ in range(400)]
    assert 0.68 < np.mean([block.nodes == 5 for block in drawn]) < 0.82
    assert all((block.value == block.nodes - 5).all() and len(block) == 4 for block in drawn)


# Settings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sizes": ()}, r"sizes \(\(\)\) must name numbers of nodes from 3 to 200"),
        ({"sizes": (5, 300)}, r"from 3 to 200"),
        ({"sizes": (6, 5)}, r"sizes \(\(6, 5\)\) must increase"),
        ({"games": 0}, r"games \(0\) must be at least 1"),
        ({"sizes": (3, 4)}, r"tenure \(5\) must lie from 1 to 2"),
        ({"forbid": "C9"}, r"'C9'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        AlphaZeroConfig(**setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch": 0}, r"batch \(0\) must be at least 1"),
        ({"steps": -1}, r"steps \(-1\) must be 0 or more"),
        ({"learning_rate": 0.0}, r"learning_rate \(0.0\) must be above 0"),
    ],
)
def test_learning_that_makes_no_sense_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        LearnConfig(**setting)


def test_recipes_grow():
    tiny, laptop, gpu = alphazero_config.tiny(), alphazero_config.laptop(), alphazero_config.gpu()
    assert max(tiny.sizes) < max(laptop.sizes) < max(gpu.sizes)
    assert gpu.network.bf16


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sixteen_nodes_are_solved_within_an_edge():
    learner, _ = alphazero.train(alphazero_config.laptop(16), Budget(seconds=600))
    assert learner.solutions.edges(16) >= EXACT[16] - 1


@pytest.mark.gpu
def test_small_sizes_are_solved_on_a_gpu_in_bfloat16():
    cfg = dataclasses.replace(TINY, network=alphazero_config.gpu().network)
    learner, _ = alphazero.train(cfg, Budget(flips=60_000), torch_device="cuda")
    assert learner.finished == list(cfg.sizes)
