from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytest.importorskip("highspy")

from tenfold.parts.mip import highs
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.generate import digits, verification
from tenfold.parts.mip.instance import change_bounds

HIDDEN = (16, 16)


def attack(seed, radius=0.06):
    return verification.draw_attack(digits.trained(HIDDEN), radius=radius, seed=seed)


def model(seed, radius=0.06):
    drawn = attack(seed, radius)
    return drawn, *verification.model_of(drawn, name="v")


def inside(drawn, count, seed=0):
    """Draw pictures within the radius, half of them corners of the box, [count, P]."""
    low, high = drawn.box
    share = np.random.default_rng(seed).random((count, len(low)))
    share[::2] = np.rint(share[::2])
    return low + share * (high - low)


def attacked_by_gradient(drawn, starts, steps=40):
    """Return the best margin that steps along the gradient's sign find (Madry et al. 2018)."""
    low, high = drawn.box
    x, best = inside(drawn, starts, seed=1), -np.inf
    for _ in range(steps):
        units = drawn.network.units(x)
        best = max(best, drawn.margin(x).max())
        back = drawn.network.weights[-1][[drawn.target]] - drawn.network.weights[-1][[drawn.source]]
        for weight, unit in zip(drawn.network.weights[-2::-1], units[-2::-1], strict=True):
            back = (back * (unit > 0)) @ weight
        x = np.clip(x + 0.1 * drawn.radius * np.sign(back), low, high)
    return max(best, drawn.margin(x).max())


# The network


def test_the_network_reads_held_out_digits_and_its_weights_lie_on_a_grid():
    network = digits.trained((50, 50))
    seen, held_out = digits.pictures()
    assert len(seen.pixels) + len(held_out.pixels) == 1797
    assert (network.logits(held_out.pixels).argmax(axis=1) == held_out.classes).mean() > 0.95
    for part in (*network.weights, *network.biases):
        assert (part * digits.GRID == np.rint(part * digits.GRID)).all()


def test_training_is_what_its_seed_says():
    again = digits.trained.__wrapped__((8,), 3)
    assert (again.weights[0] == digits.trained((8,), 3).weights[0]).all()
    assert (again.weights[0] != digits.trained((8,), 4).weights[0]).any()


def test_slopes_are_those_of_finite_differences():
    draw = np.random.default_rng(0)
    parameters = [draw.normal(size=s) for s in ((5, 4), (5,), (10, 5), (10,))]
    x, classes = draw.normal(size=(7, 4)), draw.integers(0, 10, 7)

    def loss(values):
        network = digits.Network(weights=tuple(values[::2]), biases=tuple(values[1::2]))
        logits = network.logits(x)
        logits = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -logits[np.arange(7), classes].mean()

    for number, slope in enumerate(digits._slopes(parameters, x, classes)):
        for place in np.ndindex(slope.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [value.copy() for value in parameters]
                moved[number][place] += step
                ends.append(loss(moved))
            assert slope[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


# Bounds


@pytest.mark.parametrize("radius", [0.0, 0.03, 0.3])
def test_no_picture_in_the_box_leaves_the_bounds(radius):
    for seed in range(5):
        drawn = attack(seed, radius)
        units = drawn.network.units(inside(drawn, 400))
        for unit, within in zip(units, digits.ranges(drawn.network, *drawn.box), strict=True):
            assert (unit >= within.lower).all()
            assert (unit <= within.upper).all()


def test_bounds_at_a_single_picture_are_its_values():
    drawn = attack(0, 0.0)
    units = drawn.network.units(drawn.picture[None])
    for unit, within in zip(units, digits.ranges(drawn.network, *drawn.box), strict=True):
        assert np.abs(within.lower - unit[0]).max() < 1e-5
        assert np.abs(within.upper - unit[0]).max() < 1e-5


def test_bounds_carried_back_are_never_wider_than_intervals_and_mostly_narrower():
    drawn = attack(0, 0.1)
    low, high = drawn.box
    told = digits.ranges(drawn.network, low, high)
    first, second = told[:2]
    weight, bias = drawn.network.weights[1], drawn.network.biases[1]
    ends = np.maximum(first.lower, 0), np.maximum(first.upper, 0)
    upper = np.maximum(weight, 0) @ ends[1] + np.minimum(weight, 0) @ ends[0] + bias
    assert (second.upper <= upper + 1e-5).all()
    assert (second.upper < upper - 1e-3).mean() > 0.5


# The model


@pytest.mark.parametrize("seed", range(4))
def test_points_give_what_the_network_gives_and_no_attack_beats_the_bound(seed):
    drawn, mip, pixels = model(seed)
    found = highs.solve(mip, keep_points=True)
    assert found.status == "optimal"
    points = [found.x, *(point.x for point in found.points)]
    for x in points:
        assert check_point(mip, x).feasible
        assert drawn.margin(x[pixels][None])[0] == pytest.approx(mip.objective(x), abs=1e-4)
    assert drawn.margin(inside(drawn, 5000)).max() <= found.bound + 1e-5
    best = attacked_by_gradient(drawn, 200)
    assert best <= found.bound + 1e-5
    assert best > found.bound - 0.5  # the attack is worth its name


def test_every_picture_in_the_box_is_a_point_with_one_output():
    drawn, mip, pixels = model(1)
    for x in inside(drawn, 6):
        lower, upper = mip.lower.copy(), mip.upper.copy()
        lower[pixels] = upper[pixels] = x
        for sense in ("maximize", "minimize"):
            fixed = replace(change_bounds(mip, lower, upper), sense=sense)
            assert highs.solve(fixed).objective == pytest.approx(drawn.margin(x[None])[0], abs=1e-5)


def test_units_that_cannot_switch_have_no_binary():
    drawn, mip, _ = model(2)
    told = digits.ranges(drawn.network, *drawn.box)[:-1]
    assert mip.binary.sum() == sum(within.unstable.sum() for within in told)
    alone = model(2, radius=0.0)[1]
    assert not alone.binary.any()
    assert highs.solve(alone).objective == pytest.approx(
        drawn.margin(drawn.picture[None])[0], abs=1e-4
    )


def test_larger_sizes_have_a_hundred_units_that_may_switch():
    mip = verification.verification(layers=2, width=100, radius=0.12, seed=0)
    assert mip.binary.sum() >= 100


# Drawing


def test_seeds_in_a_row_have_pictures_of_their_own_and_then_other_targets():
    network = digits.trained(HIDDEN)
    held_out = digits.pictures()[1]
    logits = network.logits(held_out.pixels)
    right = int((logits.argmax(axis=1) == held_out.classes).sum())
    drawn = [attack(seed) for seed in range(right)]
    assert len({d.picture.tobytes() for d in drawn}) > right - 5  # few pictures come twice
    for one in drawn[:20]:
        clean = network.logits(one.picture[None])[0]
        assert clean.argmax() == one.source
        assert one.target == np.argsort(-clean)[1]
    later = attack(right)
    assert (later.picture == drawn[0].picture).all()
    assert later.target not in (drawn[0].target, drawn[0].source)


def test_an_instance_is_what_its_seed_says():
    one, again, other = (
        verification.verification(layers=2, width=16, radius=0.05, seed=seed) for seed in (0, 0, 1)
    )
    assert one.digest() == again.digest() != other.digest()
