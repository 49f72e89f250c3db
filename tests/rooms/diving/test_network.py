import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rooms.diving.examples import cover, facilities, untrained
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.generate.assigning import generalized_assignment
from tenfold.parts.mip.generate.unit_commitment import draw_system, unit_commitment
from tenfold.parts.mip.instance import from_rows
from tenfold.rooms.diving.dive import network
from tenfold.rooms.diving.dive.config import Perceptron, TrainDive
from tenfold.rooms.diving.dive.hooks import Hooks, load_hooks
from tenfold.rooms.diving.dive.looks import look_at, solve_root
from tenfold.rooms.diving.dive.network import (
    KEY,
    NeuralDiving,
    feature_means,
    load_network,
    new_network,
    save_network,
)

pytest.importorskip("highspy")


def looking(mip, *, lp=False):
    relaxed = solve_root(mip) if lp else None
    return look_at(mip, bits=6, hooks=Hooks(), graph=True, relaxed=relaxed)


@pytest.fixture(scope="module")
def model():
    return untrained([facilities(seed, customers=15, places=10) for seed in range(4)])


def with_header(source, target, **changes):
    """Copy a network's file with other words in its header."""
    with safe_open(source, framework="pt") as held:
        told = json.loads(held.metadata()[KEY]) | changes
        tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    save_file(tensors, target, metadata={KEY: json.dumps(told)})


# Predictions


def test_a_network_gives_a_logit_for_each_slot_and_head(model):
    look = looking(facilities(9))
    logits, chosen = model.predict(look)
    assert logits.shape == (len(look.slots),)
    assert chosen.shape == (2, len(look.slots))


def test_predictions_do_not_depend_on_the_order_of_columns_and_rows(model):
    mip = facilities(9)
    draw = np.random.default_rng(0)
    c, r = draw.permutation(len(mip.cost)), draw.permutation(len(mip.left))
    turned = from_rows(
        name="turned", cost=mip.cost[c], matrix=mip.matrix[r][:, c], left=mip.left[r],
        right=mip.right[r], lower=mip.lower[c], upper=mip.upper[c], kinds=mip.kinds[c],
    )  # fmt: skip
    one, other = model.predict(looking(mip))[0], model.predict(looking(turned))[0]
    # Slots are those of the binary columns, ascending.
    place = {int(j): k for k, j in enumerate(np.flatnonzero(mip.whole))}
    order = [place[int(j)] for j in c if mip.whole[j]]
    assert torch.allclose(one[order], other, atol=1e-5)


def test_dropout_needs_a_generator_and_repeats_with_it():
    net = new_network(TrainDive(dropout=0.5), extra=0)
    look = looking(facilities(1))
    still = [net(look)[0] for _ in range(2)]
    assert torch.equal(*still)
    drawn = [net(look, None, torch.Generator().manual_seed(3))[0] for _ in range(2)]
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], still[0])


# Files


def test_a_network_read_from_its_file_predicts_the_same(model, tmp_path):
    file = tmp_path / "net.safetensors"
    model.save(file)
    read = load_network(file)
    look = looking(facilities(9), lp=True)
    for one, other in zip(model.predict(look), read.predict(look), strict=True):
        assert torch.equal(one, other)
    assert read.told == model.told
    assert read.coverage == model.coverage
    assert np.array_equal(read.means, model.means)


def test_what_its_makers_wrote_of_a_network_is_read_back(model, tmp_path):
    file = tmp_path / "net.safetensors"
    save_network(replace(model, report={"seed": 7, "loss": 0.25}), file)
    assert load_network(file).report == {"seed": 7, "loss": 0.25}


@pytest.mark.parametrize("field", ["schema", "features"])
def test_a_network_of_another_version_is_refused_with_both_numbers(model, tmp_path, field):
    file, other = tmp_path / "net.safetensors", tmp_path / "other.safetensors"
    model.save(file)
    with_header(file, other, **{field: 99})
    with pytest.raises(TenfoldError, match=rf"has {field} 99, this version \d+; train it again"):
        load_network(other)


def test_a_file_of_tensors_that_is_no_network_is_refused(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, file)
    with pytest.raises(TenfoldError, match="is no Neural Diving network; train one"):
        load_network(file)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\xff" * 200])
def test_a_file_that_is_corrupt_is_refused(tmp_path, content):
    file = tmp_path / "net.safetensors"
    file.write_bytes(content)
    with pytest.raises(TenfoldError, match="cannot be read as a network"):
        load_network(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="cannot be read as a network"):
        load_network(tmp_path / "none.safetensors")


def test_weights_that_do_not_fit_the_header_are_refused(model, tmp_path):
    file, other = tmp_path / "net.safetensors", tmp_path / "other.safetensors"
    model.save(file)
    with_header(file, other, extra=3)
    with pytest.raises(TenfoldError, match="does not fit what it says of itself"):
        load_network(other)


def test_hooks_of_the_room_come_with_a_network_and_files_of_a_user_do_not(tmp_path):
    file, ran = tmp_path / "own.py", tmp_path / "ran"
    file.write_text(f"open({str(ran)!r}, 'w')\ndef features(mip):\n    return [0], [[1.0]]\n")

    def told(hooks):
        config = TrainDive(network=Perceptron(width=4, hidden=4), hooks=hooks)
        return NeuralDiving(
            net=new_network(config, extra=2), told=config, extra=2, coverage=0.5,
            means=np.zeros((2, 2)),
        )  # fmt: skip

    assert told("commitment").hooks == load_hooks("commitment")
    with pytest.raises(TenfoldError, match="not run unless you name it"):
        _ = told(str(file)).hooks
    assert not ran.exists()


# Instances unlike those of training


def commitment(seed, units=6, hours=8):
    return unit_commitment(draw_system(units=units, hours=hours, seed=seed))


def test_another_instance_of_the_family_is_no_mismatch(model):
    for seed in (20, 21, 22):
        for lp in (False, True):
            assert (
                model.find_mismatch(looking(facilities(seed, customers=15, places=10), lp=lp)) == ""
            )


def test_a_larger_instance_of_the_family_is_no_mismatch(model):
    assert model.find_mismatch(looking(facilities(3, customers=40, places=30))) == ""


@pytest.mark.parametrize(
    "other", [cover(0), commitment(0), generalized_assignment(agents=4, jobs=16, seed=0)]
)
def test_an_instance_of_another_family_is_a_mismatch_that_is_told(model, other):
    for lp in (False, True):
        told = model.find_mismatch(looking(other, lp=lp))
        assert "% of the features have a mean more than" in told


def test_a_network_of_unit_commitment_sees_that_a_set_cover_is_none():
    model = untrained([commitment(seed) for seed in range(3)])
    assert model.find_mismatch(looking(commitment(7))) == ""
    assert model.find_mismatch(looking(commitment(7, units=12, hours=24))) == ""
    assert model.find_mismatch(looking(cover(0))) != ""


def test_another_number_of_features_is_a_mismatch(model):
    hooks = Hooks(name="own", features=lambda _mip: ([0, 1], np.ones((2, 2))))
    look = look_at(facilities(0), bits=6, hooks=hooks, graph=True)
    expected = model.means.shape[1]
    assert model.find_mismatch(look) == f"{expected + 2} features where training had {expected}"


def test_the_mean_of_a_feature_is_squashed_so_that_one_outlier_does_not_decide():
    look = looking(facilities(0))
    before = feature_means(look)
    look.graph.columns[0, 4] = 1e9
    after = feature_means(look)
    assert np.abs(after - before).max() <= 2 / len(look.graph.columns)


def test_far_features_are_counted_against_the_limit(model):
    look = looking(facilities(5))
    told = feature_means(look)
    mean, spread = told.copy(), np.full_like(told, 0.1)
    count = int(network.MANY * len(told)) + 1
    mean[: count - 1] += 0.1 * network.FAR * 1.01
    assert replace(model, means=np.stack([mean, spread])).find_mismatch(look) == ""
    mean[count - 1] += 0.1 * network.FAR * 1.01
    assert replace(model, means=np.stack([mean, spread])).find_mismatch(look) != ""
