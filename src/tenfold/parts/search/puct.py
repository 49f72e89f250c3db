"""Batched tree search with a network over games that move forward and back (rooms extremal).

AlphaZero's PUCT (Silver et al. 2018) and Gumbel AlphaZero (Danihelka et al. 2022, "Policy
improvement by planning with Gumbel", ICLR). Rewards lie on moves, a return is their sum plus the
value where a simulation ends. Differs from both: returns are stretched to [0, 1] over the whole
tree before they are weighed against priors, and untried actions count as the node they are at.

All trees go one step after the other together: one call of the network judges a new position of
every tree. No position is kept, each game is walked forward and taken back. What one tree does
depends on its own key alone, not on the others of its batch.
"""

# T trees, B of them (those that take part in a call), A actions, S slots

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.search import tree as loops
from tenfold.parts.search.config import SearchConfig
from tenfold.parts.search.tree import NOBODY, Paths, Rules, Tree

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Seen = tuple[NDArray[Any], ...]
"""What a network is shown: arrays with a row for each position."""
Evaluate = Callable[[Seen], tuple[NDArray[Any], NDArray[Any]]]
"""Logits [B, A] and values [B] of positions, values seen by the player who is to move."""


class Game(Protocol):
    """As many games as there are trees, each of which can be moved on and taken back."""

    @property
    def actions(self) -> int:
        """Number of actions A, legal or not."""

    def legal(self, which: Ints) -> Bools:
        """Say what may be played in the games `which`, [B, A]."""

    def apply(self, which: Ints, actions: Ints) -> tuple[Floats, Bools]:
        """Play; return rewards [B] of those who moved, and which games have ended [B]."""

    def undo(self, which: Ints) -> None:
        """Take back the last move of each."""

    def observe(self, which: Ints) -> Seen:
        """Return what a network is shown; a copy."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a search says of the games it was asked about."""

    action: Ints
    """[B] the move to play."""
    visits: Ints
    """[B, A] simulations that began with each action."""
    policy: Floats
    """[B, A] what a network should learn: shares of visits, or Gumbel's improved policy."""
    value: Floats
    """[B] mean return of the simulations and the root."""


def search(
    game: Game,
    evaluate: Evaluate,
    cfg: SearchConfig,
    *,
    keys: NDArray[np.uint64],
    which: Ints | None = None,
) -> Found:
    """Look for a move in many games at once, and leave them as they were.

    Args:
        game: the games; none of those searched has ended.
        evaluate: a network.
        cfg: how to search.
        keys: seeds of the trees' random numbers, one for each game searched.
        which: games to search, in any order; None: the first ones.
    """
    which = np.arange(len(keys)) if which is None else which
    rules = _rules(cfg)
    tree = _plant(game, evaluate, cfg, which, keys)
    due_MB = _due(tree, cfg)
    for first in range(0, cfg.simulations, cfg.leaves):
        arrived = [
            _descend(game, tree, rules, which, due_B)
            for due_B in due_MB[first : first + cfg.leaves]
        ]
        _judge(evaluate, tree, arrived)
        for paths, _, _ in arrived:
            loops.back_up(tree, paths, rules.sign)
    return _conclude(tree, rules, actions=game.actions)


@functools.cache
def visits_due(considered: int, *, simulations: int) -> tuple[int, ...]:
    """Return, for each simulation, how many visits the action it tries must have had.

    Sequential halving: all considered actions equally often, then the better half of them, down
    to two, with about equally many simulations for each round.
    """
    due: list[int] = []
    visits, rounds = 0, max(1, int(np.ceil(np.log2(considered))))
    if considered == 1:
        return tuple(range(simulations))
    left = considered
    while len(due) < simulations:
        for _ in range(max(1, simulations // (rounds * left))):
            due += [visits] * left
            visits += 1
        left = max(2, left // 2)
    return tuple(due[:simulations])


def _due(tree: Tree, cfg: SearchConfig) -> Ints:
    """Return `visits_due` for each simulation of each tree, [simulations, B]."""
    options_B = (tree.action[:, 0] != NOBODY).sum(axis=1)
    each = [visits_due(min(cfg.considered, k), simulations=cfg.simulations) for k in options_B]
    return np.ascontiguousarray(np.array(each, dtype=np.int64).T)


def _rules(cfg: SearchConfig) -> Rules:
    return Rules(
        gumbel=cfg.rule == "gumbel",
        sign=-1.0 if cfg.adversarial else 1.0,
        least_range=float(cfg.least_range),
        exploration=float(cfg.exploration),
        exploration_base=float(cfg.exploration_base),
        return_weight=float(cfg.return_weight),
    )


# Roots


def _plant(
    game: Game,
    evaluate: Evaluate,
    cfg: SearchConfig,
    which: Ints,
    keys: NDArray[np.uint64],
) -> Tree:
    """Return trees with judged roots and their noise."""
    actions, trees = game.actions, np.arange(len(which))
    slots = min(cfg.width or actions, actions)
    if cfg.rule == "gumbel":
        slots = max(slots, min(cfg.considered, actions))
    tree = loops.new_tree(len(which), nodes=cfg.simulations + 1, slots=slots, actions=actions)
    legal = game.legal(which)
    assert legal.any(axis=1).all(), "a game that is searched has no legal move, so it has ended"
    logits, values = evaluate(game.observe(which))
    log_prior_BA = log_softmax(logits, legal)
    generators = [np.random.Generator(np.random.Philox(key=int(key))) for key in keys]
    for row, generator in enumerate(generators):
        tree.tie[row] = generator.random(actions)
    bonus_BA = np.zeros_like(log_prior_BA)
    if cfg.rule == "gumbel":
        drawn = [generator.gumbel(size=actions) for generator in generators]
        bonus_BA = cfg.gumbel_noise * np.stack(drawn)
    elif cfg.noise_share:
        log_prior_BA = _add_noise(log_prior_BA, cfg, generators)
    chosen = _expand(tree, trees, np.zeros_like(trees), log_prior_BA, bonus_BA)
    tree.bonus[:] = np.take_along_axis(bonus_BA, chosen, axis=1)
    tree.value[:, 0] = values
    return tree


def log_softmax(logits_BA: NDArray[Any], legal_BA: Bools) -> Floats:
    """Return logarithms of the policy over legal actions; -inf for the others."""
    masked: Floats = np.where(legal_BA, logits_BA, -np.inf).astype(np.float64)
    masked -= masked.max(axis=1, keepdims=True)
    masked -= np.log(np.exp(masked).sum(axis=1, keepdims=True))
    return masked


def _add_noise(
    log_prior_BA: Floats, cfg: SearchConfig, generators: list[np.random.Generator]
) -> Floats:
    """Mix Dirichlet noise over the legal actions into the priors."""
    mixed = np.full_like(log_prior_BA, -np.inf)
    for row, generator in enumerate(generators):
        legal = np.flatnonzero(log_prior_BA[row] > -np.inf)
        noise = generator.dirichlet(np.full(len(legal), cfg.noise_total / len(legal)))
        prior = np.exp(log_prior_BA[row, legal])
        mixed[row, legal] = np.log((1 - cfg.noise_share) * prior + cfg.noise_share * noise + 1e-30)
    return mixed


# Simulations

Arrived = tuple[Paths, Seen | None, Bools]
"""Ways through the trees, what is seen at their new ends, and what is legal there."""


def _descend(game: Game, tree: Tree, rules: Rules, which: Ints, due_B: Ints) -> Arrived:
    """Walk from each root to a new position, look at it, and walk back."""
    paths = loops.new_paths(len(which), nodes=tree.value.shape[1])
    active = np.arange(len(which))
    levels = []
    while len(active):
        nodes = paths.leaf[active]
        slots, going = np.empty_like(active), np.empty(len(active), dtype=np.bool_)
        loops.select(tree, active, nodes, rules, due_B, slots)
        rewards, ended = game.apply(
            which[active], tree.action[active, nodes, slots].astype(np.int64)
        )
        loops.walk(tree, paths, active, slots, rewards, ended, going)
        levels.append(active)
        active = active[going]
    fresh = which[paths.fresh]
    seen = game.observe(fresh) if len(fresh) else None
    legal = game.legal(fresh)
    for active in reversed(levels):
        game.undo(which[active])
    return paths, seen, legal


def _judge(evaluate: Evaluate, tree: Tree, arrived: list[Arrived]) -> None:
    """Ask the network about all new positions in one call, and open them."""
    shown = [seen for _, seen, _ in arrived if seen is not None]
    if not shown:
        return
    together = tuple(np.concatenate(parts) for parts in zip(*shown, strict=True))
    logits, values = evaluate(together)
    legal = np.concatenate([legal for _, _, legal in arrived])
    trees = np.concatenate([np.flatnonzero(paths.fresh) for paths, _, _ in arrived])
    nodes = np.concatenate([paths.leaf[paths.fresh] for paths, _, _ in arrived])
    # Where nothing is legal the game is over, although it was not said to have ended.
    open_B = legal.any(axis=1)
    trees, nodes, legal = trees[open_B], nodes[open_B], legal[open_B]
    if not len(trees):
        return
    log_prior_BA = log_softmax(logits[open_B], legal)
    _expand(tree, trees, nodes, log_prior_BA, np.zeros((1, 1)))
    tree.value[trees, nodes] = values[open_B]
    tree.closed[trees, nodes] = False


def _expand(tree: Tree, trees: Ints, nodes: Ints, log_prior_BA: Floats, bonus_BA: Floats) -> Ints:
    """Give nodes their slots: all actions, or those of largest log prior (plus bonus)."""
    slots = tree.action.shape[2]
    if slots == log_prior_BA.shape[1]:
        chosen_BS = np.broadcast_to(np.arange(slots), log_prior_BA.shape)
    else:
        # Log priors that differ by rounding alone are ties too.
        ranked_BA = -(log_prior_BA + bonus_BA) - 1e-6 * tree.tie[trees]
        chosen_BS = np.argsort(ranked_BA, axis=1, kind="stable")[:, :slots]
    log_prior_BS = np.take_along_axis(log_prior_BA, chosen_BS, axis=1)
    tree.action[trees, nodes] = np.where(log_prior_BS > -np.inf, chosen_BS, NOBODY)
    tree.log_prior[trees, nodes] = log_prior_BS
    return chosen_BS


# Conclusions


def _conclude(tree: Tree, rules: Rules, *, actions: int) -> Found:
    visits_BS = tree.visits[:, 0]
    score_BS = np.empty_like(tree.bonus)
    for row in range(len(score_BS)):
        loops.score_slots(tree, row, 0, rules, score_BS[row])
    if rules.gumbel:
        policy_BS = np.exp(score_BS - score_BS.max(axis=1, keepdims=True))
        policy_BS /= policy_BS.sum(axis=1, keepdims=True)
    else:
        policy_BS = visits_BS / visits_BS.sum(axis=1, keepdims=True)
    total_B = tree.total[:, 0].sum(axis=1) + tree.value[:, 0]
    return Found(
        action=_choose(tree, score_BS + tree.bonus),
        visits=_spread(tree, visits_BS, actions),
        policy=_spread(tree, policy_BS, actions),
        value=total_B / (1 + visits_BS.sum(axis=1)),
    )


def _choose(tree: Tree, score_BS: Floats) -> Ints:
    """Return the most visited action, among equals that of the best score."""
    visits_BS = tree.visits[:, 0]
    most_BS = visits_BS == visits_BS.max(axis=1, keepdims=True)
    slots_B = np.where(most_BS, score_BS, -np.inf).argmax(axis=1)
    chosen: Ints = tree.action[np.arange(len(slots_B)), 0, slots_B].astype(np.int64)
    return chosen


def _spread(tree: Tree, value_BS: NDArray[Any], actions: int) -> NDArray[Any]:
    """Return values of slots as values of actions, [B, A]."""
    spread = np.zeros((len(value_BS), actions), dtype=value_BS.dtype)
    rows, slots = np.nonzero(tree.action[:, 0] != NOBODY)
    spread[rows, tree.action[rows, 0, slots]] = value_BS[rows, slots]
    return spread
