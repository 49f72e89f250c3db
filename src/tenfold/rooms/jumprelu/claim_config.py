"""The sizes of the claim: what is trained and compared at each scale. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tenfold.engine.config import free
from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.sae import subject_config
from tenfold.parts.sae.subject_config import SubjectConfig
from tenfold.rooms.jumprelu import config

Scale = Literal["quick", "laptop", "full", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Check the paper's headline: JumpReLU against its rivals at equal L0."""

    scale: Scale = "quick"
    """Size of the set of runs: about 90 s, 10 minutes, hours on two cores; or one GPU."""
    text: str = ""
    """Folder of your own text for the model; empty: Python's standard library."""
    results: str = free("")
    """Folder of committed results, such as claims, whose <room>.json gets this one too."""
    workers: int = free(2)
    """Processes that train arms side by side; the result does not depend on it."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers ({self.workers}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One kind of dictionary under one schedule."""

    name: str
    method: config.Method
    schedule: config.ScheduleName = "short"
    rows: int = 0
    """Activations each is trained on; 0 is the plan's."""

    @property
    def key(self) -> str:
        """The name as a file name."""
        return self.name.lower().replace(" ", "_")


ARMS = (
    Arm(name="JumpReLU", method=config.JumpReLU()),
    Arm(name="TopK", method=config.TopK()),
    Arm(name="BatchTopK", method=config.BatchTopK()),
    # Unit decoder rows, as in the Gated paper: with the norm-weighted penalty (RI-L1) a short run
    # shrinks the decoder faster than the gate can follow, and Gated would look far worse.
    Arm(name="Gated", method=config.Gated(norm_weighted=False)),
    Arm(name="ReLU-L1", method=config.ReLU()),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a scale fixes."""

    subject: SubjectConfig
    sites: tuple[str, ...]
    width: int
    target_l0: tuple[float, ...]
    matched_l0: tuple[float, ...]
    """Where fronts are compared; inside the range of the targets."""
    seeds: tuple[int, ...]
    rows: int
    """Activations each dictionary is trained on."""
    batch: int
    tokens: int
    """Activations harvested at each site."""
    loss_tokens: int
    """Held-out tokens on which everything is measured."""
    arms: tuple[Arm, ...] = ARMS
    threads: int = 1
    """CPU threads of each arm: fixed, so that the number of workers changes nothing."""


def make_plan(claim: Claim) -> Plan:
    """Return the plan of a claim's scale."""
    return {"quick": _quick, "laptop": _laptop, "full": _full, "gpu": _gpu}[claim.scale](claim.text)


def _quick(text: str) -> Plan:
    return Plan(
        subject=subject_config.quick(text),
        sites=("blocks.1",),
        width=512,
        target_l0=(12.0, 24.0),
        matched_l0=(16.0,),
        seeds=(0, 1, 2),
        rows=400 * 512,
        batch=512,
        tokens=150_000,
        loss_tokens=16_384,
    )


def _laptop(text: str) -> Plan:
    return Plan(
        subject=subject_config.laptop(text),
        sites=("blocks.2", "blocks.2.mlp_post_norm"),
        width=1_024,
        target_l0=(12.0, 38.0),
        matched_l0=(16.0, 32.0),
        seeds=(0, 1, 2, 3, 4),
        rows=288 * 512,
        batch=512,
        tokens=300_000,
        loss_tokens=16_384,
    )


def _full(text: str) -> Plan:
    """C5: all residual and MLP sites, four targets around the matched L0s, both schedules."""
    paper = Arm(
        name="JumpReLU paper schedule",
        method=config.JumpReLU(),
        schedule="gemma-scope",
        rows=20_000 * 1_024,
    )
    return Plan(
        subject=replace(subject_config.laptop(text), steps=10_000),
        sites=tuple(
            site
            for block in range(4)
            for site in (f"blocks.{block}", f"blocks.{block}.mlp_post_norm")
        ),
        width=1_024,
        target_l0=(6.0, 12.0, 24.0, 48.0, 96.0),
        matched_l0=(8.0, 16.0, 32.0, 64.0),
        seeds=(0, 1, 2, 3, 4),
        rows=4_000 * 1_024,
        batch=1_024,
        tokens=2_000_000,
        loss_tokens=131_072,
        arms=(*ARMS, paper),
    )


def _gpu(text: str) -> Plan:
    """G4: a larger model and 16k latents on one GPU."""
    decoder = DecoderConfig(
        width=512, depth=8, heads=8, kv_heads=8, head_width=64, hidden=1_536, context=256
    )
    return Plan(
        subject=replace(subject_config.laptop(text), decoder=decoder, steps=4_000, batch=64),
        sites=("blocks.4",),
        width=16_384,
        target_l0=(12.0, 24.0, 48.0, 96.0, 160.0),
        matched_l0=(16.0, 32.0, 64.0, 128.0),
        seeds=(0, 1, 2),
        rows=4_000 * 4_096,
        batch=4_096,
        tokens=2_000_000,
        loss_tokens=131_072,
    )
