"""The sizes of the claim: instances, methods and time at each scale. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tenfold.engine.config import free

Scale = Literal["quick", "laptop", "full", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Check the paper's headline: dives, branching and both together against SCIP."""

    scale: Scale = "quick"
    """Size of the set of runs: about 90 s, 10 minutes, hours on two cores; or one GPU."""
    retrain: bool = False
    """Train the networks anew instead of using those that ship with the room."""
    results: str = free("")
    """Folder of committed results, such as claims, whose <room>.json gets this one too."""
    workers: int = free(2)
    """Processes for work that is counted."""
    at_once: int = 1
    """Timed runs side by side, one a core. More than 1 wants as many cores with nothing else to
    do; then every method shares its machine with one of its kind."""

    def __post_init__(self) -> None:
        for name in ("workers", "at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A1: methods on instances of one size, by time."""

    family: str
    size: str
    count: int
    """Instances."""
    seconds: float
    """Limit of each run."""
    methods: tuple[str, ...]
    target: float = 0.01
    """Mean gap whose time is compared."""
    longer: tuple[tuple[str, float], ...] = ()
    """Methods with another limit, where a ratio could not be shown otherwise."""

    def limit(self, method: str) -> float:
        """Return the limit of a method's runs, s."""
        return dict(self.longer).get(method, self.seconds)


@dataclass(frozen=True, kw_only=True)
class Feasibility:
    """Sub-MIPs of dives at several coverages: do they have a point, and how good?"""

    family: str
    size: str
    count: int
    factors: tuple[float, ...]
    """Of the coverage that the network itself begins with."""
    network: str


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A3: nodes, and time where it is asked for, of branching rules on instances of one size."""

    family: str
    size: str
    count: int
    seconds: float
    """Limit of each search."""
    rules: tuple[str, ...]
    network: str
    states: int = 0
    """Nodes of strong branching an instance on which the first choice is judged; 0: none."""
    timed: bool = False
    """Whether times are compared; then searches run one after the other."""


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A4: a dive and a search on two threads against two searches."""

    family: str
    size: str
    count: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a scale fixes."""

    feasibility: tuple[Feasibility, ...] = ()
    contests: tuple[Contest, ...] = ()
    branching: tuple[Branch, ...] = ()
    joint: tuple[Joint, ...] = ()
    labels: int = 0
    """Training instances that voting baselines know; they are labelled within the claim."""
    tuned_on: int = 0
    """Instances on which SCIP's emphases are compared; 0: the ones found best before."""
    tuning_seconds: float = 30.0


FEW = ("scip-tuned", "rens", "rens-scip", "dive", "dive-hooks", "dive-hooks-scip")
ALL = (
    "scip", "scip-tuned", "highs", "rens", "rens-scip", "majority", "majority-scip", "knn",
    "knn-scip", "dive", "dive-scip", "dive-hooks", "dive-hooks-scip",
)  # fmt: skip
RULES = ("learnt", "pscost", "relpscost", "random")


def make_plan(claim: Claim) -> Plan:
    """Return the plan of a claim's scale."""
    return {"quick": _quick, "laptop": _laptop, "full": _full, "gpu": _full}[claim.scale]()


def _quick() -> Plan:
    return Plan(
        feasibility=(
            Feasibility(
                family="unit_commitment", size="50x24", count=6, factors=(1.0, 0.8, 0.5),
                network="commitment-hooks",
            ),
        ),
        branching=(
            Branch(
                family="set_cover", size="small", count=8, seconds=20.0, states=4,
                rules=("learnt", "pscost"), network="set_cover-branch",
            ),
        ),
    )  # fmt: skip


def _laptop() -> Plan:
    return Plan(
        feasibility=(
            Feasibility(
                family="unit_commitment", size="50x24", count=6,
                factors=(1.05, 1.0, 0.95, 0.9, 0.8, 0.65, 0.5), network="commitment-hooks",
            ),
        ),
        contests=(
            Contest(
                family="unit_commitment", size="50x24", count=4, seconds=20.0, methods=FEW,
            ),
        ),
        branching=(
            Branch(
                family="set_cover", size="small", count=12, seconds=20.0, states=4,
                rules=RULES, network="set_cover-branch", timed=True,
            ),
        ),
        joint=(Joint(family="unit_commitment", size="50x24", count=2, seconds=20.0),),
    )  # fmt: skip


def _full() -> Plan:
    """A1, A3 and A4 of the acceptance; about four hours of one core."""
    return Plan(
        feasibility=tuple(
            Feasibility(
                family="unit_commitment", size="50x24", count=12,
                factors=(1.05, 1.0, 0.95, 0.9, 0.8, 0.65, 0.5), network=network,
            )
            for network in ("commitment-hooks", "commitment")
        ),
        contests=(
            Contest(
                family="unit_commitment", size="50x24", count=12, seconds=20.0, methods=ALL
            ),
            Contest(
                family="unit_commitment", size="100x48", count=12, seconds=45.0,
                methods=("scip", "highs", *FEW), longer=(("scip-tuned", 90.0),),
            ),
            Contest(
                family="unit_commitment", size="200x48", count=2, seconds=60.0,
                methods=("scip-tuned", "rens", "dive", "dive-hooks"),
            ),
        ),
        branching=(
            Branch(
                family="set_cover", size="500x1000", count=10, seconds=120.0, states=10,
                rules=RULES, network="set_cover-branch", timed=True,
            ),
            Branch(
                family="facility_location", size="100x100", count=3, seconds=120.0, states=5,
                rules=RULES, network="facility_location-branch", timed=True,
            ),
        ),
        joint=(Joint(family="unit_commitment", size="50x24", count=5, seconds=30.0),),
        labels=30,
    )  # fmt: skip
