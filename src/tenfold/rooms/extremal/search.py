"""One search for one problem: chains side by side, one budget, every improvement checked at once.

A round gives every chain the same number of flips, in threads that share nothing, so that what is
found does not depend on how many there are. Minutes only decide how many rounds are made; a budget
in flips that pays for as many rounds finds the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.progress import Progress
from tenfold.rooms.extremal import config, local
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import Bound, published, upper_bound
from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.graph import Graph, from_edges
from tenfold.rooms.extremal.groups import pair_orbits, read_action
from tenfold.rooms.extremal.openings import Opening, check_frozen, open_start
from tenfold.rooms.extremal.orbits import check_invariant
from tenfold.rooms.extremal.problem import Opened, Problem, open_problem
from tenfold.rooms.extremal.slices import Slices
from tenfold.rooms.extremal.verify import Certificate, verify
from tenfold.rooms.extremal.walkers import BoardWalker, OrbitWalker, Walker

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE_PER_PAIR = 40
"""An ILS chain begins anew after so many flips without gain for every pair of nodes."""
TABU_PATIENCE = 20_000
"""A tabu chain goes back to its best after so many flips without gain."""
LEAST_PATIENCE = 3_000
CHAINS = 2
"""Searches side by side, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a search had found how many edges."""

    flips: int
    seconds: float
    edges: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The best graph of a search, certified, and how it was come by."""

    graph: Graph
    edges: int
    upper: Bound
    """No graph has more edges, and the rule that says so."""
    optimal: bool
    """Whether the graph meets that bound."""
    certificate: Certificate
    method: str
    start: str
    seed: int
    flips: int
    """Flips of all chains together."""
    seconds: float
    trace: tuple[Moment, ...]
    """Every gain."""


Tell = Callable[[Graph, Certificate, "Searcher"], None]
"""What is called with every improvement."""


class Searcher:
    """The chains of a search and the best graph that any of them has found; `Checkpointable`."""

    def __init__(
        self,
        cfg: config.Search,
        openings: list[Opening],
        *,
        archive: Archive | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.cfg = cfg
        self.opened = open_problem(cfg.problem)
        check_frozen(self.opened.frozen, cfg.problem)
        self.upper = upper_bound(cfg.problem)
        self.goal = min(cfg.target or self.upper.value, self.upper.value)
        self.walkers = new_walkers(cfg, self.opened, openings, goal=self.goal)
        self.archive = archive
        self.best: Graph | None = None
        self.certificate: Certificate | None = None
        self.start = ""
        self.trace: list[Moment] = []
        self.rounds = 0
        self.seconds = 0.0
        self._sizes = config.round_sizes(-(-cfg.flips // cfg.chains), most=cfg.round_flips)
        self._slices = Slices(0.0 if cfg.flips else 60 * cfg.minutes / cfg.steps)
        self._began = 0.0
        self._tell = tell
        self._pool: ThreadPoolExecutor | None = None

    @property
    def edges(self) -> int:
        """Edges of the best graph, -1 if there is none."""
        return self.best.size if self.best else -1

    @property
    def flips(self) -> int:
        """Flips of all chains together."""
        return sum(walker.flips for walker in self.walkers)

    @property
    def elapsed(self) -> float:
        """Seconds of work so far, in the step at hand too."""
        return self.seconds + (time.monotonic() - self._began if self._began else 0.0)

    @property
    def done(self) -> bool:
        """Whether the target or the proven upper bound is reached, or the flips are spent."""
        spent = bool(self._sizes) and self.rounds >= len(self._sizes)
        return spent or self.edges >= self.goal

    def update(self) -> None:
        """Make a round, or as many as fit into a slice of time; none when done."""
        self._began = time.monotonic()
        for _ in self._slices.rounds():
            if self.done:
                break
            play_round(self)
        self.seconds, self._began = self.elapsed, 0.0

    def advance_all(self, flips: int) -> None:
        """Let every chain go on for some flips."""
        threads = min(len(self.walkers), self.cfg.threads or os.cpu_count() or 1)
        if threads == 1:
            for walker in self.walkers:
                walker.advance(flips)
            return
        self._pool = self._pool or ThreadPoolExecutor(threads)
        list(self._pool.map(lambda walker: walker.advance(flips), self.walkers))

    def next_size(self) -> int:
        """Return the flips of each chain in the next round."""
        if self._sizes:
            return self._sizes[self.rounds]
        return config.round_size(self.rounds, most=self.cfg.round_flips)

    def take(self, graph: Graph, walker: Walker) -> None:
        """Check a graph and keep it if it is the best; the archive gets equal ones too.

        Raises:
            TenfoldError: if it does not fit the problem, which would be a fault of ours.
        """
        if graph.size < self.edges:
            return
        if graph.size > self.edges:
            self.certificate = verify(graph, self.cfg.problem)
            self.best, self.start = graph, walker.opening.text
            self.trace.append(Moment(self.flips, self.elapsed, graph.size))
            if self._tell is not None:
                self._tell(graph, self.certificate, self)
        if self.archive is not None:
            self.archive.put(
                graph,
                method=method_of(self.cfg),
                start=walker.opening.text,
                seed=self.cfg.seed,
                flips=self.flips,
                seconds=self.elapsed,
            )

    def measures(self) -> dict[str, float]:
        """Return what is logged after a step."""
        values = {
            "edges": self.edges,
            "flips": self.flips,
            "gap_upper": self.upper.value - self.edges,
        }
        listed = published(self.cfg.problem).get(self.cfg.problem.nodes)
        if listed is not None:
            values["gap_known"] = listed.lower - self.edges
        if not self.cfg.flips and self.seconds:  # else rows depend on flips alone
            values["flips_per_second"] = round(self.flips / self.seconds)
        return {name: float(value) for name, value in values.items()}

    def found(self) -> Found:
        """Return the best graph.

        Raises:
            TenfoldError: if no graph fits the problem so far.
        """
        if self.best is None or self.certificate is None:
            raise TenfoldError(
                f"no graph that fits was met in {self.flips:,} flips (min_degree is "
                f"{self.cfg.problem.min_degree}); give more time or another start"
            )
        return Found(
            graph=self.best,
            edges=self.edges,
            upper=self.upper,
            optimal=self.edges == self.upper.value,
            certificate=self.certificate,
            method=method_of(self.cfg),
            start=self.start,
            seed=self.cfg.seed,
            flips=self.flips,
            seconds=self.seconds,
            trace=tuple(self.trace),
        )

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return the chains, the best graph and the counts."""
        import torch

        tensors: dict[str, Tensor] = {}
        walkers = []
        for number, walker in enumerate(self.walkers):
            own, values = walker.state()
            tensors |= {f"{number}/{name}": tensor for name, tensor in own.items()}
            walkers.append(values)
        if self.best is not None:
            tensors["best"] = torch.from_numpy(self.best.edges.copy())
        trace = [[moment.flips, moment.seconds, moment.edges] for moment in self.trace]
        return tensors, {
            "walkers": walkers, "rounds": self.rounds, "seconds": self.seconds, "trace": trace,
            "start": self.start,
        }  # fmt: skip

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        for number, (walker, own) in enumerate(zip(self.walkers, values["walkers"], strict=True)):
            head = f"{number}/"
            mine = {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}
            walker.load_state(mine, own)
        if "best" in tensors:
            self.best = from_edges(self.cfg.problem.nodes, tensors["best"].numpy())
            self.certificate = verify(self.best, self.cfg.problem)
        self.rounds, self.seconds = int(values["rounds"]), float(values["seconds"])
        self.trace = [Moment(*moment) for moment in values["trace"]]
        self.start = str(values["start"])


def play_round(searcher: Searcher) -> None:
    """Let all chains go on, then take what they found, in their order."""
    searcher.advance_all(searcher.next_size())
    searcher.rounds += 1
    for walker in searcher.walkers:
        graph = walker.news()
        if graph is not None:
            searcher.take(graph, walker)


def method_of(cfg: config.Search) -> str:
    """Return the method's name, with `auto` resolved."""
    if cfg.problem.group:
        return "orbits"
    return "ils" if cfg.method == "auto" else cfg.method


def new_walkers(
    cfg: config.Search, opened: Opened, openings: list[Opening], *, goal: int
) -> list[Walker]:
    """Lay out the chains, each with its own opening and random numbers.

    Raises:
        TenfoldError: if a group does not leave the frozen edges or an opening as they are.
    """
    if cfg.problem.group:
        action = read_action(cfg.problem.group, cfg.problem.nodes)
        orbits = pair_orbits(action)
        check_invariant(opened.frozen, orbits, what="frozen", group=action.name)
        for graph, text in {opening.graph: opening.text for opening in openings}.items():
            check_invariant(graph, orbits, what=f"start {text}", group=action.name)
        return [
            OrbitWalker(opened, action, opening, seed=cfg.seed, number=number, target=goal)
            for number, opening in enumerate(openings)
        ]
    method: local.Method = "ils" if cfg.method == "auto" else cfg.method
    return [
        BoardWalker(
            opened,
            opening,
            method=method,
            seed=cfg.seed,
            number=number,
            patience=resolve_patience(cfg),
            tenure=cfg.tenure,
            target=goal,
        )
        for number, opening in enumerate(openings)
    ]


def resolve_patience(cfg: config.Search) -> int:
    """Return the flips without gain before a chain begins anew; 0 never.

    A start that was given is not left by itself, one from nothing is by the number of pairs.
    """
    if cfg.patience:
        return max(cfg.patience, 0)
    if cfg.method == "tabu":
        return TABU_PATIENCE
    if cfg.start != "empty":
        return 0
    n = cfg.problem.nodes
    return max(LEAST_PATIENCE, PATIENCE_PER_PAIR * n * (n - 1) // 2)


def search(
    problem: Problem,
    *,
    minutes: float = 5.0,
    flips: int = 0,
    seed: int = 0,
    method: str = "auto",
    start: str | Graph = "empty",
    archive: Archive | str | Path | None = None,
    chains: int = CHAINS,
    target: int = 0,
    quiet: bool = True,
) -> Found:
    """Look for a graph with as many edges as possible and return the best, certified.

    Args:
        problem: what is looked for.
        minutes: time limit, if `flips` is 0.
        flips: of all chains together; then the result depends on the arguments alone.
        seed: names the random numbers.
        method: auto, ils, tabu, anneal, greedy; or, from the empty graph with one chain,
            ils-curriculum, tabu-curriculum (the paper's), ce, az, az-curriculum.
        start: a graph, or as `config.Search.start`.
        archive: gets every improvement; an open one, or its folder.
        chains: searches side by side.
        target: edges at which it stops; the proven upper bound always does.
        quiet: show no progress.

    Raises:
        TenfoldError: if problem or start are unusable, or no graph that fits was met.
    """
    text = f"g6:{encode_graph6(start)}" if isinstance(start, Graph) else start
    if method not in get_args(config.MethodName):
        _check_settings(method, start=text, target=target, chains=chains)
    if isinstance(archive, str | Path):
        archive = Archive(Path(archive), problem)
    if method not in get_args(config.MethodName):
        found = search_otherwise(problem, method, minutes=minutes, flips=flips, seed=seed)
        if archive is not None:
            archive.put(found.graph, method=method, seed=seed, flips=found.flips,
                        seconds=found.seconds)  # fmt: skip
        return found
    cfg = config.Search(
        problem=problem, minutes=minutes, flips=flips, seed=seed,
        method=cast(config.MethodName, method), start=text,
        archive=str(archive.path) if archive else "", chains=chains, target=target,
    )  # fmt: skip
    searcher = open_searcher(cfg, archive=archive)
    try:
        with Progress("extremal search", cfg.steps, quiet=quiet) as progress:
            for step in range(cfg.steps):
                searcher.update()
                progress.update(step + 1, edges=searcher.edges)
                if searcher.done:
                    break
    finally:
        searcher.close()
    return searcher.found()


def _check_settings(method: str, *, start: str, target: int, chains: int) -> None:
    """Refuse what a method that is no chain would not look at.

    Raises:
        TenfoldError: naming it, or if there is no such method.
    """
    from tenfold.rooms.extremal.compare_config import CONTENDERS

    if method not in CONTENDERS:
        raise unknown_name("method", method, ("auto", *CONTENDERS))
    changed = {"start": start != "empty", "target": target != 0, "chains": chains != CHAINS}
    if names := [name for name, is_changed in changed.items() if is_changed]:
        raise TenfoldError(
            f"method {method} takes no {', '.join(names)}: it begins with nothing and has one "
            "chain; leave that out, or choose ils or tabu"
        )


def search_otherwise(
    problem: Problem, method: str, *, minutes: float, flips: int, seed: int
) -> Found:
    """Search by a method that is no chain: with a curriculum, or one that learns.

    Raises:
        TenfoldError: if it cannot keep to the problem.
    """
    from tenfold.rooms.extremal.contend import contend

    began = time.monotonic()
    graph, made, curve = contend(method, problem, flips=flips, seconds=60 * minutes, seed=seed)
    upper = upper_bound(problem)
    return Found(
        graph=graph,
        edges=graph.size,
        upper=upper,
        optimal=graph.size == upper.value,
        certificate=verify(graph, problem),
        method=method,
        start="empty",
        seed=seed,
        flips=made,
        seconds=time.monotonic() - began,
        trace=tuple(Moment(int(f), s, int(e)) for f, s, e in curve),
    )


def open_openings(cfg: config.Search, *, archive: Archive | None = None) -> list[Opening]:
    """Return the first graph of each chain.

    Raises:
        TenfoldError: naming what is wrong with start or archive.
    """
    return open_start(
        cfg.start,
        cfg.problem,
        chains=cfg.chains,
        seed=cfg.seed,
        archive=archive or open_archive(cfg),
    )


def open_archive(cfg: config.Search) -> Archive | None:
    """Open the archive of a search, if it names one."""
    return Archive(Path(cfg.archive), cfg.problem) if cfg.archive else None


def open_searcher(
    cfg: config.Search,
    *,
    openings: list[Opening] | None = None,
    archive: Archive | None = None,
    tell: Tell | None = None,
) -> Searcher:
    """Open the problem, the archive and the start of a search.

    Raises:
        TenfoldError: naming what is wrong with them.
    """
    archive = archive or open_archive(cfg)
    openings = openings or open_openings(cfg, archive=archive)
    return Searcher(cfg, openings, archive=archive, tell=tell)
