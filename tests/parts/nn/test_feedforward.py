import math

import numpy as np
import torch

from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.nn.feedforward import FeedForward


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def build(kind):
    config = DecoderConfig(width=3, hidden=5, feedforward=kind)
    layer = FeedForward(config, generator=torch.Generator().manual_seed(0))
    return layer, {name: weight.detach().numpy() for name, weight in layer.named_parameters()}


X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)


def test_geglu_multiplies_the_gate_with_the_second_projection():
    layer, w = build("geglu")
    inside = gelu(X @ w["gate.weight"].T) * (X @ w["up.weight"].T)
    expected = inside @ w["down.weight"].T
    np.testing.assert_allclose(layer(torch.from_numpy(X)).detach(), expected, atol=1e-6)


def test_plain_gelu_has_no_second_projection():
    layer, w = build("gelu")
    expected = gelu(X @ w["gate.weight"].T) @ w["down.weight"].T
    assert set(w) == {"gate.weight", "down.weight"}
    np.testing.assert_allclose(layer(torch.from_numpy(X)).detach(), expected, atol=1e-6)
