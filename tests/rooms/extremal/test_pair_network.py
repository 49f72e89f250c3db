import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.rooms.extremal import model
from tenfold.rooms.extremal.model_config import FEATURES, SCALARS, NetworkConfig, preset

SMALL = NetworkConfig(width=8, blocks=2, heads=2)
KINDS = pytest.mark.parametrize("kind", ["pairnet", "resnet"])


def position(nodes, *, batch=2, seed=0):
    """Return random features of ordered pairs and of the whole."""
    made = np.random.default_rng(seed)
    pairs = made.normal(size=(batch, nodes, nodes, FEATURES)).astype(np.float32)
    scalars = made.normal(size=(batch, SCALARS)).astype(np.float32)
    return torch.from_numpy(pairs), torch.from_numpy(scalars)


def as_matrix(logits, nodes):
    """Return logits of unordered pairs as a symmetric matrix."""
    u, v = np.triu_indices(nodes, k=1)
    matrix = np.zeros((len(logits), nodes, nodes))
    matrix[:, u, v] = matrix[:, v, u] = logits.detach().numpy()
    return matrix


def judged_renamed(network, nodes, order):
    pairs, scalars = position(nodes)
    logits, value = network(pairs, scalars)
    moved_logits, moved_value = network(pairs[:, order][:, :, order], scalars)
    expected = as_matrix(logits, nodes)[:, order][:, :, order]
    return expected, as_matrix(moved_logits, nodes), value, moved_value


@settings(max_examples=25)
@given(order=st.integers(2, 12).flatmap(lambda nodes: st.permutations(range(nodes))))
def test_renaming_nodes_permutes_the_logits_of_pairnet_and_leaves_its_value(order):
    network = model.build_network(SMALL, seed=1)
    expected, found, value, moved_value = judged_renamed(network, len(order), list(order))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    torch.testing.assert_close(moved_value, value, atol=1e-5, rtol=0)


def test_renaming_nodes_changes_what_resnet_says():
    network = model.build_network(dataclasses.replace(SMALL, torso="resnet"), seed=1)
    expected, found, value, moved_value = judged_renamed(network, 9, list(np.roll(range(9), 4)))
    assert np.abs(found - expected).max() > 1e-3
    assert (moved_value - value).abs().max() > 1e-5


def test_renaming_nodes_changes_the_logits_of_pairnet_somewhere():
    network = model.build_network(SMALL, seed=1)
    expected, found, _, _ = judged_renamed(network, 9, list(np.roll(range(9), 4)))
    pairs, scalars = position(9)
    assert np.abs(found - as_matrix(network(pairs, scalars)[0], 9)).max() > 1e-2
    assert np.ptp(expected) > 1e-2


@KINDS
def test_logits_come_in_rows_of_the_upper_triangle(kind):
    nodes = 5
    network = model.build_network(dataclasses.replace(SMALL, torso=kind))
    heads = network.heads
    x = torch.zeros(1, nodes, nodes, SMALL.width)
    with torch.no_grad():
        for part in (heads.pair, heads.logit):
            part.weight.zero_()
        heads.logit.weight[0, 0] = 1.0
        heads.norm = torch.nn.Identity()
        x[0, :, :, 0] = torch.arange(nodes)[:, None] * 10.0 + torch.arange(nodes)
        logits, _ = heads(x)
    expected = [10.0 * u + v + 10.0 * v + u for u in range(nodes) for v in range(u + 1, nodes)]
    assert logits[0].tolist() == expected


@KINDS
@pytest.mark.parametrize("nodes", [2, 5, 11])
def test_gradients_of_all_parameters_are_finite_and_some_are_not_zero(kind, nodes):
    network = model.build_network(dataclasses.replace(SMALL, torso=kind))
    logits, value = network(*position(nodes))
    (logits.square().sum() + value.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert nodes == 2 or parameter.grad.abs().max() > 0, name


def attend_slowly(attention, z):
    """Return triangle attention by its formula, one triple of nodes at a time."""
    nodes, width, heads = z.shape[0], attention.width, attention.heads
    rows, columns = attention.project(z).chunk(2, dim=-1)
    found = torch.zeros(nodes, nodes, 2 * width)
    for side, projected in enumerate((rows, columns.transpose(0, 1))):
        q, k, v, gate, bias = projected.split([width] * 4 + [heads], dim=-1)
        for i in range(nodes):
            for j in range(nodes):
                for h in range(heads):
                    part = slice(h * width // heads, (h + 1) * width // heads)
                    scores = torch.stack(
                        [
                            q[i, j, part] @ k[i, m, part] / (width / heads) ** 0.5 + bias[j, m, h]
                            for m in range(nodes)
                        ]
                    )
                    sharpness = np.log(nodes) / np.log(16)
                    mixed = (sharpness * scores).softmax(0) @ v[i, :, part]
                    place = slice(side * width + part.start, side * width + part.stop)
                    to = (i, j) if side == 0 else (j, i)
                    found[*to, place] = gate[i, j, part].sigmoid() * mixed
    return attention.out(found)


def test_attention_agrees_with_its_formula():
    attention = model.build_network(SMALL).blocks[0].attention
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(attention(z)[0], attend_slowly(attention, z[0]))


@KINDS
def test_portions_say_what_the_whole_says(kind, monkeypatch):
    network = model.build_network(dataclasses.replace(SMALL, torso=kind))
    pairs, scalars = position(6, batch=7)
    monkeypatch.setattr(model, "PAIRS_AT_ONCE", 3 * 36)
    logits, value = model.evaluate(network, pairs, scalars)
    whole_logits, whole_value = network(pairs, scalars)
    torch.testing.assert_close(logits, whole_logits)
    torch.testing.assert_close(value, whole_value)


@KINDS
@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_a_preset_is_built_alike_from_its_seed_alone(kind, size):
    torch.manual_seed(1)
    first = model.build(kind, size, seed=3).state_dict()
    torch.manual_seed(2)
    again = model.build(kind, size, seed=3).state_dict()
    other = model.build(kind, size, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed.pairs.weight"], other["embed.pairs.weight"])


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="no network 'mlp' of size 'cpu'; choose from pairnet cpu"):
        preset("mlp", "cpu")


def test_widths_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match=r"width \(9\) is no multiple of heads \(2\)"):
        NetworkConfig(width=9, heads=2)


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ValueError, match=r"blocks \(0\) must be at least 1"):
        NetworkConfig(blocks=0)
