"""Many search trees side by side as arrays, and the loops over them (rooms extremal).

Every number of a tree is seen by the player who is to move there. Slots are the actions kept at
a node. In tests/parts/search the search is held to games with known values.
"""

# T trees, N nodes of a tree, S slots of a node, A actions

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit

NOBODY = -1
"""No action in a slot, or no child behind it."""


class Tree(NamedTuple):
    """Nodes by number, the root is 0; a slot's child comes into being when it is first taken."""

    action: NDArray[np.int32]
    """[T, N, S]."""
    log_prior: NDArray[np.float64]
    """[T, N, S]."""
    bonus: NDArray[np.float64]
    """[T, S] Gumbel noise at the root."""
    tie: NDArray[np.float64]
    """[T, A] the larger one goes first where scores are equal, as no action may be preferred."""
    visits: NDArray[np.int32]
    """[T, N, S]."""
    virtual: NDArray[np.int32]
    """[T, N, S] simulations on their way."""
    total: NDArray[np.float64]
    """[T, N, S] sum of the returns, the slot's own reward included."""
    reward: NDArray[np.float64]
    """[T, N, S]."""
    child: NDArray[np.int32]
    """[T, N, S]."""
    value: NDArray[np.float64]
    """[T, N] as the network says; 0 where the game has ended."""
    closed: NDArray[np.bool_]
    """[T, N] ended, or not judged yet: no simulation goes on from here."""
    size: NDArray[np.int64]
    """[T] nodes there are."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """[T] range of the mean returns so far."""


class Rules(NamedTuple):
    """Numbers of `SearchConfig` as loops need them."""

    gumbel: bool
    sign: float
    """-1 if players alternate, else 1."""
    least_range: float
    exploration: float
    exploration_base: float
    return_weight: float


class Paths(NamedTuple):
    """The way of one simulation in each tree."""

    node: NDArray[np.int32]
    slot: NDArray[np.int32]
    """[T, N]."""
    depth: NDArray[np.int64]
    """[T]."""
    leaf: NDArray[np.int32]
    """[T] where it ends."""
    fresh: NDArray[np.bool_]
    """[T] whether that node is new and has to be judged."""


def new_tree(trees: int, *, nodes: int, slots: int, actions: int) -> Tree:
    """Return trees without a root."""
    shape = (trees, nodes, slots)
    return Tree(
        action=np.full(shape, NOBODY, dtype=np.int32),
        log_prior=np.full(shape, -np.inf),
        bonus=np.zeros((trees, slots)),
        tie=np.zeros((trees, actions)),
        visits=np.zeros(shape, dtype=np.int32),
        virtual=np.zeros(shape, dtype=np.int32),
        total=np.zeros(shape),
        reward=np.zeros(shape),
        child=np.full(shape, NOBODY, dtype=np.int32),
        value=np.zeros((trees, nodes)),
        closed=np.zeros((trees, nodes), dtype=np.bool_),
        size=np.ones(trees, dtype=np.int64),
        low=np.full(trees, np.inf),
        high=np.full(trees, -np.inf),
    )


def new_paths(trees: int, *, nodes: int) -> Paths:
    """Return paths that have not left the root."""
    return Paths(
        node=np.zeros((trees, nodes), dtype=np.int32),
        slot=np.zeros((trees, nodes), dtype=np.int32),
        depth=np.zeros(trees, dtype=np.int64),
        leaf=np.zeros(trees, dtype=np.int32),
        fresh=np.zeros(trees, dtype=np.bool_),
    )


@jit
def stretch(tree: Any, t: int, q: Any, least_range: Any) -> Any:
    """Return a mean return as a share of the tree's range; 0 while there is none."""
    if tree.low[t] > tree.high[t]:
        return 0.0
    spread = max(tree.high[t] - tree.low[t], least_range)
    return (q - tree.low[t]) / spread if spread > 0 else 0.0


@jit
def mean_return(tree: Any, t: int, node: int, slot: int) -> Any:
    """Return the mean over a slot; a simulation on its way counts as the worst return so far."""
    visits, virtual = tree.visits[t, node, slot], tree.virtual[t, node, slot]
    worst = tree.low[t] if tree.low[t] <= tree.high[t] else 0.0
    return (tree.total[t, node, slot] + virtual * worst) / (visits + virtual)


@jit
def unseen_return(tree: Any, t: int, node: int, gumbel: bool) -> Any:
    """Return what an action is taken for that has not been tried.

    PUCT: the mean over the node itself. Gumbel: the value the network gave, mixed with the tried
    actions weighted by their priors (Danihelka et al. 2022, eq. 33).
    """
    total, visits, prior_q, prior = tree.value[t, node], 0, 0.0, 0.0
    for s in range(tree.action.shape[2]):
        count = tree.visits[t, node, s]
        if count:
            p = np.exp(tree.log_prior[t, node, s])
            prior_q += p * tree.total[t, node, s] / count
            prior += p
            total += tree.total[t, node, s]
            visits += count
    if not gumbel or prior == 0.0:
        return total / (1 + visits)
    return (tree.value[t, node] + visits * prior_q / prior) / (1 + visits)


@jit
def score_slots(tree: Any, t: int, node: int, rules: Any, scores: Any) -> None:
    """Write log prior + what the return is worth in logits of every slot to `scores` (Gumbel)."""
    slots = tree.action.shape[2]
    most = 0
    for s in range(slots):
        most = max(most, tree.visits[t, node, s])
    # 50 visits as in the paper; its c_scale is return_weight / 50.
    scale = rules.return_weight * (50 + most) / 50
    unseen = stretch(tree, t, unseen_return(tree, t, node, True), rules.least_range)
    for s in range(slots):
        q = unseen
        if tree.visits[t, node, s] + tree.virtual[t, node, s]:
            q = stretch(tree, t, mean_return(tree, t, node, s), rules.least_range)
        scores[s] = tree.log_prior[t, node, s] + scale * q


@jit
def _score_root(tree: Any, t: int, rules: Any, scores: Any, due: int) -> None:
    """Sequential halving: of the actions with as many visits as are due, the best score."""
    score_slots(tree, t, 0, rules, scores)
    for s in range(len(scores)):
        scores[s] += tree.bonus[t, s]
        if tree.visits[t, 0, s] + tree.virtual[t, 0, s] != due:
            scores[s] = -np.inf


@jit
def _score_below(tree: Any, t: int, node: int, rules: Any, scores: Any) -> None:
    """Gumbel below the root: the action that lags most behind the improved policy."""
    score_slots(tree, t, node, rules, scores)
    top, total, visits = -np.inf, 0.0, 0
    for s in range(len(scores)):
        top = max(top, scores[s])
        visits += tree.visits[t, node, s] + tree.virtual[t, node, s]
    for s in range(len(scores)):
        scores[s] = np.exp(scores[s] - top)
        total += scores[s]
    for s in range(len(scores)):
        count = tree.visits[t, node, s] + tree.virtual[t, node, s]
        scores[s] = scores[s] / total - count / (1 + visits)


@jit
def _score_puct(tree: Any, t: int, node: int, rules: Any, scores: Any) -> None:
    """AlphaZero's rule: stretched mean return plus the prior's share of exploration."""
    visits = 0
    for s in range(len(scores)):
        visits += tree.visits[t, node, s] + tree.virtual[t, node, s]
    base = rules.exploration_base
    weight = (rules.exploration + np.log((1 + visits + base) / base)) * np.sqrt(max(1, visits))
    unseen = stretch(tree, t, unseen_return(tree, t, node, False), rules.least_range)
    for s in range(len(scores)):
        count = tree.visits[t, node, s] + tree.virtual[t, node, s]
        q = unseen
        if count:
            q = stretch(tree, t, mean_return(tree, t, node, s), rules.least_range)
        scores[s] = q + weight * np.exp(tree.log_prior[t, node, s]) / (1 + count)


@jit
def select(tree: Any, trees: Any, nodes: Any, rules: Any, due: Any, slots: Any) -> None:
    """Write the slot to take at a node of each of `trees`.

    Args:
        tree: all trees.
        trees: which of them.
        nodes: where they are.
        rules: how to choose.
        due: visits that a slot of each tree's root must have (Gumbel).
        slots: the answer.
    """
    scores = np.empty(tree.action.shape[2])
    for i in range(len(trees)):
        t, node = trees[i], nodes[i]
        if not rules.gumbel:
            _score_puct(tree, t, node, rules, scores)
        elif node == 0:
            _score_root(tree, t, rules, scores, due[t])
        else:
            _score_below(tree, t, node, rules, scores)
        best, chosen, best_tie = -np.inf, NOBODY, -1.0
        for s in range(len(scores)):
            action = tree.action[t, node, s]
            if action == NOBODY:
                continue
            tie = tree.tie[t, action]
            if scores[s] > best or (scores[s] == best and tie > best_tie):
                best, chosen, best_tie = scores[s], s, tie
        slots[i] = chosen


@jit
def walk(
    tree: Any, paths: Any, trees: Any, slots: Any, rewards: Any, ended: Any, going: Any
) -> None:
    """Take a slot in each of `trees`; make its child if it has none; say which can go on."""
    for i in range(len(trees)):
        t, s = trees[i], slots[i]
        node = paths.leaf[t]
        paths.node[t, paths.depth[t]] = node
        paths.slot[t, paths.depth[t]] = s
        paths.depth[t] += 1
        tree.virtual[t, node, s] += 1
        child = tree.child[t, node, s]
        paths.fresh[t] = False
        if child == NOBODY:
            child = tree.size[t]
            tree.size[t] += 1
            tree.child[t, node, s] = child
            tree.reward[t, node, s] = rewards[i]
            tree.closed[t, child] = True
            paths.fresh[t] = not ended[i]
        paths.leaf[t] = child
        going[i] = not tree.closed[t, child]


@jit
def back_up(tree: Any, paths: Any, sign: float) -> None:
    """Add the return of each tree's simulation to the slots on its way."""
    for t in range(len(paths.depth)):
        found = tree.value[t, paths.leaf[t]]
        for d in range(paths.depth[t] - 1, -1, -1):
            node, s = paths.node[t, d], paths.slot[t, d]
            found = tree.reward[t, node, s] + sign * found
            tree.total[t, node, s] += found
            tree.visits[t, node, s] += 1
            tree.virtual[t, node, s] -= 1
            mean = tree.total[t, node, s] / tree.visits[t, node, s]
            low, high = (mean, mean) if sign > 0 else (-abs(mean), abs(mean))
            tree.low[t] = min(tree.low[t], low)
            tree.high[t] = max(tree.high[t], high)
