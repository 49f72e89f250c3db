"""Self-play: many games side by side, one network, and what is known of every size."""

# G games, B of them that are judged together, P pairs, L moves of the longest game

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.parts.search.config import SearchConfig
from tenfold.parts.search.curriculum import draw_start
from tenfold.parts.search.puct import Found, search
from tenfold.rooms.extremal import method, model
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig
from tenfold.rooms.extremal.canonical import canonical_form
from tenfold.rooms.extremal.data import Games, Seen, as_features
from tenfold.rooms.extremal.graph import Graph, empty, extend, relabel
from tenfold.rooms.extremal.problem import Problem, resize
from tenfold.rooms.extremal.replay import Block
from tenfold.rooms.extremal.verify import verify

Ints = NDArray[np.int64]
Logits = NDArray[np.float32]
Done = TypeVar("Done")

PAIRS_AT_ONCE = 2_048
"""Ordered pairs of nodes in one call of a network on a CPU: more leave the cache of a core."""
Mover = Callable[[Games, Ints, rng.Name], Found]
"""Chooses flips of the games named by the second argument; the third names the move."""


class Crew:
    """Threads that each do a portion of what a network has to do, on one core.

    Small products do not gain from being split over cores, portions side by side do. How a batch
    is cut does not depend on the number of threads, so neither does any result.
    """

    def __init__(self, *, torch_device: str = "cpu", threads: int = 0) -> None:
        """Start threads on a CPU, 0: as many as torch has; a GPU needs one."""
        self.device = torch_device
        count = (threads or torch.get_num_threads()) if torch_device == "cpu" else 1
        self._pool = ThreadPoolExecutor(count, initializer=_begin_thread)

    def cut(self, rows: int, *, nodes: int) -> list[slice]:
        """Return slices of a batch, each for one call of the network; all of it for a GPU."""
        most = max(1, PAIRS_AT_ONCE // nodes**2) if self.device == "cpu" else max(1, rows)
        return [slice(first, first + most) for first in range(0, rows, most)]

    def map(self, do: Callable[[slice], Done], portions: list[slice]) -> list[Done]:
        """Do all portions and return what they gave, in their order."""
        return list(self._pool.map(do, portions))

    def call(self, do: Callable[[], Done]) -> Done:
        """Do something on one core."""
        return self._pool.submit(do).result()


def _begin_thread() -> None:
    # OpenMP keeps this number for each thread, so the caller's own stays as it is.
    torch.set_num_threads(1)


class Judge:
    """A network as a tree search asks it: logits and values in edges."""

    def __init__(self, network: model.Network, *, crew: Crew) -> None:
        self.network, self.crew = network, crew

    def __call__(self, seen: Seen, *, nodes: int) -> tuple[Logits, Logits]:
        """Return logits [B, P] and values [B] in edges."""
        said = self.crew.map(
            lambda portion: self._ask(tuple(part[portion] for part in seen), nodes),
            self.crew.cut(len(seen[0]), nodes=nodes),
        )
        logits, values = (np.concatenate(parts) for parts in zip(*said, strict=True))
        return logits, np.float32(method.value_scale(nodes)) * values

    def _ask(self, seen: Seen, nodes: int) -> tuple[Logits, Logits]:
        pairs, scalars = (torch.from_numpy(part) for part in as_features(seen, nodes=nodes))
        with torch.inference_mode():
            logits, values = self.network(pairs.to(self.crew.device), scalars.to(self.crew.device))
        return logits.cpu().numpy(), values.cpu().numpy()


# Movers


def searching(judge: Judge, cfg: SearchConfig, *, seed: int, explore: bool = True) -> Mover:
    """Return a mover that looks for each flip by tree search.

    Args:
        judge: the network.
        cfg: how to search.
        seed: of all noise.
        explore: whether PUCT draws its move by the shares of visits, or takes the most visited;
            Gumbel's moves are drawn in either case.
    """

    def move(games: Games, which: Ints, name: rng.Name) -> Found:
        generator = rng.stream(seed, "alphazero", "move", name)
        keys = generator.integers(1 << 63, size=len(games.state.moves)).astype(np.uint64)
        found = search(
            games,
            lambda seen: judge(seen, nodes=games.nodes),
            cfg,
            keys=keys[which],
            which=which,
        )
        return _by_visits(found, generator) if explore and cfg.rule == "puct" else found

    return move


def _by_visits(found: Found, generator: np.random.Generator) -> Found:
    shares = found.visits / found.visits.sum(axis=1, keepdims=True)
    drawn = [generator.choice(len(share), p=share) for share in shares]
    return replace(found, action=np.array(drawn))


def flipping(*, seed: int) -> Mover:
    """Return a mover that draws flips uniformly: the control."""

    def move(games: Games, which: Ints, name: rng.Name) -> Found:
        legal = games.legal(which)
        chances = rng.stream(seed, "random flips", name).random(legal.shape)
        action = np.where(legal, chances, -1.0).argmax(axis=1)
        nothing = np.zeros_like(legal, dtype=np.int64)
        policy = legal.astype(np.float64)
        return Found(action=action, visits=nothing, policy=policy, value=np.zeros(len(which)))

    return move


# Games


Move = tuple[Ints, Seen, Found]
"""Games that moved, what they saw, and what was found."""


def play(
    games: Games, mover: Mover, *, name: str, remember: bool = True
) -> tuple[list[Move], NDArray[np.float64]]:
    """Play games to their ends; return all moves, if they are remembered, and rewards [L, G]."""
    moves: list[Move] = []
    rewards: list[NDArray[np.float64]] = []
    while len(which := games.running()):
        found = mover(games, which, f"{name} {len(rewards)}")
        if remember:
            moves.append((which, games.observe(which), found))
        earned = np.zeros(len(games.state.moves))
        earned[which], _ = games.apply(which, found.action)
        rewards.append(earned)
    return moves, np.array(rewards).reshape(-1, len(games.state.moves))


def as_block(moves: Sequence[Move], rewards: NDArray[np.float64], *, nodes: int) -> Block:
    """Return all positions of finished games with what is to be learned of them."""
    scale = method.value_scale(nodes)
    to_go = np.apply_along_axis(method.returns_to_go, 0, rewards) / scale
    values = [row[which] for row, (which, _, _) in zip(to_go, moves, strict=True)]
    seen = [np.concatenate(parts) for parts in zip(*(seen for _, seen, _ in moves), strict=True)]
    return Block(
        nodes=nodes,
        entries=seen[0],
        ago=seen[1],
        scalars=seen[2],
        policy=np.concatenate([found.policy for _, _, found in moves]).astype(np.float32),
        value=np.concatenate(values).astype(np.float32),
    )


# What is known of every size


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """A graph of most edges and the digest of its class."""

    graph: Graph
    form: str


class Solutions:
    """The best graphs found of each size, up to isomorphism; `curriculum.Solved`."""

    def __init__(self, problem: Problem, *, keep: int = 64) -> None:
        self.problem, self.keep = problem, keep
        self.shelves: dict[int, list[Kept]] = {}

    def best(self, size: int) -> Sequence[Graph]:
        """Return the kept graphs on `size` nodes."""
        return [kept.graph for kept in self.shelves.get(size, [])]

    def edges(self, size: int) -> int:
        """Return the most edges on `size` nodes, -1 if there is no graph."""
        shelf = self.shelves.get(size, [])
        return shelf[0].graph.size if shelf else -1

    def put(self, graph: Graph) -> bool:
        """Keep a graph if none has more edges and its class is new; say whether it was.

        Raises:
            TenfoldError: if it has a forbidden subgraph.
        """
        most = self.edges(graph.nodes)
        shelf = self.shelves.setdefault(graph.nodes, [])
        if graph.size < most or (graph.size == most and len(shelf) >= self.keep):
            return False
        form = canonical_form(graph).digest
        if graph.size == most and any(kept.form == form for kept in shelf):
            return False
        verify(graph, resize(self.problem, graph.nodes))
        if graph.size > most:
            shelf.clear()
        shelf.append(Kept(graph=graph, form=form))
        return True

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return all graphs as tensors, and the digests of their classes."""
        tensors = {
            f"solutions/{size}/{place}": torch.from_numpy(kept.graph.edges)
            for size, shelf in self.shelves.items()
            for place, kept in enumerate(shelf)
        }
        forms = {str(size): [kept.form for kept in shelf] for size, shelf in self.shelves.items()}
        return tensors, forms

    def load_state(self, tensors: dict[str, Tensor], forms: Json) -> None:
        """Take over what `state` returned; other tensors are left alone."""
        self.shelves = {}
        for size, digests in forms.items():
            edges = [tensors[f"solutions/{size}/{place}"] for place in range(len(digests))]
            graphs = [Graph(int(size), found.cpu().numpy()) for found in edges]
            shelf = zip(graphs, digests, strict=True)
            self.shelves[int(size)] = [Kept(graph=graph, form=form) for graph, form in shelf]


def draw_starts(
    solutions: Solutions | None, *, nodes: int, games: int, generator: np.random.Generator
) -> list[Graph]:
    """Return where games begin: padded graphs of smaller sizes, or no edges where none is known.

    Nodes are renamed at random, so that their order cannot help.
    """
    starts = []
    for _ in range(games):
        drawn = draw_start(solutions, nodes, generator=generator) if solutions else None
        start = empty(nodes) if drawn is None else extend(drawn, nodes)
        starts.append(relabel(start, generator.permutation(nodes)))
    return starts


def new_games(cfg: AlphaZeroConfig, starts: Sequence[Graph]) -> Games:
    """Begin games with the rules of a config."""
    return Games(
        Problem(nodes=starts[0].nodes, forbid=cfg.forbid),
        starts,
        objective=cfg.objective,
        tenure=cfg.tenure,
        ahead=cfg.search.simulations,
    )


def promising(games: Games, solutions: Solutions) -> list[Graph]:
    """Return the repaired best graphs of games that may be kept."""
    graphs = games.records(least=solutions.edges(games.nodes))
    return [graph for graph in graphs if graph.size >= solutions.edges(games.nodes)]
