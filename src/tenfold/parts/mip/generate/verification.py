"""Neural-network verification: can a small change of a picture change what a network sees?

Big-M rows with one binary for each ReLU that may be on or off (Tjeng, Xiao, Tedrake 2019, section
4.1; the verification set of Nair et al. 2020 is of this kind, on MNIST). A best value below 0
proves that no change within the radius takes the picture for the target class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tenfold.engine import rng
from tenfold.parts.mip.generate.builder import NOTHING, Block, Builder
from tenfold.parts.mip.generate.digits import (
    CLASSES,
    Ints,
    Network,
    Range,
    pictures,
    ranges,
    trained,
)
from tenfold.parts.mip.instance import Floats, Mip

DIGITS = 10
"""Numbers of an instance are rounded to so many decimals, which files keep."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Attack:
    """A picture whose class is to change."""

    network: Network
    picture: Floats
    """[P], within [0, 1]."""
    radius: float
    """Largest change of a pixel."""
    source: int
    """Class of the picture."""
    target: int
    """Class for which it is to be taken."""

    @property
    def box(self) -> tuple[Floats, Floats]:
        """Least and largest grey level of each pixel, [P] each."""
        low = np.clip(self.picture - self.radius, 0.0, 1.0)
        high = np.clip(self.picture + self.radius, 0.0, 1.0)
        return np.round(low, DIGITS), np.round(high, DIGITS)

    def margin(self, x_BP: Floats) -> Floats:
        """Return logit of the target less that of the source, [B]."""
        logits = self.network.logits(x_BP)
        return np.asarray(logits[:, self.target] - logits[:, self.source])


def verification(*, layers: int, width: int, radius: float, seed: int, network: int = 0) -> Mip:
    """Write the attack on a held-out picture that the network gets right.

    Seeds one after another have different pictures until all of about 870 were used once, with
    the likeliest wrong class as target; then come the second likeliest, and so on.

    Args:
        layers: hidden layers of the network.
        width: units of each.
        radius: largest change of a pixel, where black and white are 1 apart.
        seed: of the instance.
        network: seed of the network's training; all instances of a family share one.
    """
    name = f"verification-{layers}x{width}-{radius:g}-{seed}"
    known = trained((width,) * layers, network)
    return model_of(draw_attack(known, radius=radius, seed=seed), name=name)[0]


def draw_attack(network: Network, *, radius: float, seed: int) -> Attack:
    """Draw a picture and a target."""
    held_out = pictures()[1]
    logits = network.logits(held_out.pixels)
    right = np.flatnonzero(logits.argmax(axis=1) == held_out.classes)
    order: Ints = rng.stream(0, "verification", "order").permutation(right)
    round_, place = divmod(seed, len(order))
    picture = int(order[place])
    rank = round_ % (CLASSES - 1)
    return Attack(
        network=network,
        picture=held_out.pixels[picture],
        radius=radius,
        source=int(held_out.classes[picture]),
        target=int(np.argsort(-logits[picture], kind="stable")[1 + rank]),
    )


def model_of(attack: Attack, *, name: str) -> tuple[Mip, Block]:
    """Write the model; return it with the places of its pixels, [P].

    The objective is the margin. Units that are off over the whole box have no column.
    """
    problem = Builder(name, sense="maximize")
    low, high = attack.box
    network = attack.network
    told = ranges(network, low, high)[:-1]
    # Binary columns first, the order in which SCIP writes files.
    switches = [
        problem.binary(f"switch_{layer}", int(within.unstable.sum()))
        for layer, within in enumerate(told, start=1)
    ]
    pixels = inputs = problem.add("pixel", len(low), lower=low, upper=high)
    for layer, within in enumerate(told, start=1):
        weight_OI, bias_O = network.weights[layer - 1], network.biases[layer - 1]
        outputs = _add_units(problem, layer, within)
        _add_rows(problem, layer, within, inputs, outputs, switches[layer - 1], weight_OI, bias_O)
        inputs = outputs
    last = network.weights[-1][attack.target] - network.weights[-1][attack.source]
    bias = network.biases[-1][attack.target] - network.biases[-1][attack.source]
    margin = problem.add("margin", 1, cost=1.0, lower=-np.inf)
    problem.rows("last", (inputs, -last), (margin, 1.0), left=bias, right=bias, sums=1)
    return problem.build(), pixels


def _add_units(problem: Builder, layer: int, within: Range) -> Block:
    """Add a column for each unit that is on or may be; return the columns of all units, [O]."""
    units = np.full(len(within.lower), NOTHING)
    active = np.flatnonzero(within.upper > 0)
    units[active] = problem.add(
        f"unit_{layer}",
        len(active),
        lower=np.maximum(within.lower[active], 0.0),
        upper=within.upper[active],
    )
    return units


def _add_rows(
    problem: Builder,
    layer: int,
    within: Range,
    inputs: Block,
    outputs: Block,
    switch: Block,
    weight_OI: Floats,
    bias_O: Floats,
) -> None:
    """Say that each unit is max(0, weight inputs + bias)."""
    always, unstable = (within.lower >= 0) & (within.upper > 0), within.unstable
    held = outputs[always][:, None]
    problem.rows(f"on_{layer}", (held, 1.0), (inputs[None], -weight_OI[always]),
                 left=bias_O[always], right=bias_O[always], sums=1)  # fmt: skip
    free, weight, bias = outputs[unstable][:, None], weight_OI[unstable], bias_O[unstable]
    lower, upper = within.lower[unstable], within.upper[unstable]
    # At least what comes in; at most that, less the lower bound if off; 0 if off.
    problem.rows(f"least_{layer}", (free, 1.0), (inputs[None], -weight), left=bias, sums=1)
    problem.rows(f"most_{layer}", (free, 1.0), (inputs[None], -weight),
                 (switch[:, None], -lower[:, None]), right=np.round(bias - lower, DIGITS),
                 sums=1)  # fmt: skip
    problem.rows(f"off_{layer}", (free, 1.0), (switch[:, None], -upper[:, None]), right=0.0,
                 sums=1)  # fmt: skip
