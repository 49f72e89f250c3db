import numpy as np
import pytest
import torch

from tenfold.parts.nn.attention import Attention, attend, soft_cap
from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.nn.rope import rotation_tables


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_attention(q, k, v, *, cap):
    """Definition, one sequence, head and position at a time."""
    batch, heads, length, width = q.shape
    groups = heads // k.shape[1]
    out = np.zeros_like(q)
    for b, n, t in np.ndindex(batch, heads, length):
        past = slice(0, t + 1)
        scores = k[b, n // groups, past] @ q[b, n, t] / np.sqrt(width)
        if cap:
            scores = cap * np.tanh(scores / cap)
        weights = np.exp(scores - scores.max())
        out[b, n, t] = weights / weights.sum() @ v[b, n // groups, past]
    return out


@pytest.mark.parametrize("cap", [0.0, 1.5])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_attention_agrees_with_its_definition(cap, kv_heads):
    q, k, v = (draw(2, heads, 7, 6, seed=heads) for heads in (4, kv_heads, kv_heads))
    v = v + 1
    expected = plain_attention(*(x.numpy() for x in (q, k, v)), cap=cap)
    np.testing.assert_allclose(attend(q, k, v, cap=cap), expected, atol=1e-12)


def test_a_very_high_cap_is_no_cap():
    q, k, v = draw(3, 1, 2, 5, 4)
    torch.testing.assert_close(attend(q, k, v, cap=1e6), attend(q, k, v))


def test_soft_cap_keeps_small_scores_and_bounds_large_ones():
    x = torch.tensor([0.01, 1e6, -1e6])
    torch.testing.assert_close(soft_cap(x, cap=30.0), torch.tensor([0.01, 30.0, -30.0]))
    assert soft_cap(x, cap=0.0) is x


@pytest.mark.parametrize("cap", [0.0, 5.0])
def test_the_future_cannot_change_the_past(cap):
    config = DecoderConfig(width=8, heads=2, kv_heads=1, head_width=4, attention_cap=cap)
    layer = Attention(config, generator=torch.Generator().manual_seed(0))
    rotation = rotation_tables(6, head_width=4, base=100.0)
    before = draw(1, 6, 8).float()
    after = before.clone()
    after[:, 4:] += 1
    was, now = layer(before, rotation), layer(after, rotation)
    torch.testing.assert_close(was[:, :4], now[:, :4])
    assert not torch.allclose(was[:, 4:], now[:, 4:])


def test_out_takes_the_heads_side_by_side():
    config = DecoderConfig(width=8, heads=2, kv_heads=2, head_width=4)
    layer = Attention(config, generator=torch.Generator().manual_seed(0))
    seen = []
    layer.out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = draw(1, 1, 8).float()
    layer(x, rotation_tables(1, head_width=4, base=100.0))
    # A single position attends to itself alone, so that each head returns its value.
    torch.testing.assert_close(seen[0], layer.value(x))
