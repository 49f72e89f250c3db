"""What a training run is told: the team's architecture, the task, how it learns, how long.

Nothing here imports torch or numba. Rewards are in the task's own units, rates are per update.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tenfold.engine.config import free

SCHEMA = 1
MOST_JOINT = 4_096
"""Joint actions of a combinatorial agent, at most."""

Mixer = Literal["sum", "none", "joint", "qmix"]
ALSO = {"vdn": "v", "qmix": "q", "iql": "ind"}
"""What others call these words."""

NAMES = {
    "ind": "Ind.", "ind.s": "Ind.+S.", "v": "V.", "v.s": "V.+S.", "v.s.id": "V.+S.+Id",
    "v.s.id.l": "V.+S.+Id+L", "v.s.id.h": "V.+S.+Id+H", "v.s.id.l.h": "V.+S.+Id+L+H",
    "c": "C.", "v.c": "V.+C.", "q.s.id": "QMIX",
}  # fmt: skip
"""Short names of architectures and how tables print them."""
PAPER = ("ind", "v", "v.s", "v.s.id", "v.s.id.l", "v.s.id.h", "v.s.id.l.h", "c", "v.c")
"""The nine architectures of the paper, in the order of its table."""


@dataclass(frozen=True, kw_only=True)
class Arch:
    """One architecture as a set of flags (paper, table 1)."""

    value: bool = True
    """V: the team's value is the sum of the agents' and is trained as one (section 3.2)."""
    shared: bool = True
    """S: all agents use one set of weights (section 3.3)."""
    role: bool = True
    """Id: a one-hot number of the agent beside its observation, at the first layer."""
    low: bool = False
    """L: first layers of all agents go into each LSTM, own first."""
    high: bool = False
    """H: LSTM outputs of all agents go into each head, own first."""
    central: bool = False
    """C: one LSTM for all observations; with V a head for each agent, without one for each
    joint action."""
    qmix: bool = False
    """A monotonic mixing network in place of the sum (Rashid et al. 2018); not in the paper."""

    def __post_init__(self) -> None:
        if self.central and (self.low or self.high or self.role):
            raise ValueError(
                "a central team sees all observations in one network; role, low and high are for "
                "agents with networks of their own, so leave them out"
            )
        if self.central and self.shared:
            raise ValueError("a central team has one network, so shared has no meaning; leave it")
        if self.qmix and (not self.value or self.central):
            raise ValueError("qmix mixes the agents' values; it needs value and no central")

    @property
    def name(self) -> str:
        """Short name, such as v.s.id.l."""
        first = "q" if self.qmix else "v" if self.value else "" if self.central else "ind"
        flags = {"s": self.shared, "id": self.role, "l": self.low, "h": self.high}
        words = [first, "c" if self.central else ""] + [word for word, on in flags.items() if on]
        return ".".join(word for word in words if word)

    @property
    def title(self) -> str:
        """Name as tables print it."""
        return NAMES.get(self.name, self.name)

    @property
    def mixer(self) -> Mixer:
        """What makes the trained value from those of agents."""
        if self.qmix:
            return "qmix"
        if self.central and not self.value:
            return "joint"
        return "sum" if self.value else "none"

    @property
    def alone(self) -> bool:
        """Whether each agent can act by its own observations only."""
        return not (self.low or self.high or self.central)


def arch_of(name: str) -> Arch:
    """Return the architecture of a short name, such as `v.s.id.l` or `V.S.Id+L`.

    Raises:
        ValueError: if a word of it has no meaning, naming it and those that have.
    """
    given = name.lower().replace("+", ".").replace("-", ".").split(".")
    words = [ALSO.get(word, word) for word in given if word]
    known = ("ind", "v", "q", "c", "s", "id", "l", "h")
    for word in words:
        if word not in known:
            raise ValueError(
                f"{word!r} in the architecture {name!r} has no meaning; put one together from "
                f"{', '.join(known)} (independent, values added, QMIX, central, shared weights, "
                f"role, channels low and high), such as {', '.join(PAPER)}"
            )
    if not {"ind", "v", "q", "c"} & set(words):
        raise ValueError(f"the architecture {name!r} does not begin with ind, v, q or c")
    return Arch(
        value="v" in words or "q" in words,
        shared="s" in words,
        role="id" in words,
        low="l" in words,
        high="h" in words,
        central="c" in words,
        qmix="q" in words,
    )


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How values are learnt; the paper's where it is known, else ours (room README)."""

    units: int = 32
    """Width of the first layer and of the LSTM."""
    dueling: bool = True
    """Value and advantages, less their mean, in place of one layer."""
    gamma: float = 0.99
    """Discount of a step."""
    trace: float = 0.9
    """Lambda of the forward-view returns within a window."""
    window: int = 8
    """Steps of a return, and of back-propagation through time."""
    batch: int = 32
    """Windows in an update."""
    capacity: int = 4_000
    """Windows that the replay holds, for each team."""
    warm_up: int = 128
    """Windows that it must hold before learning begins."""
    rate: float = 1e-3
    """Learning rate of Adam."""
    fade: float = 0.3
    """Share of the updates, the last ones, over which that falls to 0; 0: never."""
    clip: float = 10.0
    """Largest norm of a team's gradient; 0: none."""
    copy_every: int = 200
    """Updates between two copies of the network to the one that gives targets."""
    double: bool = False
    """Whether the trained network selects the actions whose target values are taken."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning; never clipped."""
    normalise: bool = True
    """Shift and scale observations that are no bytes by what each team has seen so far."""
    epsilon: float = 0.05
    """Share of random actions at the end."""
    epsilon_share: float = 0.4
    """Share of the updates over which it falls from 1 to that."""

    def __post_init__(self) -> None:
        for name in ("units", "window", "batch", "capacity", "warm_up", "copy_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        for name in ("gamma", "trace", "epsilon", "epsilon_share", "fade"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie in [0, 1]")
        if self.capacity < max(self.batch, self.warm_up):
            raise ValueError(
                f"capacity ({self.capacity}) must hold the batch ({self.batch}) and the warm-up "
                f"({self.warm_up})"
            )
        if not self.rate > 0 or not self.reward_scale > 0 or self.clip < 0:
            raise ValueError(
                f"rate ({self.rate}) and reward_scale ({self.reward_scale}) must be positive, "
                f"clip ({self.clip}) positive or 0"
            )


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train teams of one architecture on one task, several seeds as one stack."""

    env: str = "fetch/open"
    """Task of the room, a text map GAME:FILE, lbf/8x8-2p-3f, spread/3, mpe2:NAME,
    pettingzoo:MODULE:NAME, gym:NAME, or FILE.py:FUNCTION."""
    arch: str = "v.s.id"
    """Architecture: ind, v, q or c, then s, id, l, h as wanted, joined by dots."""
    seeds: tuple[int, ...] = (0,)
    """One team each."""
    updates: int = 4_000
    """Of each team."""
    copies: int = 16
    """Environments of each team."""
    updates_per_window: int = 1
    """Updates after each window of steps of all copies."""
    episode: int = 5_000
    """Steps after which the room's own tasks cut an episode."""
    learning: Learning = field(default_factory=Learning)
    """How values are learnt."""
    log_every: int = 100
    """Updates between two rows of figures."""
    init: str = ""
    """Run or exported team whose weights training begins from; empty: none."""
    device: str = "auto"
    """cpu, cuda or auto."""
    threads: int = free(1)
    """CPU threads of the networks; 0: what the machine has."""

    def __post_init__(self) -> None:
        arch_of(self.arch)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} must be given, each once")
        for name in ("updates", "copies", "updates_per_window", "episode", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")

    @property
    def steps(self) -> int:
        """Windows of steps that the run takes, those of the warm-up among them."""
        waiting = -(-self.learning.warm_up // self.copies)
        return waiting + -(-self.updates // self.updates_per_window)


def tiny() -> Train:
    """Return a run of about a second."""
    return Train(
        updates=24, copies=4, seeds=(0, 1), log_every=4,
        learning=Learning(units=8, batch=8, capacity=64, warm_up=16, copy_every=8),
    )  # fmt: skip


def laptop() -> Train:
    """Return a run of some minutes on two cores."""
    return Train(updates=6_000, seeds=(0, 1, 2, 3, 4))


def gpu() -> Train:
    """Return a run of some minutes on one GPU."""
    return Train(updates=30_000, seeds=tuple(range(10)), learning=Learning(capacity=20_000))


def paper() -> Train:
    """Return the paper's size as far as it is known: 10 seeds, episodes of 5,000 steps."""
    return Train(
        updates=1_000_000, seeds=tuple(range(10)), copies=1, learning=Learning(capacity=20_000)
    )
