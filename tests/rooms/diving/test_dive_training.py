from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rooms.diving.examples import cover, facilities, infeasible
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs
from tenfold.parts.mip.features import COLUMN_FEATURES
from tenfold.parts.mip.labels import Pool
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving.dive import calibrating
from tenfold.rooms.diving.dive.calibrating import GRID, TARGET, calibrate
from tenfold.rooms.diving.dive.collecting import label, near_rows, solve_fixed
from tenfold.rooms.diving.dive.config import CollectDive, GraphConvolution, Perceptron, TrainDive
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.network import NeuralDiving
from tenfold.rooms.diving.dive.slots import bits_of
from tenfold.rooms.diving.dive.store import (
    Labelled,
    keys_of,
    read_labelled,
    store_folder,
    write_labelled,
)
from tenfold.rooms.diving.dive.training import Trainer, learning_rate, lesson_of
from tenfold.rooms.diving.run import COVERAGE, split

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")

TOLD = TrainDive(
    network=GraphConvolution(width=16, depth=2), coverages=(0.5, 0.8), steps=60, dropout=0.1,
    learning_rate=1e-2,
)  # fmt: skip


@pytest.fixture(scope="module")
def labels():
    made = []
    for seed in range(5):
        mip = facilities(seed)
        made.append(label(mip, key=f"f{seed}", cfg=CollectDive(nodes=50)))
    return made


def lessons_of(labels, told=TOLD, hooks=Hooks()):  # noqa: B008 (frozen)
    return [lesson_of(entry, told=told, hooks=hooks) for entry in labels]


def trainer_of(labels, *, seed=0, told=TOLD):
    lessons = lessons_of(labels, told)
    return Trainer(told, lessons[:4], lessons[4:], seed=seed)


# Labels


def test_the_best_label_of_a_small_instance_is_its_optimum(labels):
    for entry in labels:
        best = highs.solve(entry.mip).objective
        assert entry.pool.objectives[0] == pytest.approx(best, rel=2e-4)
        assert list(entry.pool.objectives) == sorted(entry.pool.objectives)


def test_rens_and_neighbourhoods_find_labels_that_fit_and_get_better():
    mip = cover(3, rows=60, columns=120)
    made = label(mip, key="c", cfg=CollectDive(improve="rens", nodes=30, rounds=6))
    assert made.pool.source["method"] == "root LP, RENS, neighbourhoods"
    assert len(made.pool.objectives)
    assert made.pool.bound <= made.pool.objectives[0] + 1e-9
    again = label(mip, key="c", cfg=CollectDive(improve="rens", nodes=30, rounds=6))
    assert np.array_equal(made.pool.x, again.pool.x)


def test_an_infeasible_instance_has_no_label_and_no_lesson():
    made = label(infeasible(), key="i", cfg=CollectDive(nodes=5))
    assert len(made.pool.objectives) == 0
    assert made.relaxed is None
    assert lesson_of(made, told=TOLD, hooks=Hooks()) is None


def test_solving_with_columns_fixed_keeps_them_and_the_rest_fits(labels):
    entry = labels[0]
    fixed = entry.mip.whole & (np.arange(len(entry.mip.cost)) % 2 == 0)
    _, x = solve_fixed(
        entry.mip, fixed, entry.pool.x[0], solver=highs, limits=Limits(), start=entry.pool.x[0]
    )
    assert np.array_equal(x[fixed], np.rint(entry.pool.x[0][fixed]))
    assert entry.mip.objective(x) <= entry.pool.objectives[0] + 1e-6


def test_neighbourhoods_are_shares_of_the_whole_columns_that_share_rows():
    mip = facilities(1, customers=20, places=15)
    draw = np.random.default_rng(0)
    for share in (0.2, 0.5):
        free = near_rows(mip, draw, share=share)
        assert not free[~mip.whole].any()
        assert free.sum() >= int(share * mip.whole.sum())


# The store


def test_a_label_is_read_back_from_the_store_as_it_was_written(labels, tmp_path):
    for entry in labels[:2]:
        write_labelled(entry, tmp_path)
    assert keys_of(tmp_path) == ["f0", "f1"]
    for entry in labels[:2]:
        read = read_labelled(tmp_path, entry.key)
        assert read.mip.digest() == entry.mip.digest()
        assert np.array_equal(read.pool.x, entry.pool.x)
        for name in ("x", "duals", "reduced", "basis"):
            assert np.array_equal(getattr(read.relaxed, name), getattr(entry.relaxed, name))
        assert read.relaxed.objective == entry.relaxed.objective


def test_an_entry_without_its_last_file_is_not_whole(labels, tmp_path):
    write_labelled(labels[0], tmp_path)
    (tmp_path / "f0.pool.json").unlink()
    assert keys_of(tmp_path) == []
    with pytest.raises(TenfoldError, match="holds no labelled instances"):
        store_folder(tmp_path)


# Lessons


def test_the_target_of_a_slot_is_the_weighted_mean_of_the_points_bits(labels):
    entry = labels[1]
    lesson = lesson_of(entry, told=TOLD, hooks=Hooks())
    bits = bits_of(lesson.looks[0].slots, entry.pool.x)
    expected = entry.pool.weights(TOLD.temperature) @ bits
    assert lesson.targets.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize(("root_lp", "known"), [("auto", [0, 1]), ("always", [1]), ("never", [0])])
def test_a_lesson_shows_the_root_lp_as_it_will_be_shown_later(labels, root_lp, known):
    lesson = lesson_of(labels[0], told=replace(TOLD, root_lp=root_lp), hooks=Hooks())
    told = [look.graph.columns[0, len(COLUMN_FEATURES)].item() for look in lesson.looks]
    assert told == known


# Training


def test_the_loss_falls_in_training_and_the_likelihood_of_held_out_instances_rises(labels):
    trainer = trainer_of(labels)
    before = trainer.watch()
    losses = [float(trainer.update(step)) for step in range(60)]
    after = trainer.watch()
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert after["nll"] < before["nll"]


def test_training_with_one_seed_repeats_exactly(labels):
    one, two = trainer_of(labels), trainer_of(labels)
    for step in range(5):
        assert float(one.update(step)) == float(two.update(step))


def test_a_trainer_that_takes_over_a_state_goes_on_exactly(labels):
    whole = trainer_of(labels)
    for step in range(4):
        whole.update(step)
    split_one = trainer_of(labels)
    for step in range(2):
        split_one.update(step)
    tensors, values = split_one.state()
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    fresh = trainer_of(labels, seed=0)
    fresh.load_state(kept, values)
    for step in range(2, 4):
        fresh.update(step)
    for one, two in zip(whole.net.parameters(), fresh.net.parameters(), strict=True):
        assert torch.equal(one, two)


def test_training_needs_a_lesson():
    with pytest.raises(TenfoldError, match="no instance has both a point and a column to predict"):
        Trainer(TOLD, [], [], seed=0)


def test_the_learning_rate_rises_over_a_20th_and_falls_to_nothing():
    told = TrainDive(steps=200, learning_rate=0.5)
    rates = [learning_rate(told, step) for step in range(200)]
    assert rates[:10] == pytest.approx([0.05 * k for k in range(1, 11)])
    assert max(rates) == rates[9] == 0.5
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3


def test_a_perceptron_learns_from_a_hook_s_features_alone():
    # The label of a column is told by its feature, another one is noise.
    draw = np.random.default_rng(0)
    entries, seen = [], {}
    for seed in range(4):
        mip = cover(seed)
        x = (draw.random(len(mip.cost)) < 0.5).astype(float)
        pool = Pool(x=x[None], objectives=np.zeros(1), bound=0.0, digest="", source={})
        entries.append(Labelled(key=str(seed), mip=mip, pool=pool, relaxed=None))
        seen[mip.name] = np.stack([2 * x - 1, draw.normal(size=len(x))], axis=1)
    hooks = Hooks(name="own", features=lambda mip: (np.arange(len(mip.cost)), seen[mip.name]))
    told = TrainDive(network=Perceptron(width=8, hidden=8), hooks="own", coverages=(0.5,),
                     steps=80, learning_rate=3e-2)  # fmt: skip
    lessons = lessons_of(entries, told, hooks)
    assert lessons[0].looks[0].graph is None
    trainer = Trainer(told, lessons[:3], lessons[3:], seed=1)
    for step in range(80):
        trainer.update(step)
    assert trainer.watch()["wrong"] == 0.0


# The coverage to begin with


def network_of(trainer):
    return NeuralDiving(net=trainer.net, told=TOLD, extra=0, coverage=COVERAGE,
                        means=trainer.means)  # fmt: skip


def gaps_from(table):
    """Return a stand-in for dives whose gap is told by the coverage."""
    return lambda _entry, _predicted, coverage, _hooks: table(coverage)


@pytest.mark.parametrize(
    ("gap", "chosen"),
    [
        (lambda _c: 0.0, GRID[0]),
        (lambda c: 0.0 if c <= 0.8 else 1.0, 0.8),
        (lambda c: TARGET if c <= 0.6 else 0.02, 0.6),
        # None is good enough: the least gap is taken.
        (lambda c: 1.0 if c > 0.75 else abs(c - 0.5) + 0.01, 0.5),
    ],
)
def test_the_largest_coverage_that_is_feasible_and_good_is_chosen(labels, monkeypatch, gap, chosen):
    monkeypatch.setattr(calibrating, "_dive_gap", gaps_from(gap))
    coverage, told = calibrate(network_of(trainer_of(labels)), labels[4:], hooks=Hooks())
    assert coverage == chosen
    assert told["instances"] == 1
    assert [row["coverage"] for row in told["tried"]] == list(GRID[: len(told["tried"])])


def test_a_coverage_that_fails_on_some_instances_is_not_chosen(labels, monkeypatch):
    gaps = iter([0.0, 1.0, 0.0, 0.0])
    monkeypatch.setattr(calibrating, "_dive_gap", lambda *_all: next(gaps))
    coverage, told = calibrate(network_of(trainer_of(labels)), labels[3:], hooks=Hooks())
    assert coverage == GRID[1]
    assert [row["feasible"] for row in told["tried"]] == [0.5, 1.0]


def test_calibration_dives_for_real_where_every_bit_is_right(labels):
    class Knows:
        """A network that has seen the best points."""

        told, coverage, sees_graph = TOLD, COVERAGE, True

        def predict(self, look):
            bits = [bits_of(look.slots, entry.pool.x[0])[0] for entry in labels
                    if len(entry.mip.cost) == len(look.graph.columns)]  # fmt: skip
            logits = torch.from_numpy(np.where(bits[0], 9.0, -9.0))
            return logits, torch.zeros(2, len(logits))

    coverage, told = calibrate(Knows(), labels[:1], hooks=Hooks())
    assert coverage == GRID[0]
    assert told["tried"][0]["mean_gap"] <= TARGET


def test_without_a_held_out_instance_the_coverage_stays(labels):
    coverage, told = calibrate(network_of(trainer_of(labels)), [], hooks=Hooks())
    assert coverage == COVERAGE
    assert told == {"tried": [], "instances": 0}


# Splitting


@given(st.integers(0, 60), st.floats(0.0, 0.9))
def test_a_split_parts_the_keys_and_keeps_their_order(count, share):
    keys = [f"k{number:02}" for number in range(count)]
    learn, held = split(keys, share=share)
    assert sorted(learn + held) == keys
    assert learn == sorted(learn)
    assert held == sorted(held)
    expected = round(share * count)
    if share and count > 1:
        expected = max(expected, 1)
    assert len(held) == expected


@given(st.permutations([f"k{number}" for number in range(9)]))
def test_a_split_does_not_depend_on_the_order_of_the_keys(keys):
    assert split(keys, share=0.3) == split(sorted(keys), share=0.3)


def test_held_out_keys_are_spread_over_the_sorted_ones():
    _, held = split([f"k{number:02}" for number in range(20)], share=0.2)
    places = [int(key[1:]) for key in held]
    assert np.diff(places).tolist() == [5, 5, 5]


def test_nothing_is_held_out_where_the_share_is_nothing_or_there_is_one_key():
    assert split(["a", "b", "c"], share=0.0) == (["a", "b", "c"], [])
    assert split(["a"], share=0.15) == (["a"], [])
