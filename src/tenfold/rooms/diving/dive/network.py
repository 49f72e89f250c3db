"""A trained Neural Diving network as a file: weights, what it was told, how it did."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tenfold.engine.config import Json, decode, encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_bytes
from tenfold.parts.mip import features
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.rooms.diving.dive.config import SCHEMA, GraphConvolution, Perceptron, TrainDive
from tenfold.rooms.diving.dive.hooks import Hooks, load_hooks
from tenfold.rooms.diving.dive.looks import Look
from tenfold.rooms.diving.dive.model import DivingNet

if TYPE_CHECKING:
    from tenfold.engine.run import Run

KEY = "tenfold neural diving"
FAR = 6.0
"""A feature whose mean over an instance is so many spreads from training's is far off."""
MANY = 0.08
"""So large a share of features far off makes an instance unlike those of training. Instances of
the same family have up to 0.03, ten times larger ones too; those of other families 0.06 to 0.3."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuralDiving:
    """A trained network, ready to be asked."""

    net: DivingNet
    told: TrainDive
    extra: int
    """Features of the hook."""
    coverage: float
    """Share of slots that a first dive should assign, chosen on held-out instances."""
    means: Floats
    """[2, F], mean and spread over training instances of each feature's mean."""
    report: Json = field(default_factory=dict)
    """Instances, seed, losses, versions: what its makers want to be known."""

    @property
    def sees_graph(self) -> bool:
        """Whether it looks at columns and rows, or at a hook's features only."""
        return isinstance(self.told.network, GraphConvolution)

    @property
    def hooks(self) -> Hooks:
        """The family's hooks that it was trained with, if they ship with the room.

        Raises:
            TenfoldError: if they are a user's own file, which a network's file must not run.
        """
        return load_hooks(self.told.hooks, trusted=False)

    @staticmethod
    def train(store: str | Path | Run, **settings: Any) -> NeuralDiving:
        """Train on labels that `collect` made; settings are those of `TrainDive`, and `seed`."""
        from tenfold.rooms.diving.door import train

        trained = train(store, kind="dive", **settings)
        assert isinstance(trained, NeuralDiving), "training of a dive gives a diving network"
        return trained

    def save(self, path: str | Path) -> None:
        """Write it as one safetensors file."""
        save_network(self, Path(path))

    def partial_assignments(
        self, mip: Mip, *, k: int = 1, coverage: float = 0.0, seed: int = 0
    ) -> list[dict[str, tuple[float, float]]]:
        """Return k assignments as {column: (lower, upper)}, the likeliest first, for any solver.

        Args:
            mip: the instance.
            k: how many.
            coverage: share of slots to assign; 0: what training chose.
            seed: of the samples.
        """
        from tenfold.rooms.diving.door import assignments

        return assignments(self, mip, k=k, coverage=coverage, seed=seed)

    @torch.no_grad()
    def predict(self, look: Look) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of slots, [S], and of coverage heads, [H, S]."""
        logits, chosen = self.net(look)
        return logits, chosen

    def find_mismatch(self, look: Look) -> str:
        """Return in what an instance is unlike those of training; empty if it is not."""
        told = feature_means(look)
        if len(told) != self.means.shape[1]:
            return f"{len(told)} features where training had {self.means.shape[1]}"
        away = np.abs(told - self.means[0]) / np.maximum(self.means[1], 0.02)
        far = float(np.mean(away > FAR)) if len(away) else 0.0
        if far <= MANY:
            return ""
        return (
            f"{100 * far:.0f} % of the features have a mean more than {FAR:g} spreads from "
            "that of training"
        )


def feature_means(look: Look) -> Floats:
    """Return the mean of every feature over an instance, squashed so that no outlier decides."""
    tables = [look.extra]
    if look.graph is not None:
        tables += [look.graph.columns, look.graph.rows]
    means = [torch.tanh(table).mean(dim=0) for table in tables if len(table)]
    return np.asarray(torch.cat(means).double().numpy()) if means else np.zeros(0)


def save_network(model: NeuralDiving, path: Path) -> None:
    """Write a network as one safetensors file, which says in its header what it is."""
    tensors = {name: value.contiguous() for name, value in model.net.state_dict().items()}
    tensors["means"] = torch.from_numpy(model.means)
    told = {
        "schema": SCHEMA,
        "features": features.SCHEMA,
        "told": encode(model.told),
        "extra": model.extra,
        "coverage": model.coverage,
        "report": model.report,
    }
    write_bytes(path, save(tensors, metadata={KEY: json.dumps(told)}))


def load_network(path: Path) -> NeuralDiving:
    """Read a network from a file, or from the run directory that made it.

    Raises:
        TenfoldError: if it is none, or of another version.
    """
    file = path / "out" / "dive.safetensors" if path.is_dir() else path
    try:
        with safe_open(file, framework="pt") as held:
            header = (held.metadata() or {}).get(KEY)
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TenfoldError(f"{file} cannot be read as a network ({error}); train one") from None
    if header is None:
        raise TenfoldError(f"{file} is no Neural Diving network; train one")
    told = json.loads(header)
    for name, here in (("schema", SCHEMA), ("features", features.SCHEMA)):
        if told.get(name) != here:
            raise TenfoldError(
                f"{file} has {name} {told.get(name)}, this version {here}; train it again"
            )
    config = decode(TrainDive, told["told"], path="told")
    net = new_network(config, extra=told["extra"])
    means = tensors.pop("means").numpy()
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise TenfoldError(f"{file} does not fit what it says of itself ({error})") from None
    return NeuralDiving(
        net=net,
        told=config,
        extra=told["extra"],
        coverage=told["coverage"],
        means=means,
        report=told["report"],
    )


def new_network(told: TrainDive, *, extra: int, seed: int = 0) -> DivingNet:
    """Return an untrained network."""
    assert isinstance(told.network, GraphConvolution | Perceptron), "unknown kind of network"
    return DivingNet(
        told.network,
        extra=extra,
        bits=told.bits,
        heads=len(told.coverages),
        dropout=told.dropout,
        seed=seed,
    )
