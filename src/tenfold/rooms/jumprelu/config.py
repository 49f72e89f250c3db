"""What a training run is told: data, dictionary kind, size, sparsity, schedule.

Nothing here imports torch. Prices, bandwidths and thresholds are in units of the scaled input,
whose mean squared norm is 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Literal

import tyro

from tenfold.engine.config import free
from tenfold.parts.sae.subject_config import SubjectConfig

SCHEMA = 1
LONG_RUN_STEPS = 200_000
"""From here on `schedule="auto"` takes the paper's constants; below they cannot work."""

ScheduleName = Literal["auto", "gemma-scope", "gemma-scope-2", "short"]
Penalty = Literal["auto", "linear", "quad_batch", "quad_example", "tanh"]
Kernel = Literal["auto", "dense", "sparse"]


@dataclass(frozen=True, kw_only=True)
class JumpReLU:
    """A learned threshold for each latent, trained by straight-through pseudo-gradients."""

    penalty: Penalty = "auto"
    """Price on L0; `auto` is the schedule's, and linear under a fixed price."""
    bandwidth: float = 0.0
    """Width of the pseudo-gradient's window; 0 is the schedule's."""
    step_to_z: bool = False
    """Send the step's pseudo-gradient to the pre-activation too (the paper does not)."""
    frequency_weight: float = 0.0
    """Weight of the secondary penalty on latents that fire very often; 0 is none."""
    frequency_scale: float = 0.1
    """Firing frequency above which that penalty grows quadratically, in (0, 1]."""

    def __post_init__(self) -> None:
        if self.bandwidth < 0:
            raise ValueError(f"bandwidth ({self.bandwidth}) must be positive, or 0 for auto")
        if self.frequency_weight < 0 or not 0 < self.frequency_scale <= 1:
            raise ValueError(
                f"frequency_weight ({self.frequency_weight}) must be at least 0 and "
                f"frequency_scale ({self.frequency_scale}) lie in (0, 1]"
            )


@dataclass(frozen=True, kw_only=True)
class ReLU:
    """A rectified encoder under an L1 penalty."""

    norm_weighted: bool = True
    """Weigh each latent by its decoder row's norm; otherwise rows are kept at norm 1."""


@dataclass(frozen=True, kw_only=True)
class Gated:
    """A gate that decides and a tied encoder that measures (RI-L1)."""

    norm_weighted: bool = True
    """Weigh each gate by its decoder row's norm; otherwise rows are kept at norm 1."""


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The k largest latents of each row; k is the target L0."""

    aux_weight: float = 1 / 32
    """Weight of the loss that revives dead latents (AuxK)."""
    aux_k: int = 0
    """Dead latents that may help on a row; 0 means half the input width."""
    multi_weight: float = 0.0
    """Weight of a second reconstruction from 4 k latents (Multi-TopK); 0 is none."""


@dataclass(frozen=True, kw_only=True)
class BatchTopK:
    """The k B largest latents of each batch; a global threshold afterwards."""

    aux_weight: float = 1 / 32
    """Weight of the loss that revives dead latents (AuxK)."""
    aux_k: int = 0
    """Dead latents that may help on a row; 0 means half the input width."""


@dataclass(frozen=True, kw_only=True)
class Matryoshka:
    """BatchTopK whose first latents must also do alone, by nested prefixes."""

    prefixes: tuple[float, ...] = (1 / 32, 3 / 32, 7 / 32, 15 / 32, 1.0)
    """Shares of the latents in each prefix, increasing to 1."""
    aux_weight: float = 1 / 32
    """Weight of the loss that revives dead latents (AuxK)."""
    aux_k: int = 0
    """Dead latents that may help on a row; 0 means half the input width."""

    def __post_init__(self) -> None:
        shares = list(self.prefixes)
        if not shares or shares != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
            raise ValueError(f"prefixes {shares} must increase from above 0 to 1")


Method = (
    Annotated[JumpReLU, tyro.conf.subcommand("jumprelu")]
    | Annotated[ReLU, tyro.conf.subcommand("relu")]
    | Annotated[Gated, tyro.conf.subcommand("gated")]
    | Annotated[TopK, tyro.conf.subcommand("topk")]
    | Annotated[BatchTopK, tyro.conf.subcommand("batchtopk")]
    | Annotated[Matryoshka, tyro.conf.subcommand("matryoshka")]
)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A file of activations, one a row: .npy, .npz or .safetensors."""

    path: str = ""
    """The file; mapped, not read whole, where the format allows."""
    key: str = ""
    """Which array of an .npz or .safetensors file; may be left out if there is one."""


@dataclass(frozen=True, kw_only=True)
class Shards:
    """A store written by harvesting."""

    path: str = ""
    """The folder of one site."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Activations of the small language model that this machine can train by itself."""

    subject: SubjectConfig = field(default_factory=SubjectConfig)
    """The model and its text."""
    site: str = "blocks.1"
    """Where to read, for instance `blocks.1` or `blocks.0.mlp:out`."""
    tokens: int = 400_000
    """Activations to harvest."""


Data = Matrix | Shards | Model


@dataclass(frozen=True, kw_only=True)
class Train:
    """One run: dictionaries of one kind and shape, trained side by side on one source."""

    data: Data = field(default_factory=Matrix)
    """Where activations come from."""
    method: Method = field(default_factory=JumpReLU)
    """Kind of dictionary."""
    width: int = 4096
    """Latents of each dictionary."""
    target_l0: tuple[float, ...] = (32.0,)
    """Mean active latents wanted: one dictionary each. Empty: use `price` instead."""
    price: tuple[float, ...] = ()
    """Fixed sparsity prices lambda, one dictionary each; not for the TopK kinds."""
    seeds: tuple[int, ...] = (0,)
    """One dictionary for each seed and target; a seed fixes start and order of rows."""
    rows: int = 8_192_000
    """Activations each dictionary is trained on."""
    batch: int = 4096
    """Activations a step."""
    schedule: ScheduleName = "auto"
    """Constants of the optimiser; `auto` picks by the number of steps and says which."""
    learning_rate: float = 0.0
    """Adam's step size; 0 is the schedule's."""
    held_out: float = 0.05
    """Share of the rows that is never trained on; every reported metric is on it."""
    warm_start: str = ""
    """A dictionary file to start from; its shape must fit."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads; 0 takes what the machine has."""
    kernel: Kernel = "auto"
    """Code of a step: dense torch, sparse compiled loops, or auto by what pays."""
    log_every: int = free(50)
    """Steps between two lines of metrics."""

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("rows", 1), ("batch", 1), ("log_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")
        if bool(self.target_l0) == bool(self.price):
            raise ValueError(
                f"target_l0 {list(self.target_l0)} and price {list(self.price)}: "
                "give exactly one of them"
            )
        if self.price and isinstance(self.method, TopK | BatchTopK | Matryoshka):
            raise ValueError(f"{type(self.method).__name__} has no price; give target_l0")
        penalty = getattr(self.method, "penalty", "")
        if self.price and penalty.startswith("quad"):
            raise ValueError(f"penalty {penalty} measures from a target; give target_l0, no price")
        if any(not 0 < target <= self.width for target in self.target_l0):
            raise ValueError(f"target_l0 {list(self.target_l0)} must lie in (0, {self.width}]")
        if any(price <= 0 for price in self.price):
            raise ValueError(f"price {list(self.price)} must be positive")
        counts = isinstance(self.method, TopK | BatchTopK | Matryoshka)
        if counts and any(target != int(target) for target in self.target_l0):
            raise ValueError(f"target_l0 {list(self.target_l0)}: k must be a whole number")
        names = [lane.name for lane in self.lanes]
        if len(set(names)) < len(names) and len(set(self.seeds)) == len(self.seeds):
            raise ValueError(
                f"target_l0 {list(self.target_l0)} and price {list(self.price)} give two "
                "dictionaries of one name; name each value once"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} must be at least one, each once")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out ({self.held_out}) must lie in (0, 1)")

    @property
    def steps(self) -> int:
        """Updates: rows / batch, rounded up."""
        return -(-self.rows // self.batch)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The dictionaries trained side by side: seeds times targets or prices."""
        targets = [(target, 0.0) for target in self.target_l0] or [(0.0, p) for p in self.price]
        return tuple(
            Lane(seed=seed, target_l0=target, price=price)
            for seed, (target, price) in product(self.seeds, targets)
        )


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One dictionary of a stack; a target or a price is 0 where the other is given."""

    seed: int
    target_l0: float
    price: float

    @property
    def name(self) -> str:
        """A name for files: `l0_32_s0` or `price_0.001_s0`."""
        size = f"l0_{self.target_l0:g}" if self.target_l0 else f"price_{self.price:g}"
        return f"{size}_s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The constants of an optimiser run, all in the open."""

    name: str
    learning_rate: float
    beta1: float = 0.0
    beta2: float = 0.999
    warmup_steps: int = 1_000
    """Steps in which the step size rises by a cosine from a tenth."""
    decay_share: float = 0.0
    """Last share of the run over which the step size falls linearly to 0."""
    price_warmup_steps: int = 10_000
    """Steps in which lambda rises linearly from 0."""
    bandwidth: float = 1e-3
    penalty: Penalty = "linear"
    threshold_rate: float = 1.0
    """Step size of thresholds as a multiple of the others'."""
    threshold_as_log: bool = True
    threshold_start: float = 1e-3
    """Thresholds at the start; 0 puts each latent's at the quantile of its target L0."""
    centre: Literal["zero", "mean", "median"] = "zero"
    """Where b_dec starts: zero, the mean or the geometric median of the data."""
    threshold_decay: float = 0.999
    """Memory of BatchTopK's running threshold."""
    dead_after_rows: int = 10_000_000
    """Rows without firing after which a latent counts as dead."""


def gemma_scope() -> Schedule:
    """Gemma Scope's constants (arXiv:2408.05147, section 3.2); they need a million steps."""
    return Schedule(name="gemma-scope", learning_rate=7e-5)


def gemma_scope_2() -> Schedule:
    """Gemma Scope 2's constants (2025), where they differ from `gemma_scope`."""
    return replace(
        gemma_scope(),
        name="gemma-scope-2",
        price_warmup_steps=50_000,
        penalty="quad_example",
    )


def short(*, steps: int, batch: int, input_width: int) -> Schedule:
    """Constants for runs of hundreds to some ten thousand steps.

    Step sizes fall with the root of the run's length, as all kinds of dictionary liked best,
    and with the root of the width, since a step moves a whole column: at 0.11 of its norm
    JumpReLU and BatchTopK came apart, at 0.08 nothing did.
    Thresholds are trained directly, with a larger step size, and start at the quantile of the
    target L0, because a log threshold under Adam moves by at most the step size a step. The
    price follows L0 to its target; the quadratic penalties hit the target sooner but leave a
    third of the latents dead.
    """
    return Schedule(
        name="short",
        learning_rate=min(0.07, 2 / steps**0.5) / input_width**0.5,
        warmup_steps=max(1, min(1_000, steps // 20)),
        decay_share=0.2,
        price_warmup_steps=max(1, min(10_000, steps // 20)),
        bandwidth=0.1,
        penalty="linear",
        threshold_rate=4.0,
        threshold_as_log=False,
        threshold_start=0.0,
        centre="median",
        threshold_decay=min(0.999, max(0.9, 1 - 20 / steps)),
        dead_after_rows=batch * max(1, steps // 10),
    )


def resolve_schedule(train: Train, *, input_width: int = 1) -> Schedule:
    """Return the schedule of a run, `auto` resolved by its number of steps.

    Args:
        train: the run.
        input_width: D of its activations, on which step sizes of short runs depend.
    """
    name = train.schedule
    if name == "auto":
        name = "gemma-scope" if train.steps >= LONG_RUN_STEPS else "short"
    match name:
        case "gemma-scope":
            schedule = gemma_scope()
        case "gemma-scope-2":
            schedule = gemma_scope_2()
        case _:
            schedule = short(steps=train.steps, batch=train.batch, input_width=input_width)
    if name != "short" and isinstance(train.method, TopK | BatchTopK | Matryoshka):
        rate = 2e-4 / (train.width / 2**14) ** 0.5
        schedule = replace(schedule, learning_rate=rate, centre="median")
    if train.price:
        # The quadratic penalties measure from a target, and there is none.
        schedule = replace(schedule, penalty="linear")
    if getattr(train.method, "penalty", "") == "tanh":
        schedule = tanh(schedule, steps=train.steps, input_width=input_width)
    if train.learning_rate:
        schedule = replace(schedule, learning_rate=train.learning_rate)
    return schedule


def tanh(schedule: Schedule, *, steps: int, input_width: int) -> Schedule:
    """Change a schedule to Anthropic's tanh recipe, rescaled to inputs of norm 1."""
    root = input_width**0.5
    return replace(
        schedule,
        price_warmup_steps=steps,
        decay_share=0.2,
        bandwidth=2 / root,
        threshold_start=0.1 / root,
        threshold_as_log=False,
        penalty="tanh",
    )


def tiny() -> Train:
    """Return the unit-test size: a second on two cores."""
    return Train(width=64, target_l0=(4.0,), rows=16 * 256, batch=256, log_every=4)


def laptop() -> Train:
    """Return minutes on two cores for activations of a few hundred dimensions."""
    return Train(width=2_048, rows=2_000_000, batch=1_024)


def gpu() -> Train:
    """Return about ten minutes on one GPU."""
    return Train(width=16_384, target_l0=(32.0, 64.0), rows=50_000_000, batch=4_096)


def paper() -> Train:
    """Return Gemma Scope's 16K setting: 4 billion activations, its own schedule."""
    return Train(
        width=2**14,
        target_l0=(),
        price=(6e-4,),
        rows=4_000_000_000,
        batch=4_096,
        schedule="gemma-scope",
    )


RECIPES = {"tiny": tiny, "laptop": laptop, "gpu": gpu, "paper": paper}
