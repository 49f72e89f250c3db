"""A small classifier of handwritten digits, to be verified, and bounds on what its units do.

The network is dense with ReLU between its layers and trained here on half of scikit-learn's
digits (8 x 8 pixels, Alpaydin and Kaynak 1998); the other half is what instances are made of.
Its weights are rounded to multiples of 1/1024, so that machines whose sums differ in the last
digit have the same network. P pixels, a layer has O outputs and I inputs.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.errors import require
from tenfold.parts.mip.instance import Floats

Ints = NDArray[np.int64]
CLASSES = 10
GRID = 1024
"""Weights and biases are multiples of 1 / GRID."""
_EPOCHS, _BATCH, _RATE, _DECAY = 30, 32, 2e-3, 0.2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """Layers of a classifier, first to last; ReLU after all but the last."""

    weights: tuple[Floats, ...]
    """[O, I] each."""
    biases: tuple[Floats, ...]
    """[O] each."""

    def units(self, x_BP: Floats) -> list[Floats]:
        """Return what each layer gives before its ReLU, [B, O] each; the last are the logits."""
        told, values = [], x_BP
        for weight_OI, bias_O in zip(self.weights, self.biases, strict=True):
            told.append(values @ weight_OI.T + bias_O)
            values = np.maximum(told[-1], 0.0)
        return told

    def logits(self, x_BP: Floats) -> Floats:
        """Return the logits, [B, 10]."""
        return self.units(x_BP)[-1]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pictures:
    """N pictures with grey levels within [0, 1], multiples of 1/16."""

    pixels: Floats
    """[N, P]."""
    classes: Ints
    """[N]."""


@functools.cache
def pictures() -> tuple[Pictures, Pictures]:
    """Return the pictures to train on and those held out, half of 1,797 each.

    Raises:
        TenfoldError: if scikit-learn, which has the pictures, is not installed.
    """
    datasets: Any = require("sklearn.datasets", extra="mip", purpose="verifying a network")
    pixels, classes = datasets.load_digits(return_X_y=True)
    order = rng.stream(0, "digits").permutation(len(pixels))

    def part(places: Ints) -> Pictures:
        return Pictures(pixels=pixels[places] / 16.0, classes=classes[places].astype(np.int64))

    half = len(order) // 2
    return part(order[:half]), part(order[half:])


@functools.cache
def trained(hidden: tuple[int, ...], seed: int = 0) -> Network:
    """Train a classifier: Adam on the mean cross-entropy with weight decay, about a second.

    Args:
        hidden: units of each hidden layer.
        seed: of first weights and order of pictures.
    """
    seen = pictures()[0]
    draw = rng.stream(seed, "digits", "train", *hidden)
    sizes = (seen.pixels.shape[1], *hidden, CLASSES)
    parameters = []
    for inputs, outputs in itertools.pairwise(sizes):
        parameters += [
            draw.normal(0.0, np.sqrt(2.0 / inputs), (outputs, inputs)),
            np.zeros(outputs),
        ]
    means, squares = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    steps = 0
    for _ in range(_EPOCHS):
        order = draw.permutation(len(seen.pixels))
        for batch in np.array_split(order, len(order) // _BATCH):
            steps += 1
            slopes = _slopes(parameters, seen.pixels[batch], seen.classes[batch])
            _adam(parameters, slopes, means, squares, steps)
    rounded = [np.rint(p * GRID) / GRID for p in parameters]
    return Network(weights=tuple(rounded[::2]), biases=tuple(rounded[1::2]))


def _slopes(parameters: list[Floats], x_BP: Floats, classes_B: Ints) -> list[Floats]:
    """Return the gradient of the mean cross-entropy by each parameter."""
    network = Network(weights=tuple(parameters[::2]), biases=tuple(parameters[1::2]))
    units = network.units(x_BP)
    inputs = [x_BP, *(np.maximum(unit, 0.0) for unit in units[:-1])]
    odds = np.exp(units[-1] - units[-1].max(axis=1, keepdims=True))
    back_BO = odds / odds.sum(axis=1, keepdims=True)
    back_BO[np.arange(len(back_BO)), classes_B] -= 1.0
    back_BO /= len(back_BO)
    slopes: list[Floats] = []
    for layer in reversed(range(len(units))):
        slopes[:0] = [back_BO.T @ inputs[layer], back_BO.sum(axis=0)]
        if layer:
            back_BO = (back_BO @ network.weights[layer]) * (units[layer - 1] > 0)
    return slopes


def _adam(
    parameters: list[Floats],
    slopes: list[Floats],
    means: list[Floats],
    squares: list[Floats],
    steps: int,
) -> None:
    """Take one step of Adam (Kingma and Ba 2015) with decoupled weight decay, in place."""
    for value, slope, mean, square in zip(parameters, slopes, means, squares, strict=True):
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope * slope - square)
        moved = (mean / (1 - 0.9**steps)) / (np.sqrt(square / (1 - 0.999**steps)) + 1e-8)
        value -= _RATE * (moved + _DECAY * value if value.ndim > 1 else moved)


# Bounds


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Range:
    """Between what values the units of a layer lie before their ReLU, [O] each."""

    lower: Floats
    upper: Floats

    @property
    def unstable(self) -> NDArray[np.bool_]:
        """Whether a unit may be on or off."""
        return np.asarray((self.lower < 0) & (self.upper > 0))


def ranges(network: Network, low_P: Floats, high_P: Floats) -> list[Range]:
    """Bound every unit over a box of pictures, layer by layer.

    The better of interval propagation and of linear bounds carried back to the pixels (CROWN:
    Zhang et al. 2018, there with the same slopes), rounded outward to multiples of 1e-6.
    """
    told: list[Range] = []
    inputs = (low_P, high_P)
    for weight_OI, bias_O in zip(network.weights, network.biases, strict=True):
        up, down = np.maximum(weight_OI, 0.0), np.minimum(weight_OI, 0.0)
        lower = up @ inputs[0] + down @ inputs[1] + bias_O
        upper = up @ inputs[1] + down @ inputs[0] + bias_O
        if told:
            lower = np.maximum(lower, -_carried(network, told, -weight_OI, -bias_O, low_P, high_P))
            upper = np.minimum(upper, _carried(network, told, weight_OI, bias_O, low_P, high_P))
        told.append(Range(lower=np.floor(lower * 1e6) / 1e6, upper=np.ceil(upper * 1e6) / 1e6))
        inputs = (np.maximum(told[-1].lower, 0.0), np.maximum(told[-1].upper, 0.0))
    return told


def _carried(
    network: Network,
    before: list[Range],
    slope_OI: Floats,
    constant_O: Floats,
    low_P: Floats,
    high_P: Floats,
) -> Floats:
    """Return upper bounds of slope x + constant, x the outputs of the last layer in `before`."""
    for layer in reversed(range(len(before))):
        lower, upper = before[layer].lower, before[layer].upper
        unstable = before[layer].unstable
        # Above, the chord from (lower, 0) to (upper, upper); below, x or 0, whichever is nearer.
        chord = np.where(unstable, upper / np.where(unstable, upper - lower, 1.0), lower >= 0)
        below = np.where(unstable, upper > -lower, lower >= 0)
        up, down = np.maximum(slope_OI, 0.0), np.minimum(slope_OI, 0.0)
        constant_O = constant_O - up @ np.where(unstable, chord * lower, 0.0)
        slope_OI = up * chord + down * below
        constant_O = constant_O + slope_OI @ network.biases[layer]
        slope_OI = slope_OI @ network.weights[layer]
    return np.maximum(slope_OI, 0.0) @ high_P + np.minimum(slope_OI, 0.0) @ low_P + constant_O
