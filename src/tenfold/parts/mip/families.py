"""Families of instances by name: nine with real structure, and those of a user's own function.

    FAMILIES["set_cover"].make(7, "mid")
    FAMILIES["unit_commitment"].make(7, units=50, hours=24)
    own_family("cuts.py:make").make(7)

Sizes `small`, `mid` and `hard` are set so that SCIP, with default settings on one thread, takes
1 to 5, 10 to 60 and more than 60 seconds of processor time in the median of seeds 0 to 2, which
`bench/mip/family_sizes.py` measures. They, and the sizes that the claims name, were fixed before
any model was trained.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.own_code import load_function
from tenfold.parts.mip import scip
from tenfold.parts.mip.generate import assigning, graphs
from tenfold.parts.mip.generate import unit_commitment as commitment
from tenfold.parts.mip.generate.corridor import corridor
from tenfold.parts.mip.generate.verification import verification
from tenfold.parts.mip.instance import Mip

Number = int | float | str
Numbers = Mapping[str, Number]
OWN = "own"
"""Name of the one size of a user's own family."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Instances that differ by a seed and a few numbers."""

    name: str
    sentence: str
    """What an instance is, for a list of families."""
    sizes: Mapping[str, Numbers]
    """Numbers of each named size; all sizes have the same names of numbers."""
    draw: Callable[..., Mip]
    """Called with a size's numbers and `seed`."""

    def numbers(self, size: str = "", **own: Number) -> dict[str, Number]:
        """Return the numbers of a size, the first one if none is named, with own ones put in.

        Raises:
            TenfoldError: if there is no such size or number, or a number is of another type.
        """
        size = size or next(iter(self.sizes))
        if size not in self.sizes:
            raise unknown_name(f"size of {self.name}", size, self.sizes)
        told = dict(self.sizes[size])
        for name, value in own.items():
            if name not in told:
                raise unknown_name(f"number of {self.name}", name, told)
            kind = type(told[name])
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise TenfoldError(
                    f"{self.name}: {name} is {value!r}; give {_KINDS[kind]}, as {told[name]!r}"
                )
            told[name] = kind(value)
        return told

    def instance_name(self, seed: int, size: str = "", **own: Number) -> str:
        """Return a name that tells one instance from all others of the family, fit for a file."""
        told = [
            f"{name}{value}" for name, value in self.numbers(size, **own).items() if name in own
        ]
        return "-".join([self.name, size or next(iter(self.sizes)), *told, str(seed)])

    def make(self, seed: int, size: str = "", **own: Number) -> Mip:
        """Return an instance: equal seeds and numbers give equal instances.

        Args:
            seed: of the instance.
            size: its named size; the first one, `small`, if empty.
            own: numbers in place of the size's.
        """
        made = self.draw(**self.numbers(size, **own), seed=seed)
        return replace(made, name=self.instance_name(seed, size, **own))


_KINDS: dict[type, str] = {int: "a whole number", float: "a number", str: "a word"}


def _unit_commitment(*, units: int, hours: int, seed: int) -> Mip:
    """Draw a new fleet and a day, and write its model."""
    return commitment.unit_commitment(commitment.draw_system(units=units, hours=hours, seed=seed))


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="set_cover",
            sentence="choose the cheapest sets that cover every row (Balas and Ho 1980)",
            draw=graphs.set_cover,
            sizes={
                "small": {"rows": 250, "columns": 450, "density": 0.05},
                "mid": {"rows": 500, "columns": 1000, "density": 0.05},
                "hard": {"rows": 1000, "columns": 2000, "density": 0.05},
                "300x600": {"rows": 300, "columns": 600, "density": 0.05},
                "500x1000": {"rows": 500, "columns": 1000, "density": 0.05},
            },
        ),
        Family(
            name="auction",
            sentence="sell bundles to bidders with substitutes (Leyton-Brown et al. 2000)",
            draw=graphs.auction,
            sizes={
                "small": {"items": 100, "bids": 500, "substitutes": 0.65},
                "mid": {"items": 250, "bids": 1250, "substitutes": 0.65},
                "hard": {"items": 500, "bids": 2500, "substitutes": 0.65},
            },
        ),
        Family(
            name="facility_location",
            sentence="open facilities with capacities and serve customers (Cornuejols et al. 1991)",
            draw=assigning.facility_location,
            sizes={
                "small": {"customers": 30, "facilities": 30, "ratio": 5.0},
                "mid": {"customers": 50, "facilities": 50, "ratio": 5.0},
                "hard": {"customers": 200, "facilities": 100, "ratio": 5.0},
                "60x60": {"customers": 60, "facilities": 60, "ratio": 5.0},
                "100x100": {"customers": 100, "facilities": 100, "ratio": 5.0},
            },
        ),
        Family(
            name="independent_set",
            sentence="most nodes of a Barabasi-Albert graph without an edge between them",
            draw=graphs.independent_set,
            sizes={
                "small": {"nodes": 375, "attach": 4},
                "mid": {"nodes": 600, "attach": 4},
                "hard": {"nodes": 1500, "attach": 5},
            },
        ),
        Family(
            name="generalized_assignment",
            sentence="give jobs to agents with capacities, types d and e (Chu and Beasley 1997)",
            draw=assigning.generalized_assignment,
            sizes={
                "small": {"agents": 8, "jobs": 40, "kind": "e"},
                "mid": {"agents": 10, "jobs": 60, "kind": "e"},
                "hard": {"agents": 5, "jobs": 100, "kind": "d"},
            },
        ),
        Family(
            name="item_placement",
            sentence="place items so that bins are used evenly (ML4CO 2021)",
            draw=assigning.item_placement,
            sizes={
                "small": {"items": 15, "bins": 3, "resources": 2},
                "mid": {"items": 15, "bins": 4, "resources": 2},
                "hard": {"items": 60, "bins": 6, "resources": 2},
            },
        ),
        Family(
            name="corridor",
            sentence="connected parcels of land that join reserves within a budget, like CORLAT",
            draw=corridor,
            sizes={
                "small": {"side": 6, "reserves": 3, "budget": 1.3},
                "mid": {"side": 9, "reserves": 3, "budget": 1.3},
                "hard": {"side": 12, "reserves": 3, "budget": 1.3},
            },
        ),
        Family(
            name="verification",
            sentence="change a picture so that a network misreads it (Tjeng et al. 2019)",
            draw=verification,
            sizes={
                "small": {"layers": 2, "width": 50, "radius": 0.06},
                "mid": {"layers": 2, "width": 100, "radius": 0.08},
                "hard": {"layers": 3, "width": 100, "radius": 0.1},
            },
        ),
        Family(
            name="unit_commitment",
            sentence="which plants run when, a new fleet every time (Knueven et al. 2018)",
            draw=_unit_commitment,
            sizes={
                "small": {"units": 8, "hours": 12},
                "mid": {"units": 10, "hours": 24},
                "hard": {"units": 50, "hours": 24},
                "50x24": {"units": 50, "hours": 24},
                "100x48": {"units": 100, "hours": 48},
                "200x48": {"units": 200, "hours": 48},
            },
        ),
    )
}  # fmt: skip


def find_family(name: str) -> Family:
    """Return a family by its name, or a user's own by FILE.py:FUNCTION.

    The latter runs that file: call it with what a user wrote now, not with what a saved run says.

    Raises:
        TenfoldError: if there is none.
    """
    if _OWN.fullmatch(name):
        return own_family(name)
    if name not in FAMILIES:
        raise unknown_name("family", name, [*FAMILIES, "FILE.py:FUNCTION"])
    return FAMILIES[name]


# A user's own function

_OWN = re.compile(r"(?P<file>.+\.py):(?P<function>\w+)")


def own_family(path_and_function: str) -> Family:
    """Return the family of a user's function, named as FILE.py:FUNCTION.

    The function takes a seed, and perhaps numbers with defaults, which become those of the one
    size `own`. It returns a `Mip` or a `pyscipopt.Model`. The file is run as it is, with this
    process's rights; a file that only a saved run names is not to be run (decision 12).

    Raises:
        TenfoldError: if there is no such file or function, the file raises, the function takes
            something else, or it does not give one instance for one seed and another for another.
    """
    match = _OWN.fullmatch(path_and_function)
    if not match:
        raise TenfoldError(f"{path_and_function!r} names no function; write FILE.py:FUNCTION")
    path = Path(match["file"])
    function = load_function(path, match["function"])
    name = f"{path.stem}.{match['function']}"

    def draw(*, seed: int, **numbers: Number) -> Mip:
        return _as_mip(function(seed, **numbers), name=name)

    family = Family(
        name=name,
        sentence=(inspect.getdoc(function) or f"{match['function']} of {path.name}").split("\n")[0],
        draw=draw,
        sizes={OWN: _defaults(function, name=name)},
    )
    _refuse_other_seeds(family)
    return family


def _defaults(function: Callable[..., Any], *, name: str) -> dict[str, Number]:
    """Return what a function takes besides its first argument, the seed."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind == inspect.Parameter.KEYWORD_ONLY:
        raise TenfoldError(f"{name} takes no seed; write it as {name.split('.')[-1]}(seed)")
    told = {parameter.name: parameter.default for parameter in parameters[1:]}
    for given, value in told.items():
        if given == "size":
            raise TenfoldError(f"{name} takes 'size', which names a size here; rename it")
        if type(value) not in _KINDS:
            raise TenfoldError(
                f"{name} takes {given!r} besides the seed; give it a number or a word as default"
            )
    return told


def _as_mip(given: Any, *, name: str) -> Mip:
    if isinstance(given, Mip):
        return given
    if hasattr(given, "getVars") and hasattr(given, "getConss"):
        return scip.extract(given, name=name, original=True)
    raise TenfoldError(
        f"{name} returned {type(given).__name__}; return a tenfold.parts.mip.instance.Mip or a "
        "pyscipopt.Model"
    )


def _refuse_other_seeds(family: Family) -> None:
    """A seed must name an instance, or neither training nor a comparison can be repeated."""
    one, again, other = (family.make(seed).digest() for seed in (0, 0, 1))
    if one != again:
        raise TenfoldError(
            f"{family.name} gives another instance each time for seed 0; draw all random numbers "
            "from a generator made from the seed"
        )
    if one == other:
        raise TenfoldError(f"{family.name} gives one instance for seeds 0 and 1; use the seed")
