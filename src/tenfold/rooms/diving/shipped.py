"""Small networks that ship with the room, and the command that trains them anew.

    python -m tenfold.rooms.diving.shipped NAME FOLDER     trains one into FOLDER

Each is a few hundred kilobytes, says in its header on which instances, seeds and settings it was
trained and how it did, and is used by the claim. Seeds of training instances lie below
`TEST_SEEDS`, those of all tests from there on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from tenfold.engine.errors import unknown_name
from tenfold.engine.progress import say
from tenfold.engine.run import Options, Run
from tenfold.parts.mip import families, instances
from tenfold.parts.mip.instance import Mip
from tenfold.rooms.diving import config, run
from tenfold.rooms.diving.branch.config import CollectBranch, TrainBranch
from tenfold.rooms.diving.branch.config import GraphConvolution as BranchConvolution
from tenfold.rooms.diving.dive.config import (
    CollectDive,
    GraphConvolution,
    Perceptron,
    TrainDive,
)

TRAIN_SEEDS = 10_000
"""First seed of training instances."""
TEST_SEEDS = 95_000
"""First seed of test instances."""
TUNE_SEEDS = 80_000
"""First seed of instances on which SCIP's emphases are compared."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one network is made: instances, labels, training."""

    family: str
    size: str
    count: int
    """Instances, with seeds from `TRAIN_SEEDS` on."""
    collect: config.Collect
    train: config.Train

    @property
    def labels(self) -> str:
        """Name of the labels, which several networks may share."""
        return f"{self.collect.what}-{self.family}-{self.size}-{self.count}"


_COMMITMENT = config.Collect(
    what="dive",
    folder="",
    dive=CollectDive(solver="highs", improve="rens", seconds=20.0, rounds=30, points=5),
)
_LABELS = 80


def _branching(family: str, size: str, *, count: int, samples: int, share: float) -> Recipe:
    """Return the recipe of a branching policy; the expert's scores are sharpened.

    Plain ones are nearly flat on these families.

    Args:
        family: of the instances.
        size: of them.
        count: of them.
        samples: nodes at which the expert is asked, at most, in each.
        share: probability that it is asked at a node.
    """
    return Recipe(
        family=family,
        size=size,
        count=count,
        collect=config.Collect(
            what="branch",
            folder="",
            branch=CollectBranch(samples=samples, nodes=400, asked_share=share),
        ),
        train=config.Train(
            what="branch",
            branch=TrainBranch(
                network=BranchConvolution(width=32, depth=2),
                target_power=4.0,
                batch=8,
                learning_rate=2e-3,
                epoch_steps=150,
                patience=7,
                stop_after=16,
                steps=8_000,
            ),
            threads=1,
        ),
    )


RECIPES: Mapping[str, Recipe] = {
    "commitment-hooks": Recipe(
        family="unit_commitment",
        size="50x24",
        count=_LABELS,
        collect=_COMMITMENT,
        train=config.Train(
            dive=TrainDive(
                network=Perceptron(),
                hooks="commitment",
                steps=2_400,
                coverages=(0.7, 0.85, 0.95),
                learning_rate=2e-3,
            ),
            threads=1,
        ),
    ),
    "commitment": Recipe(
        family="unit_commitment",
        size="50x24",
        count=_LABELS,
        collect=_COMMITMENT,
        train=config.Train(
            dive=TrainDive(
                network=GraphConvolution(width=32, depth=4),
                steps=3_000,
                coverages=(0.5, 0.7, 0.85, 0.95),
                learning_rate=2e-3,
            ),
            threads=1,
        ),
    ),
    "set_cover-branch": _branching("set_cover", "500x1000", count=100, samples=8, share=0.15),
    "facility_location-branch": _branching(
        "facility_location", "60x60", count=200, samples=6, share=0.1
    ),
}


def path_of(name: str) -> Path:
    """Return the file of a shipped network.

    Raises:
        TenfoldError: if there is none of that name.
    """
    if name not in RECIPES:
        raise unknown_name("shipped network", name, RECIPES)
    return Path(str(files("tenfold.rooms.diving") / "models" / f"{name}.safetensors"))


def load(name: str) -> Any:
    """Return a shipped network."""
    return run.load_any(path_of(name), RECIPES[name].train.what)


def make(name: str, folder: Path, *, jobs: int = 1, quiet: bool = False) -> Path:
    """Train a network anew and return its file; goes on where a stopped call was.

    Args:
        name: of the network.
        folder: gets instances, labels and the run.
        jobs: instances labelled at a time.
        quiet: show no progress.
    """
    recipe = RECIPES[name]
    options = Options(quiet=quiet)
    store = _collected(recipe, folder, jobs=jobs, options=options)
    place = folder / name
    cfg = replace(recipe.train, store=str(store))
    if (place / "config.json").exists():
        trained = run.resume(place, options=options)
    else:
        made = Run.create(
            cfg,
            room="diving",
            verb="train",
            schema=config.SCHEMA,
            seed=cfg.seed,
            units=run.metric_units(cfg),
            options=options,
            path=place,
        )
        trained = run.train(cfg, run=made)
    return trained.out / (run.NETWORK if cfg.what == "dive" else run.POLICY)


def instances_of(
    family: str, size: str, *, first: int, count: int, folder: Path
) -> tuple[Path, ...]:
    """Write instances of a family into a folder, those that are missing, and return the files."""
    kind = families.find_family(family)
    written = []
    for seed in range(first, first + count):
        file = folder / f"{kind.instance_name(seed, size)}.mps.gz"
        if not file.exists():
            instances.write(make_instance(family, size, seed), file)
        written.append(file)
    return tuple(written)


def make_instance(family: str, size: str, seed: int) -> Mip:
    """Return one instance of a family."""
    return families.find_family(family).make(seed, size)


def _collected(recipe: Recipe, folder: Path, *, jobs: int, options: Options) -> Path:
    place = folder / recipe.labels
    source = folder / f"instances-{recipe.family}-{recipe.size}"
    instances_of(recipe.family, recipe.size, first=TRAIN_SEEDS, count=recipe.count, folder=source)
    cfg = replace(recipe.collect, folder=str(source), first=recipe.count, jobs=jobs)
    if (place / "config.json").exists():
        run.resume(place, options=options)
    else:
        made = Run.create(
            cfg, room="diving", verb="collect", schema=config.SCHEMA, seed=cfg.seed,
            options=options, path=place,
        )  # fmt: skip
        run.collect(cfg, run=made)
    return place


if __name__ == "__main__":
    say(str(make(sys.argv[1], Path(sys.argv[2]))))
