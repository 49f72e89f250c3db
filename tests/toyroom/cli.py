"""Verbs of the toy room; torch is imported when one of them runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import tyro

from tenfold.engine.config import free
from tenfold.engine.verbs import Call, Plain, Verb, open_run


@dataclass(frozen=True, kw_only=True)
class Steady:
    """Add the same each time."""

    amount: float = 1.0
    """What is added at a step."""


@dataclass(frozen=True, kw_only=True)
class Growing:
    """Add more each time."""

    factor: float = 2.0
    """Ratio of one step's addition to the one before."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """Count up."""

    steps: int = 8
    """Additions."""
    seed: int = 0
    """Names the random streams."""
    weights: tuple[float, ...] = (1.0, 0.5)
    """Weight of each counter."""
    noise: bool = False
    """Add noise."""
    order: Literal["up", "down"] = "up"
    """Direction."""
    rule: Steady | Growing = field(default_factory=Steady)
    """What a step adds."""
    log_every: int = free(4)
    """Steps between two rows of metrics."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Change one file into another."""

    file: tyro.conf.Positional[str]
    """File to read."""
    out: str = "out.txt"
    """File to write."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Check that counting works."""

    scale: Literal["quick", "laptop"] = "quick"
    """Size of the set of runs."""
    bonus: int = 0
    """Changes the result, for tests."""


class Counter:
    def __init__(self) -> None:
        self.total = 0.0

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"total": self.total}

    def load_state(self, _tensors: dict[str, Any], values: dict[str, Any]) -> None:
        self.total = values["total"]


def count(config: Count, call: Call) -> dict[str, Any]:
    run = open_run(
        config, call, room="toy", verb="count", seed=config.seed, units={"count/total": "1"}
    )
    counter = Counter()
    with run:
        for step in run.steps(config.steps, counter):
            if os.environ.get("TOY_FAULT") == str(step):
                raise RuntimeError(f"fault at step {step}")
            counter.total += 1
            if step % config.log_every == 0:
                run.log(step, {"count/total": counter.total})
    return {"run": str(run.path), "total": counter.total}


def convert(config: Convert, _call: Plain) -> str:
    return f"{config.file} -> {config.out}"


def claim(config: Claim, call: Call) -> dict[str, Any]:
    from tenfold.engine.claim import (
        ClaimResult,
        Rule,
        Statement,
        compare,
        to_json,
    )
    from tenfold.engine.config import encode

    run = open_run(config, call, room="toy", verb="claim")
    with run:
        if os.environ.get("TOY_FAULT") == "claim":
            raise RuntimeError("the toy fell off the table")
        for _step in run.steps(4, Counter()):
            pass
        rule = Rule(kind="at_least", margin=0.5, unit="1")
        result = ClaimResult(
            statement=Statement(
                room="toy", sentence="Counting counts.", paper="Abacus 1", figure="figure 1: 1"
            ),
            scale=config.scale,
            comparisons=(compare("count", rule, (1.0, 1.1, 0.9)),),
            seconds=0.5,
            seeds=(0, 1, 2),
            config=encode(config),
            command="tenfold toy claim",
            version="0",
            commit="cafe",
            machine="a table",
            date="2026-01-01",
        )
        run.write_json("claim.json", to_json(result))
        (run.path / "report.html").write_text("all of it")
    return {"verdict": result.verdict, "run": str(run.path)}


def small() -> Count:
    return Count(steps=4)


def wide() -> Count:
    return replace(small(), weights=(1.0, 2.0, 3.0))


VERBS = {
    "count": Verb(
        config=Count,
        run=count,
        help="Count up from zero.",
        recipes={"small": small, "wide": wide},
        default="small",
        plan=lambda config: {"additions": config.steps},
    ),
    "convert": Verb(config=Convert, run=convert, help="Change a file.", call=Plain),
    "claim": Verb(config=Claim, run=claim, help="Check that counting works."),
}
