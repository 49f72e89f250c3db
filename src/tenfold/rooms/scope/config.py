"""What a suite is told: subject, sites, widths, targets, data, evaluation.

Nothing here imports torch. A suite holds one dictionary for each site, width, target L0 and seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.engine.config import free
from tenfold.rooms.jumprelu import config as jumprelu
from tenfold.rooms.jumprelu.config import JumpReLU, Method, ScheduleName

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked into, and the text it reads."""

    source: str = "quick"
    """tiny, quick or laptop: a language model trained on the spot. FILE.py:FUNCTION: your own,
    which runs that file. A folder of a Hugging Face causal language model, or owner/name with
    --subject.download. The directory of a run of any room that has a network."""
    text: str = ""
    """File or folder of .txt, .jsonl or .parquet; empty: what the subject brings along."""
    text_field: str = "text"
    """Where the text stands in a line of .jsonl or a row of .parquet."""
    context: int = 0
    """Tokens of a window; 0 is the subject's own, 128 for Hugging Face models."""
    batch: int = 32
    """Windows or items of one forward pass."""
    download: bool = False
    """Fetch owner/name from the Hugging Face hub; nothing is downloaded otherwise."""

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("subject.source is empty; name a model, a FILE.py:FUNCTION or a run")
        for name, least in (("context", 0), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"subject.{name} ({getattr(self, name)}) must be at least {least}")


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """Write activations of several sites to disk, in one pass."""

    subject: Subject = field(default_factory=Subject)
    """What is looked into."""
    sites: tuple[str, ...] = ()
    """Sites, wildcards allowed; empty: those that `scope sites` proposes."""
    tokens: int = 1_000_000
    """Rows of each site."""
    max_gb: float = 0.0
    """Size of the store at most, in 1e9 bytes; 0 is no limit."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """How activations are stored."""
    norm_limit: float = 0.0
    """Leave out rows whose norm exceeds so many times the median, as attention sinks; 0: none."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads; 0 takes what the machine has."""

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"tokens ({self.tokens}) must be at least 1")
        if self.max_gb < 0 or self.norm_limit < 0:
            raise ValueError(
                f"max_gb ({self.max_gb}) and norm_limit ({self.norm_limit}) must be at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Harvest, train, evaluate and show a suite: sites x widths x target L0s x seeds."""

    subject: Subject = field(default_factory=Subject)
    """What is looked into."""
    sites: tuple[str, ...] = ()
    """Sites, wildcards allowed; `IN->OUT` is a transcoder. Empty: those `scope sites` proposes."""
    method: Method = field(default_factory=JumpReLU)
    """Kind of dictionary."""
    widths: tuple[int, ...] = (4_096,)
    """Latents; one dictionary for each."""
    target_l0: tuple[float, ...] = (16.0, 32.0, 64.0)
    """Mean active latents wanted; one dictionary for each."""
    seeds: tuple[int, ...] = (0,)
    """One dictionary for each; a seed fixes start and order of rows."""
    skip: bool = False
    """Give transcoders a linear map past the latents."""
    tokens: int = 1_000_000
    """Rows harvested at each site."""
    rows: int = 0
    """Rows each dictionary is trained on; 0 is one pass over what was harvested."""
    batch: int = 1_024
    """Rows of a step."""
    schedule: ScheduleName = "auto"
    """Constants of the optimiser; `auto` picks by the number of steps and says which."""
    learning_rate: float = 0.0
    """Adam's step size; 0 is the schedule's."""
    held_out: float = 0.02
    """Share of the harvest that is kept from training, to watch it."""
    store: str = ""
    """Folder of a finished harvest to train from; empty: harvest first."""
    live: bool = False
    """Train while the model runs, without a store; no pages can be made then."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """How activations are stored."""
    max_gb: float = 0.0
    """Size of the store at most, in 1e9 bytes; 0 is no limit."""
    keep_store: bool = free(True)
    """Keep the store once the pages are made."""
    evaluate: bool = True
    """Run the paper's metrics after training."""
    evaluation_tokens: int = 131_072
    """Held-out tokens (or items) each dictionary is evaluated on."""
    dash: bool = True
    """Make pages to browse."""
    workers: str = free("1")
    """Processes over which sites are spread; a number, or ray."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads; 0 takes what the machine has."""
    log_every: int = free(50)
    """Steps between two lines of metrics."""

    def __post_init__(self) -> None:
        for name in ("tokens", "batch", "log_every", "evaluation_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.rows < 0 or self.max_gb < 0:
            raise ValueError(f"rows ({self.rows}) and max_gb ({self.max_gb}) must be at least 0")
        if not self.widths or not self.target_l0:
            raise ValueError("widths and target_l0 must name at least one value each")
        if self.store and self.live:
            raise ValueError("store and live exclude each other; give one of them")
        if self.workers != "ray" and not (self.workers.isdecimal() and int(self.workers) >= 1):
            raise ValueError(f"workers ({self.workers!r}) must be a number from 1 on, or ray")
        for width in self.widths:
            self.train(width=width)  # refuses what the room jumprelu refuses

    def train(self, *, width: int, rows: int = 1) -> jumprelu.Train:
        """Return what the trainer of one width is told; `rows` as resolved from the harvest."""
        return jumprelu.Train(
            method=self.method,
            width=width,
            target_l0=self.target_l0,
            seeds=self.seeds,
            rows=self.rows or rows,
            batch=self.batch,
            schedule=self.schedule,
            learning_rate=self.learning_rate,
            held_out=self.held_out,
            device=self.device,
            threads=self.threads,
            log_every=self.log_every,
        )

    @property
    def harvest(self) -> Harvest:
        """What the harvest of this suite is told."""
        sites = [side for site in self.sites for side in site.split("->")]
        return Harvest(
            subject=self.subject,
            sites=tuple(dict.fromkeys(sites)),
            tokens=self.tokens,
            max_gb=self.max_gb,
            dtype=self.dtype,
            device=self.device,
            threads=self.threads,
        )


def tiny() -> Suite:
    """Return the unit-test size: seconds on two cores."""
    return Suite(
        subject=Subject(source="tiny"),
        sites=("blocks.0", "blocks.1.mlp_post_norm"),
        widths=(32,),
        target_l0=(2.0, 4.0),
        tokens=4_096,
        batch=128,
        evaluation_tokens=1_024,
        log_every=4,
    )


def laptop() -> Suite:
    """Return twelve sites of a four-block model in ten minutes on two cores."""
    return Suite(
        subject=Subject(source="laptop"),
        widths=(1_024,),
        target_l0=(8.0, 16.0, 32.0),
        evaluation_tokens=65_536,
    )


def gpu() -> Suite:
    """Return about ten minutes on one GPU."""
    return replace(laptop(), widths=(16_384,), tokens=20_000_000, batch=4_096, max_gb=60.0)


def paper() -> Suite:
    """Return Gemma Scope's 16K suite of one model: 4 billion activations a site, its schedule."""
    return Suite(
        subject=Subject(source="google/gemma-2-2b", context=1_024),
        widths=(2**14,),
        target_l0=(20.0, 40.0, 80.0, 160.0, 320.0),
        tokens=4_000_000_000,
        batch=4_096,
        schedule="gemma-scope",
        live=True,
        dash=False,
    )


RECIPES = {"tiny": tiny, "laptop": laptop, "gpu": gpu, "paper": paper}
