"""The sizes of the room's claims: what is trained and compared at each scale. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tenfold.engine.config import free
from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.sae import subject_config
from tenfold.parts.sae.subject_config import SubjectConfig
from tenfold.rooms.scope import config

Scale = Literal["quick", "laptop", "full", "gpu"]
RESIDUAL, ATTENTION, MLP = "blocks.{}", "blocks.{}.attn.out:in", "blocks.{}.mlp_post_norm"
"""The sites of a block: the stream after it, its heads, what its feed-forward layer adds."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Check Gemma Scope's findings on a model that this machine trains itself."""

    scale: Scale = "quick"
    """Size of the set of runs: about 90 s, 10 minutes, hours on two cores; or one GPU."""
    text: str = ""
    """Folder of your own text for the model; empty: Python's standard library."""
    tuning_text: str = ""
    """Folder of text that the model is tuned on; empty: the prose of its own text."""
    results: str = free("")
    """Folder of committed results, such as claims, whose <room>.json gets this one too."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a scale fixes."""

    subject: SubjectConfig
    blocks: tuple[int, ...]
    """Whose sites have dictionaries."""
    widths: tuple[int, int]
    """Latents of the narrower and the wider dictionaries."""
    target_l0: tuple[float, ...]
    matched_l0: tuple[float, ...]
    """Where dictionaries are compared; inside the range of the targets."""
    seeds: tuple[int, ...]
    rows: int
    """Activations each dictionary is trained on."""
    batch: int
    tokens: int
    """Activations harvested at each site."""
    evaluation_tokens: int
    """Held-out tokens on which everything is measured."""
    kind_site: str
    """Where dictionaries of one kind of text are trained, and those of the tuned model."""
    tuning_steps: int
    """Updates that make the tuned model from the base model."""
    threads: int = 2
    """CPU threads: fixed, so that the result is the same on machines with more."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Gemma Scope's sites of the blocks."""
        kinds = (RESIDUAL, ATTENTION, MLP)
        return tuple(site.format(block) for block in self.blocks for site in kinds)

    def suite(self, *, sites: tuple[str, ...] = (), both_widths: bool = False) -> config.Suite:
        """Return what one suite of the claim is told."""
        return config.Suite(
            sites=sites,
            widths=self.widths if both_widths else self.widths[:1],
            target_l0=self.target_l0,
            seeds=self.seeds,
            tokens=self.tokens,
            rows=self.rows,
            batch=self.batch,
            schedule="short",
            evaluation_tokens=self.evaluation_tokens,
            evaluate=False,
            dash=False,
            threads=self.threads,
        )


def make_plan(claim: Claim) -> Plan:
    """Return the plan of a claim's scale."""
    return {"quick": _quick, "laptop": _laptop, "full": _full, "gpu": _gpu}[claim.scale](claim.text)


def _quick(text: str) -> Plan:
    return Plan(
        subject=subject_config.quick(text),
        blocks=(1,),
        widths=(256, 512),
        target_l0=(12.0, 24.0),
        matched_l0=(16.0,),
        seeds=(0, 1, 2),
        rows=300 * 512,
        batch=512,
        tokens=150_000,
        evaluation_tokens=16_384,
        kind_site="blocks.1",
        tuning_steps=100,
    )


def _laptop(text: str) -> Plan:
    return Plan(
        subject=subject_config.laptop(text),
        blocks=(0, 1, 2, 3),
        widths=(512, 1_024),
        target_l0=(12.0, 38.0),
        matched_l0=(16.0, 32.0),
        seeds=(0, 1, 2),
        rows=300 * 512,
        batch=512,
        tokens=200_000,
        evaluation_tokens=32_768,
        kind_site="blocks.2",
        tuning_steps=200,
    )


def _full(text: str) -> Plan:
    return replace(
        _laptop(text),
        subject=replace(subject_config.laptop(text), steps=10_000),
        widths=(1_024, 4_096),
        target_l0=(8.0, 16.0, 32.0, 64.0, 128.0),
        matched_l0=(10.0, 20.0, 40.0, 80.0),
        seeds=(0, 1, 2, 3, 4),
        rows=4_000 * 1_024,
        batch=1_024,
        tokens=2_000_000,
        evaluation_tokens=131_072,
        tuning_steps=1_000,
    )


def _gpu(text: str) -> Plan:
    decoder = DecoderConfig(
        width=512, depth=8, heads=8, kv_heads=8, head_width=64, hidden=1_536, context=256
    )
    return replace(
        _full(text),
        subject=replace(subject_config.laptop(text), decoder=decoder, steps=4_000, batch=64),
        blocks=(1, 4, 7),
        widths=(4_096, 16_384),
        rows=4_000 * 4_096,
        batch=4_096,
        kind_site="blocks.4",
    )
