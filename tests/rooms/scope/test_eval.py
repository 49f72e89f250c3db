import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rooms.scope.evaluated import (
    ITEMS,
    D,
    Speaker,
    T,
    all_tokens,
    constant,
    drawn,
    identity,
    speaker,
    write_suite,
)
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.parts.sae.harvest import stream
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.splice import bridge, splice
from tenfold.rooms.jumprelu.eval import measure
from tenfold.rooms.jumprelu.model import TopK
from tenfold.rooms.scope import eval as evaluation
from tenfold.rooms.scope.eval import evaluate
from tenfold.rooms.scope.evaluation import passes

SITES = ("blocks.0", "blocks.1.inner", "blocks.2.inner:in", "head:in")
ALL = {"tokens": 10**9, "part_tokens": 10**9, "quiet": True}


def whole_batch():
    return next(speaker(batch_size=ITEMS).batches("held_out"))


def rows_of(site, specimen=None):
    specimen = specimen or speaker()
    found = [rows[site] for rows in stream(specimen.module, site, specimen.batches("held_out"))]
    return torch.cat(found)


def losses(specimen, batch):
    """All losses that count: finite ones at kept positions."""
    found = specimen.loss(batch)
    return found[found.isfinite() & batch.mask]


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Every kind of known dictionary, at sites inside, between and after blocks."""
    written = {
        (name, site): made
        for site in SITES
        for name, made in (
            ("same", identity()),
            ("zero", constant(torch.zeros(D))),
            ("drawn", drawn(D)),
        )
    }
    return write_suite(tmp_path_factory.mktemp("suite"), written)


@pytest.fixture(scope="module")
def found(suite):
    return evaluate(suite, speaker(), **ALL)


def test_rebuilding_everything_costs_nothing(found):
    for site in ("blocks.0", "blocks.1.inner"):
        entry = found["entries"][f"{site}/same"]
        assert entry["fvu"] == pytest.approx(0, abs=1e-12)
        assert entry["delta_loss"] == pytest.approx(0, abs=1e-7)
        assert entry["reconstruction_bias"] == pytest.approx(1, abs=1e-6)
        assert entry["loss_recovered_zero"] == pytest.approx(1, abs=1e-6)
        assert entry["loss_recovered_mean"] == pytest.approx(1, abs=1e-5)
        assert entry["l0"] == D  # one of each pair of signs


def test_the_zero_dictionary_is_zero_ablation(found):
    for site in SITES:
        (entry,) = (
            e for name, e in found["entries"].items() if e["site"] == site and name.endswith("zero")
        )
        assert entry["loss_recovered_zero"] == pytest.approx(0, abs=1e-9)
        zero = found["baselines"][site]["zero"]
        assert entry["delta_loss"] == pytest.approx(zero["delta_loss"], rel=1e-9)
        assert entry["fvu"] == pytest.approx(zero["fvu"], rel=1e-6)
        assert entry["l0"] == 0
        assert entry["dead"] == 4
        assert entry["reconstruction_bias"] is None or math.isnan(entry["reconstruction_bias"])


def test_a_dictionary_of_the_mean_is_the_mean_baseline(tmp_path):
    specimen = speaker()
    train = [
        rows["blocks.0"] for rows in stream(specimen.module, "blocks.0", specimen.batches("train"))
    ]
    suite = write_suite(tmp_path, {("mean", "blocks.0"): constant(torch.cat(train).mean(dim=0))})
    result = evaluate(suite, specimen, **ALL)
    entry, mean = result["entries"]["blocks.0/mean"], result["baselines"]["blocks.0"]["mean"]
    assert entry["delta_loss"] == pytest.approx(mean["delta_loss"], rel=1e-5)
    assert entry["fvu"] == pytest.approx(mean["fvu"], rel=1e-5)
    assert entry["loss_recovered_mean"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("site", SITES)
def test_rows_are_measured_as_one_dictionary_alone_is(found, suite, site):
    (entry,) = (e for e in suite.entries if e.site == site and e.name.endswith("drawn"))
    alone = measure(suite.load(entry), [rows_of(site)])
    got = found["entries"][entry.name]
    assert got["rows"] == alone.rows
    for name in ("l0", "fvu", "reconstruction_bias"):
        assert got[name] == pytest.approx(getattr(alone, name), rel=1e-5)
    assert got["frequency_counts"] == alone.histogram()["frequency_counts"]
    assert got["dead"] == alone.dead
    assert got["above_10_percent"] == alone.above(0.1)


@pytest.mark.parametrize("site", SITES)
@torch.no_grad()
def test_the_loss_rises_as_in_one_plain_splice_of_the_whole_model(found, suite, site):
    specimen, batch = speaker(), whole_batch()
    (entry,) = (e for e in suite.entries if e.site == site and e.name.endswith("drawn"))
    clean = losses(specimen, batch)
    with splice(specimen.module, {site: suite.load(entry)}, mask=batch.mask):
        spliced = losses(specimen, batch)
    assert found["clean_loss"] == pytest.approx(float(clean.mean()), rel=1e-6)
    assert found["predicted"] == len(clean)
    rise = found["entries"][entry.name]["delta_loss"]
    assert rise == pytest.approx(float((spliced - clean).mean()), rel=1e-5)


@torch.no_grad()
def test_a_transcoder_is_measured_as_a_bridge_of_its_two_sites(tmp_path):
    made = drawn(D, transcoder=True)
    pair = ("blocks.1.inner:in", "blocks.1.inner")
    suite = write_suite(tmp_path, {("over", *pair): made})
    specimen, batch = speaker(), whole_batch()
    entry = evaluate(suite, specimen, **ALL)["entries"]["blocks.1.inner+in/over"]
    clean = losses(specimen, batch)
    with bridge(specimen.module, {pair: made}, mask=batch.mask):
        spliced = losses(specimen, batch)
    assert entry["delta_loss"] == pytest.approx(float((spliced - clean).mean()), rel=1e-5)
    alone = measure(made, [(rows_of(pair[0]), rows_of(pair[1]))])
    assert entry["fvu"] == pytest.approx(alone.fvu, rel=1e-5)
    assert entry["l0"] == pytest.approx(alone.l0)


def test_curves_by_position_average_back_to_the_whole(found):
    for name, entry in found["entries"].items():
        curve, rows = entry["by_position"], found["sites"][entry["site"]]["place_rows"]
        assert curve["place"] == list(range(T))
        error = sum(e * n for e, n in zip(curve["error"], rows, strict=True)) / sum(rows)
        assert error == pytest.approx(entry["fvu"], rel=1e-6, abs=1e-12), name
        pairs = list(zip(curve["delta_loss"], found["place_predicted"], strict=True))
        assert pairs[-1] == (None, 0)  # nothing is predicted at the last position
        rise = sum(d * n for d, n in pairs if n) / sum(n for _, n in pairs)
        assert rise == pytest.approx(entry["delta_loss"], rel=1e-6, abs=1e-9), name


def test_kinds_average_back_to_the_whole_and_bear_their_names(found):
    counts = {kind: facts["predicted"] for kind, facts in found["kinds"].items()}
    assert list(counts) == ["code", "prose", "kind 2"]
    assert sum(counts.values()) == found["predicted"]
    clean = sum(facts["clean_loss"] * counts[kind] for kind, facts in found["kinds"].items())
    assert clean / found["predicted"] == pytest.approx(found["clean_loss"])
    for entry in found["entries"].values():
        rise = sum(entry["by_kind"][kind] * count for kind, count in counts.items())
        assert rise / found["predicted"] == pytest.approx(entry["delta_loss"], abs=1e-9)


def test_intervals_hold_what_they_are_about(found):
    for entry in found["entries"].values():
        for name in ("fvu", "delta_loss"):
            low, high = entry[f"{name}_interval"]
            assert low - 1e-9 <= entry[name] <= high + 1e-9


@pytest.mark.parametrize("sizes", [(5, 1 << 28), (4, 1), (24, 1), (6, 5_000)])
def test_any_grouping_of_the_data_gives_the_same(found, suite, sizes):
    batch_size, memory = sizes
    other = evaluate(suite, speaker(batch_size=batch_size), memory=memory, **ALL)
    assert other["tokens"] == found["tokens"]
    for name, entry in found["entries"].items():
        for key in ("l0", "fvu", "delta_loss", "uniformity", "delta_loss_bfloat16", "fvu_interval"):
            if key in entry:
                assert other["entries"][name][key] == pytest.approx(
                    entry[key], rel=1e-4, abs=1e-6
                ), (name, key)


def test_the_part_is_whole_batches_and_compares_equal_positions(suite):
    batches = list(speaker(batch_size=6).batches("held_out"))
    kept = [int(batch.mask.sum()) for batch in batches]
    result = evaluate(suite, speaker(), tokens=sum(kept), part_tokens=2 * kept[0], quiet=True)
    expected = sum(len(losses(speaker(), batch)) for batch in batches[:2])
    assert result["part"]["predicted"] == expected
    zero = result["entries"]["blocks.0/zero"]
    assert zero["loss_recovered_zero"] == pytest.approx(0, abs=1e-9)
    assert zero["delta_loss_part"] != pytest.approx(zero["delta_loss"], rel=1e-3)


def test_only_as_many_batches_are_read_as_were_asked_for(suite):
    result = evaluate(suite, speaker(), tokens=1, quiet=True)
    assert result["items"] == 6
    assert result["tokens"] == int((all_tokens("held_out")[:6] != 0).sum())


def test_uniformity_of_a_linear_model_is_that_of_a_direct_computation(tmp_path):
    specimen = speaker(module=Speaker(depth=1, linear=True), batch_size=1)
    made = drawn(D, threshold=0.1)
    suite = write_suite(tmp_path, {("drawn", "blocks.0"): made})
    found = evaluate(suite, specimen, **ALL)["entries"]["blocks.0/drawn"]
    weight = specimen.module.head.weight  # [V, D]: scores are linear in the site
    ratios = []
    for batch in specimen.batches("held_out"):
        tokens = batch.inputs[0][0]
        x_TD = specimen.module.blocks[0](specimen.module.embed(tokens[None]))[0]
        possible = [t for t in range(T - 1) if tokens[t] != 0 and tokens[t + 1] != 0]
        rows = {}
        for t in possible:
            gradient = weight[tokens[t + 1]] - weight.mean(dim=0)
            y = made.encode(x_TD[t]) * (made.w_dec @ gradient)
            share = (y.abs() / y.abs().sum())[y != 0].detach()
            if len(share):
                entropy = -(share * share.log()).sum()
                rows[t] = float(entropy.exp() / len(share))
        ratios.append(rows)
    # Four of the positions of each window are drawn: all where there are no more.
    few = [rows for rows in ratios if len(rows) <= 4]
    assert len(few) < ITEMS
    assert found["uniformity_rows"] == sum(min(4, len(rows)) for rows in ratios)
    low = sum(sum(sorted(rows.values())[:4]) for rows in ratios)
    high = sum(sum(sorted(rows.values())[-4:]) for rows in ratios)
    total = found["uniformity"] * found["uniformity_rows"]
    assert low - 1e-6 <= total <= high + 1e-6


def test_uniformity_over_all_positions_is_exact(tmp_path, monkeypatch):
    monkeypatch.setattr("tenfold.rooms.scope.evaluation.importance.POSITIONS", T)
    specimen = speaker(module=Speaker(depth=1, linear=True))
    made = drawn(D, threshold=0.1)
    suite = write_suite(tmp_path, {("drawn", "blocks.0"): made})
    found = evaluate(suite, specimen, **ALL)["entries"]["blocks.0/drawn"]
    weight, ratios = specimen.module.head.weight, []
    tokens_IT = all_tokens("held_out")
    x_ITD = specimen.module.blocks[0](specimen.module.embed(tokens_IT))
    for i in range(ITEMS):
        for t in range(T - 1):
            if tokens_IT[i, t] and tokens_IT[i, t + 1]:
                gradient = weight[tokens_IT[i, t + 1]] - weight.mean(dim=0)
                y = (made.encode(x_ITD[i, t]) * (made.w_dec @ gradient)).detach().abs()
                p = y[y > 0] / y.sum()
                if len(p):
                    ratios.append(float((-(p * p.log()).sum()).exp() / len(p)))
    assert found["uniformity_rows"] == len(ratios)
    assert found["uniformity"] == pytest.approx(sum(ratios) / len(ratios), rel=1e-5)


def test_one_latent_alone_and_equal_latents_are_the_ends_of_uniformity():
    from tenfold.rooms.scope.evaluation.importance import Attributed, uniformity

    rows = Attributed(x=torch.tensor([[1.0, 1.0], [2.0, 0.0]]), gradient=torch.ones(2, 2))
    found = uniformity(identity(2), rows)
    assert found.tolist() == pytest.approx([1.0, 1.0])  # two alike; one alone of one
    lopsided = Attributed(x=torch.tensor([[1.0, 1e-9]]), gradient=torch.ones(1, 2))
    assert uniformity(identity(2), lopsided).item() == pytest.approx(0.5, abs=1e-6)


def test_bfloat16_moves_the_loss_a_little(found):
    moved = [
        abs(e["delta_loss_bfloat16"] - e["delta_loss_part"]) / abs(e["delta_loss_part"])
        for name, e in found["entries"].items()
        if name.endswith("drawn")
    ]
    assert all(0 < change < 0.05 for change in moved)


def test_modules_before_a_site_are_not_run_again():
    shortcuts = passes.find_shortcuts(speaker(), SITES, whole_batch())
    assert shortcuts["blocks.0"] == ("blocks.0",)
    assert shortcuts["blocks.1.inner"] == ("blocks.0", "blocks.1.inner")
    assert shortcuts["blocks.2.inner:in"] == ("blocks.0", "blocks.1")
    assert shortcuts["head:in"] == ("blocks.0", "blocks.1", "blocks.2")


def test_skipped_modules_are_as_they_were_afterwards():
    specimen, batch = speaker(), whole_batch()
    before = {name: dict(m.__dict__) for name, m in specimen.module.named_modules()}
    passes.find_shortcuts(specimen, SITES, batch)
    for name, module in specimen.module.named_modules():
        assert set(module.__dict__) == set(before[name])
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


class TwoWays(nn.Module):
    """Runs its first layer twice, and hides what its second one remembers."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        self.requires_grad_(False)

    def forward(self, x):
        self.kept = None
        hidden = self.first(self.first(x))
        return self.third(self.second(hidden)).square().mean(dim=1)


def test_a_module_that_runs_twice_is_not_skipped():
    module = TwoWays()
    specimen = Specimen(
        module=module,
        batches=lambda *_: iter(()),
        identity={},
        loss=lambda batch: module(batch.inputs[0]),
    )
    batch = Batch(inputs=(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),))
    found = passes.find_shortcuts(specimen, ("second", "third:in"), batch)
    assert found == {"second": ("second",), "third:in": ("second",)}


class Rememberer(nn.Module):
    """Its layers pass a value beside the activations, which skipping one would lose."""

    def __init__(self):
        super().__init__()
        self.early, self.late = _Writing(self), nn.Linear(4, 4)
        self.note = None
        self.requires_grad_(False)

    def forward(self, x):
        self.note = 0.0
        hidden = self.early(x)
        return (self.late(hidden) + self.note).square().mean(dim=1)


class _Writing(nn.Module):
    def __init__(self, owner):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.owner = [owner]  # in a list, so that it is no submodule

    def forward(self, x):
        self.owner[0].note = x.sum()
        return self.layer(x)


def test_where_skipping_changes_the_loss_the_whole_model_runs():
    module = Rememberer()
    specimen = Specimen(
        module=module,
        batches=lambda *_: iter(()),
        identity={},
        loss=lambda batch: module(batch.inputs[0]),
    )
    batch = Batch(inputs=(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),))
    assert passes.find_shortcuts(specimen, ("late",), batch) == {"late": ()}


def test_a_model_that_is_not_repeatable_is_refused():
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    batch = Batch(inputs=(torch.ones(6, 4),))
    specimen = Specimen(
        module=module,
        batches=lambda *_: iter((batch,)),
        identity={},
        name="wild",
        loss=lambda batch: module(batch.inputs[0]).square().sum(dim=1).detach(),
    )
    with pytest.raises(TenfoldError, match=r"loss of 'wild' differs by .* evaluation mode"):
        passes.find_shortcuts(specimen, ("0",), batch)


class InPlace(nn.Module):
    """What comes after a layer works in place on what it gave."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 3, 2), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 2), nn.ReLU(inplace=True)
        )
        self.requires_grad_(False)

    def forward(self, x):
        return self.net(x).flatten(1)


def pictures(**changes):
    module = InPlace().eval()
    x = torch.randn(2, 10, 1, 5, 5, generator=torch.Generator().manual_seed(1))

    def read(split, start=0):
        part = x[0 if split == "train" else 1]
        yield from [Batch(inputs=(some,)) for some in part.split(4)][start:]

    specimen = Specimen(
        module=module,
        batches=read,
        identity={},
        name="pictures",
        shows="picture",
        batch_size=4,
        loss=lambda batch: module(batch.inputs[0]).square().sum(dim=1),
    )
    return replace(specimen, **changes)


@torch.no_grad()
def test_pictures_have_a_delta_loss_and_say_what_is_left_out(tmp_path):
    made = drawn(3, latents=8)
    suite = write_suite(tmp_path, {("drawn", "net.0@1"): made, ("same", "net.2@1"): identity(2)})
    specimen = pictures()
    result = evaluate(suite, specimen, **ALL)
    assert result["items"] == 10
    assert result["sites"]["net.0@1"]["rows"] == 10 * 16
    (first, *_) = batches = list(specimen.batches("held_out"))
    clean = torch.cat([specimen.loss(batch) for batch in batches])
    with splice(specimen.module, {"net.0@1": made}):
        spliced = torch.cat([specimen.loss(batch) for batch in batches])
    entries = result["entries"]
    (rise,) = (e["delta_loss"] for name, e in entries.items() if name.endswith("drawn"))
    assert rise == pytest.approx(float((spliced - clean).mean()), rel=1e-5)
    (same,) = (e for name, e in entries.items() if name.endswith("same"))
    assert same["delta_loss"] == pytest.approx(0, abs=1e-6)
    assert "by_position" not in same
    assert "uniformity" not in same
    reasons = " ".join(result["left_out"])
    for words in ("uniformity: ", "by position: ", "by kind: ", "raters", "transfer"):
        assert words in reasons
    assert len(first.inputs[0]) == 4


def test_without_a_loss_rows_are_measured_and_the_rest_is_named(suite, found):
    result = evaluate(suite, speaker(loss=None), **ALL)
    entry = result["entries"]["blocks.0/drawn"]
    assert entry["fvu"] == found["entries"]["blocks.0/drawn"]["fvu"]
    assert not {"delta_loss", "uniformity", "by_kind", "loss_recovered_zero"} & set(entry)
    assert "clean_loss" not in result
    assert "error" in entry["by_position"]
    assert any(reason.startswith("loss: ") for reason in result["left_out"])


def test_metrics_can_be_left_out_and_unknown_ones_are_refused(suite):
    result = evaluate(suite, speaker(), metrics=("loss",), **ALL)
    assert result["baselines"] == {}
    assert "uniformity: not asked for" in result["left_out"]
    assert "delta_loss_bfloat16" not in result["entries"]["blocks.0/same"]
    with pytest.raises(TenfoldError, match="did you mean uniformity"):
        evaluate(suite, speaker(), metrics=("uniformty",), **ALL)


class Stop(Exception):
    pass


def test_a_stopped_evaluation_goes_on_and_ends_with_the_same_file(suite, tmp_path):
    settings = ALL | {"memory": 1}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    straight = evaluate(suite, speaker(), out=whole, **settings)
    sessions = 0
    while not (broken / "evaluation.json").exists():
        left = 7

        def stop():
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop

        sessions += 1
        try:
            evaluate(suite, speaker(), out=broken, check_stop=stop, **settings)
        except Stop:
            assert list(broken.glob("pieces/*/*"))
    assert sessions > 5
    again = read_json(broken / "evaluation.json")
    assert not (broken / "pieces").exists()
    for result in (straight, again):
        del result["seconds"]
    assert again == read_json_of(straight)
    assert (broken / "items.safetensors").read_bytes() == (whole / "items.safetensors").read_bytes()
    assert (broken / "evaluation.csv").read_text() == (whole / "evaluation.csv").read_text()


def read_json_of(result):
    """What comes back from a file: floats that are not finite are null there."""
    import json

    text = json.dumps(result).replace("NaN", "null").replace("-Infinity", "null")
    return json.loads(text.replace("Infinity", "null"))


def test_a_finished_evaluation_is_read_until_a_setting_changes(suite, tmp_path, monkeypatch):
    first = evaluate(suite, speaker(), out=tmp_path, **ALL)
    calls = []
    real = evaluation.prepare
    monkeypatch.setattr(evaluation, "prepare", lambda *a, **k: calls.append(1) or real(*a, **k))
    assert (
        evaluate(suite, speaker(), out=tmp_path, **ALL)["entries"].keys() == first["entries"].keys()
    )
    assert not calls
    evaluate(suite, speaker(), out=tmp_path, **ALL | {"part_tokens": 3})
    assert calls


def test_every_dictionary_has_a_line_in_the_table(suite, tmp_path):
    evaluate(suite, speaker(), out=tmp_path, **ALL)
    lines = (tmp_path / "evaluation.csv").read_text().splitlines()
    assert len(lines) == 1 + len(suite.entries)
    assert lines[0].startswith("name,site,site_out,kind,width,target_l0,seed,rows,l0,fvu,")
    assert {line.split(",")[0] for line in lines[1:]} == {entry.name for entry in suite.entries}


def test_a_suite_of_another_width_names_both_shapes(tmp_path):
    suite = write_suite(tmp_path, {("wide", "blocks.0"): drawn(D + 1)})
    with pytest.raises(TenfoldError, match=r"width 6, the dictionary is D 7 x M 16"):
        evaluate(suite, speaker(), metrics=("loss",), **ALL)


def test_bad_data_are_refused_in_words(suite, tmp_path):
    blind = Batch(inputs=(torch.ones(2, T, dtype=torch.int64),), mask=torch.zeros(2, T).bool())
    with pytest.raises(TenfoldError, match="no kept token in 1 batches"):
        evaluate(suite, speaker(batches=lambda *_: iter((blind,))), **ALL)
    empty = write_suite(tmp_path, {})
    with pytest.raises(TenfoldError, match="has no dictionaries"):
        evaluate(empty, speaker(), **ALL)
    with pytest.raises(TenfoldError, match=r"the loss has shape \(3,\) on a batch of 6 items"):
        evaluate(suite, speaker(loss=lambda _: torch.zeros(3)), **ALL)


def test_an_unknown_site_gives_the_nearest_names(tmp_path):
    suite = write_suite(tmp_path, {("drawn", "blocks.7"): drawn(D)})
    with pytest.raises(TenfoldError, match="did you mean blocks"):
        evaluate(suite, speaker(), **ALL)


def test_a_loss_that_is_never_counted_is_refused(suite):
    module = Speaker()
    never = speaker(module=module, loss=lambda batch: torch.nan * module(*batch.inputs)[:, :, 0])
    with pytest.raises(TenfoldError, match="is NaN wherever the mask keeps anything"):
        evaluate(suite, never, metrics=("loss",), **ALL)


def test_a_topk_dictionary_has_the_l0_it_was_made_for(tmp_path):
    made = drawn(D, latents=32)
    made.unit = TopK(torch.tensor(3))
    suite = write_suite(tmp_path, {("topk", "blocks.0"): made})
    assert evaluate(suite, speaker(), **ALL)["entries"]["blocks.0/topk"]["l0"] == 3


def test_output_objects_with_scores_are_understood():
    from tenfold.rooms.scope.evaluation.importance import find_scores

    scores = torch.zeros(2, 3, 4)

    class Output:
        logits = scores

    assert find_scores(Output()) is scores
    assert find_scores((scores, None)) is scores
    assert find_scores(torch.zeros(2, 3)) is None
    assert find_scores({"x": scores}) is None
    assert F.relu(scores) is not scores
