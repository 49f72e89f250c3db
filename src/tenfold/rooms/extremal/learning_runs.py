"""The loops of runs with a network: AlphaZero, a search with what it learned, cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tenfold.engine import checkpoint, device
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import Run, decode_saved
from tenfold.rooms.extremal.alphazero import AlphaZero
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig, Budget
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import known, upper_bound
from tenfold.rooms.extremal.cross_entropy import CrossEntropy
from tenfold.rooms.extremal.learning_config import Az, AzSearch, AzTrain, CrossEntropyRun
from tenfold.rooms.extremal.model import build_network
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.records import record_rows
from tenfold.rooms.extremal.slices import Slices
from tenfold.rooms.extremal.trials import Outcome, random_flips, search_with
from tenfold.rooms.extremal.verify import verify

if TYPE_CHECKING:
    from torch import Tensor


class Learner(Protocol):
    """What learns in updates and can be saved."""

    def update(self, step: int) -> Any:
        """Make an update."""

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything that later updates depend on."""

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""


class Lesson:
    """A learner with a count of its updates, a step of which may hold several; `Checkpointable`."""

    def __init__(self, learner: Learner, *, seconds: float, done: Callable[[], bool]) -> None:
        """Begin.

        Args:
            learner: what learns.
            seconds: of a step; 0: a step is one update.
            done: says when there is nothing left to learn.
        """
        self.learner = learner
        self.updates = 0
        self._slices = Slices(seconds)
        self._done = done

    def update(self) -> Any:
        """Make the updates of a step; return what the last one told, None if there was none."""
        told = None
        for _ in self._slices.rounds():
            if self._done():
                break
            told = self.learner.update(self.updates)
            self.updates += 1
        return told

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return the learner's state and the count."""
        tensors, values = self.learner.state()
        return tensors, {"learner": values, "updates": self.updates}

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        self.learner.load_state(tensors, values["learner"])
        self.updates = int(values["updates"])


# AlphaZero


def az_train(cfg: AzTrain, *, run: Run) -> Run:
    """Learn as `cfg` asks; out/records.json has a row for each size, out/archive the graphs."""
    with run:
        folder = Path(cfg.archive) if cfg.archive else run.out / "archive"
        problem = Problem(nodes=max(cfg.game.sizes), forbid=cfg.game.forbid)
        archive = Archive(folder, problem, keep=cfg.game.keep)
        compute = device.choose(cfg.device, threads=cfg.threads)
        device.apply(compute)
        learner = AlphaZero(cfg.game, torch_device=str(compute.device), archive=archive)
        lesson = Lesson(
            learner,
            seconds=_slice(cfg.iterations, cfg.minutes, cfg.steps),
            done=lambda: len(learner.finished) == len(cfg.game.sizes),
        )
        run.introduce({"archive": str(folder), "device": compute.reasons[0]})
        for step in run.steps(cfg.steps, lesson):
            told = lesson.update()
            if told is not None:
                run.log(step, az_measures(told, learner))
        sizes = cfg.game.sizes
        run.write_json("records.json", record_rows(archive, first=min(sizes), last=max(sizes)))
        archive.export(run.out / "best.s6", format="s6")
    return run


def az_measures(told: Any, learner: AlphaZero) -> dict[str, float]:
    """Return what is logged after a step; losses only where something was learned."""
    values = {
        "nodes": told.nodes,
        "edges": told.edges,
        "mean_best": told.mean_best,
        "flips": told.flips,
        "finished": len(learner.finished),
    }
    if learner.cfg.learn.steps:
        values |= {"policy_loss": told.policy_loss, "value_loss": told.value_loss}
    return {name: float(value) for name, value in values.items()}


def az_search(cfg: AzSearch, *, run: Run, trained: Path | None) -> Run:
    """Search with the network of the run at `trained`; out/result.json tells what was found."""
    with run:
        compute = device.choose(cfg.device, threads=cfg.threads)
        device.apply(compute)
        game, learner = open_trained(trained)
        outcome = _try(cfg, game, learner, torch_device=str(compute.device))
        problem = Problem(nodes=cfg.nodes, forbid=game.forbid)
        certificate = verify(outcome.graph, problem)
        if cfg.archive:
            start = "curriculum" if cfg.curriculum else "empty"
            Archive(Path(cfg.archive), problem).put(
                outcome.graph, method="alphazero", start=start,
                seed=cfg.seed, flips=outcome.flips, seconds=outcome.seconds,
            )  # fmt: skip
        published = known(game.forbid).get(cfg.nodes)
        run.write_json(
            "result.json",
            {
                "nodes": cfg.nodes,
                "edges": outcome.graph.size,
                "upper": upper_bound(problem).value,
                "known_lower": published.lower if published else None,
                "mean_best": outcome.mean_best,
                "flips": outcome.flips,
                "seconds": round(outcome.seconds, 3),
                "certificate": certificate.line(),
                "curve": [list(point) for point in outcome.curve],
            },
        )
    return run


def open_trained(trained: Path | None) -> tuple[AlphaZeroConfig, AlphaZero]:
    """Return the learner of a training run as it was saved last, or one that learned nothing.

    Raises:
        TenfoldError: if the run is none of training, or has not saved anything yet.
    """
    if trained is None:
        game = AlphaZeroConfig()
        return game, AlphaZero(game)
    saved = decode_saved(trained, Az, schema=1)
    if not isinstance(saved.do, AzTrain):
        raise TenfoldError(f"{trained} is no run of `az train`; name one")
    found = checkpoint.latest(trained / "ckpt")
    if found is None:
        raise TenfoldError(f"{trained} has saved nothing yet; wait for its first checkpoint")
    learner = AlphaZero(saved.do.game)
    checkpoint.load(found[1], Lesson(learner, seconds=0.0, done=lambda: True))
    return saved.do.game, learner


def _try(cfg: AzSearch, game: AlphaZeroConfig, learner: AlphaZero, *, torch_device: str) -> Outcome:
    budget = Budget(flips=cfg.flips) if cfg.flips else Budget(seconds=60 * cfg.minutes)
    solutions = learner.solutions if cfg.curriculum else None
    if cfg.random:
        return random_flips(game, budget, nodes=cfg.nodes, solutions=solutions, seed=cfg.seed)
    network = learner.network if learner.flips else build_network(game.network, seed=cfg.seed)
    return search_with(
        network.to(torch_device),
        game,
        budget,
        nodes=cfg.nodes,
        solutions=solutions,
        seed=cfg.seed,
        torch_device=torch_device,
    )


# Cross-entropy


def ce_run(cfg: CrossEntropyRun, *, run: Run) -> Run:
    """Learn as `cfg` asks; out/result.json tells the best graph."""
    with run:
        compute = device.choose(cfg.device)
        problem = Problem(nodes=cfg.method.nodes)
        archive = Archive(Path(cfg.archive), problem) if cfg.archive else None
        upper = upper_bound(problem).value
        learner = CrossEntropy(cfg.method, torch_device=str(compute.device))
        lesson = Lesson(
            learner,
            seconds=_slice(cfg.iterations, cfg.minutes, cfg.steps),
            done=lambda: learner.best.size >= upper,
        )
        run.introduce({"upper bound": f"{upper} edges", "device": compute.reasons[0]})
        kept = 0
        for step in run.steps(cfg.steps, lesson):
            told = lesson.update()
            if told is None:
                continue
            run.log(
                step,
                {"edges": learner.best.size, "score": told.score, "mean": told.mean,
                 "loss": told.loss, "flips": learner.flips},
            )  # fmt: skip
            if archive is not None and learner.best.size > kept:
                kept = learner.best.size
                archive.put(
                    learner.best, method="cross-entropy", seed=cfg.method.seed,
                    flips=learner.flips, seconds=learner.seconds,
                )  # fmt: skip
        run.write_json("result.json", _ce_result(learner, problem, upper=upper))
    return run


def _ce_result(learner: CrossEntropy, problem: Problem, *, upper: int) -> Json:
    return {
        "nodes": problem.nodes,
        "edges": learner.best.size,
        "upper": upper,
        "flips": learner.flips,
        "seconds": round(learner.seconds, 3),
        "certificate": verify(learner.best, problem).line(),
    }


def _slice(counted: int, minutes: float, steps: int) -> float:
    return 0.0 if counted else 60 * minutes / steps
