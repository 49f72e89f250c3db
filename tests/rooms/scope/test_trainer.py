import math
from dataclasses import replace

import pytest
import torch

from rooms.scope.small_models import WIDTH, reader
from tenfold.engine.errors import TenfoldError
from tenfold.engine.metrics import unit_of
from tenfold.rooms.jumprelu.config import BatchTopK, JumpReLU
from tenfold.rooms.scope import trainer as module
from tenfold.rooms.scope.config import Subject, Suite
from tenfold.rooms.scope.harvest import harvest
from tenfold.rooms.scope.places import Place, find_places
from tenfold.rooms.scope.trainer import UNITS, start
from tenfold.rooms.scope.training import store_data

CFG = Suite(
    subject=Subject(source="tiny"),
    widths=(24, 16),
    target_l0=(2.0, 4.0),
    seeds=(0, 3),
    tokens=1_000,
    batch=32,
    held_out=0.1,
    dtype="float32",
    threads=1,
)
FIRST, SECOND = Place(site="blocks.0"), Place(site="embed")
"""Two sites of equal width."""
ACROSS = Place(site="blocks.0", site_out="blocks.1")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    cfg = replace(CFG, sites=("blocks.*", "embed")).harvest
    return harvest(reader(), cfg, folder=tmp_path_factory.mktemp("store"), quiet=True)


def begin(store, *places, cfg=CFG, **options):
    return start(cfg, places, store_data(cfg, store, places), **options)


def run(trainer, steps, first=0):
    for step in range(first, first + steps):
        terms = trainer.update(step)
    return terms


def errors_of(trainer):
    """Yield each dictionary's error in its fourth step."""
    for stack, terms in zip(trainer.stacks, run(trainer, 4), strict=True):
        for lane, error in zip(stack.lanes, terms.error.tolist(), strict=True):
            yield lane.name, error


def tensors_of(trainer):
    return {lane.name: dictionary.state_dict() for lane, dictionary in trainer.dictionaries()}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensors in ours.items():
        for part, tensor in tensors.items():
            assert torch.equal(tensor, theirs[name][part]), f"{part} of {name}"


def test_a_suite_has_a_dictionary_for_each_place_width_seed_and_target(store):
    trainer = begin(store, FIRST, ACROSS)
    names = [lane.name for lane in trainer.lanes]
    assert len(set(names)) == len(names) == 2 * 2 * 2 * 2
    assert names[0] == "blocks.0/w24_l0_2_s0"
    assert "blocks.0++blocks.1/w16_l0_4_s3" in names
    assert trainer.steps == math.ceil(trainer.data.rows / 32)


def test_every_metric_has_a_unit_and_the_means_come_first(store):
    trainer = begin(store, FIRST, ACROSS)
    values, _ = trainer.watch(run(trainer, 1), 0)
    assert all(unit_of(name, UNITS) for name in values)
    assert list(values)[:3] == list(UNITS)[:3] == ["fvu", "l0_error", "dead_share"]
    lanes = [values[f"fvu/{lane.name}"] for lane in trainer.lanes]
    assert float(values["fvu"]) == pytest.approx(float(sum(lanes)) / len(lanes))


def test_what_a_site_becomes_does_not_depend_on_the_other_sites(store):
    both, alone = begin(store, FIRST, SECOND), begin(store, SECOND)
    run(both, 4), run(alone, 4)
    theirs = tensors_of(both)
    assert_equal(tensors_of(alone), {name: theirs[name] for name in tensors_of(alone)})


def test_sites_in_one_stack_become_what_they_become_alone(store, monkeypatch):
    places = (FIRST, SECOND)
    apart = begin(store, *places)
    # As on a GPU, where stacks are joined by shape.
    monkeypatch.setattr(
        module, "_in_stacks", lambda found, **_: module.by_shape(found, batch=CFG.batch)
    )
    together = begin(store, *places)
    assert (len(apart.stacks), len(together.stacks)) == (4, 2)
    assert len(together.stacks[0].lanes) == 2 * 4
    ours, theirs = (dict(errors_of(t)) for t in (apart, together))
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert [stack.scales for stack in together.stacks] == [
        {FIRST: apart.stacks[0].scales[FIRST], SECOND: apart.stacks[2].scales[SECOND]}
    ] * 2


def test_stacks_hold_no_more_entries_than_allowed(store, monkeypatch):
    data = store_data(CFG, store, [FIRST, SECOND])
    found = [module.begin(CFG, place, 24, data) for place in (FIRST, SECOND)]
    monkeypatch.setattr(module, "STACK_ENTRIES", 2 * 4 * 24 * CFG.batch)
    assert len(module.by_shape(found, batch=CFG.batch)) == 1
    monkeypatch.setattr(module, "STACK_ENTRIES", 2 * 4 * 24 * CFG.batch - 1)
    assert len(module.by_shape(found, batch=CFG.batch)) == 2


def test_dictionaries_are_trained_on_inputs_of_mean_square_one_and_given_in_raw_units(store):
    trainer = begin(store, FIRST)
    stack = trainer.stacks[0]
    x_ND = trainer.data.sample("blocks.0")
    scale = stack.scales[FIRST]
    assert float((x_ND / scale).square().sum(dim=1).mean()) == pytest.approx(1, rel=1e-5)
    run(trainer, 3)
    scaled = stack.trainer.dictionary.lane(1)
    lane, raw = list(stack.dictionaries())[1]
    assert lane.name == "blocks.0/w24_l0_4_s0"
    torch.testing.assert_close(raw.fold()(x_ND), scaled(x_ND / scale) * scale)


def test_a_suite_taken_up_from_its_state_goes_on_with_the_same_bits(store):
    whole, broken = begin(store, FIRST, ACROSS), begin(store, FIRST, ACROSS)
    run(whole, 9)
    run(broken, 4)
    tensors, values = broken.state()
    resumed = begin(store, FIRST, ACROSS)
    resumed.load_state({name: tensor.clone() for name, tensor in tensors.items()}, values)
    run(resumed, 5, first=4)
    assert_equal(tensors_of(resumed), tensors_of(whole))
    assert resumed.state()[1] == whole.state()[1]


def test_targets_are_reached_and_errors_fall(store):
    cfg = replace(CFG, widths=(24,), seeds=(0,), rows=300 * 32)
    trainer = begin(store, FIRST, SECOND, cfg=cfg)
    before, _ = trainer.watch(run(trainer, 1), 0)
    after, _ = trainer.watch(run(trainer, 299, first=1), 299)
    assert float(after["fvu"]) < 0.7 * float(before["fvu"])
    assert float(after["l0_error"]) < 0.35


@pytest.mark.parametrize("skip", [False, True])
def test_transcoders_rebuild_the_other_site(store, skip):
    cfg = replace(CFG, widths=(24,), seeds=(0,), skip=skip, rows=200 * 32)
    trainer = begin(store, ACROSS, cfg=cfg)
    terms = run(trainer, 200)
    values, _ = trainer.watch(terms, 199)
    assert float(values["fvu"]) < 0.8
    ((_, dictionary), _) = trainer.dictionaries()
    assert (dictionary.input_width, dictionary.output_width) == (WIDTH, 4)
    assert (dictionary.w_skip is not None) == skip
    x_ND, y_ND = (torch.cat(list(trainer.data.held_out(site))) for site in ACROSS.sites)
    rest = (y_ND - dictionary.fold()(x_ND).detach()).square().sum()
    assert float(rest / (y_ND - y_ND.mean(dim=0)).square().sum()) < 0.8


def test_other_kinds_of_dictionary_are_trained_too(store):
    cfg = replace(CFG, method=BatchTopK(), widths=(24,), seeds=(0,), rows=100 * 32)
    trainer = begin(store, FIRST, cfg=cfg)
    values, warnings = trainer.watch(run(trainer, 100), 99)
    assert float(values["l0/blocks.0/w24_l0_2_s0"]) == pytest.approx(2, rel=0.3)
    assert not warnings


def test_a_saturated_price_is_told_with_the_name_of_the_dictionary(store):
    cfg = replace(
        CFG, method=JumpReLU(penalty="linear"), widths=(24,), seeds=(0,), target_l0=(1.0,)
    )
    trainer = begin(store, FIRST, cfg=cfg)
    terms = run(trainer, 1)
    trainer.stacks[0].trainer.log_price += 20
    # A target below what the thresholds leave, at a price that no benefit equals.
    step = trainer.stacks[0].trainer.schedule.price_warmup_steps
    trainer.stacks[0].trainer.dictionary.unit.raw.data.fill_(0.3)
    _, warnings = trainer.watch(terms, step)
    assert len(warnings) == 1
    assert "blocks.0/w24_l0_1_s0" in warnings[0]
    assert "saturated price" in warnings[0]
    assert not trainer.watch(terms, step)[1]  # told once


def test_pairs_of_sites_are_found_also_by_wildcards():
    specimen = reader()
    assert find_places(specimen, ("blocks.0->blocks.1",)) == (ACROSS,)
    pairs = find_places(specimen, ("blocks.*:in -> blocks.*",))
    assert [str(pair) for pair in pairs] == ["blocks.0:in->blocks.0", "blocks.1:in->blocks.1"]
    assert find_places(specimen, ()) == tuple(Place(site=site) for site in specimen.sites)
    with pytest.raises(TenfoldError, match=r"pairs 2 sites with 1"):
        find_places(specimen, ("blocks.*->embed",))
    with pytest.raises(TenfoldError, match=r"has 2 arrows"):
        find_places(specimen, ("embed->embed->embed",))
    with pytest.raises(TenfoldError, match=r"'block\.1'; did you mean blocks\.1"):
        find_places(specimen, ("embed->block.1",))
