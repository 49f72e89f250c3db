import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from conftest import write_text
from rooms.scope.evaluated import speaker
from tenfold.engine.claim import from_json, summary
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.run import Options, Run, RunStopped
from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.sae import subject_config
from tenfold.parts.sae.subject import load_or_train
from tenfold.parts.text.corpus import load_corpus
from tenfold.parts.text.packing import KINDS
from tenfold.rooms.scope import claim as module
from tenfold.rooms.scope import config, tuning
from tenfold.rooms.scope.claim import (
    EASIER,
    FOREIGN,
    MORE,
    TRANSFERS,
    WIDER,
    cost_against,
    cost_of_foreign,
    ease_of_first,
    estimate,
    gain_of_width,
    make_comparisons,
    percent_more,
    run_claim,
    transfer_gaps,
)
from tenfold.rooms.scope.claim_config import ATTENTION, MLP, RESIDUAL, Claim, Plan, make_plan
from tenfold.rooms.scope.subjects import specimen_of_subject
from tenfold.rooms.scope.suite import open_suite
from tenfold.rooms.scope.tuning import only_kind, tune

torch.set_num_threads(1)

SITES = (RESIDUAL, ATTENTION, MLP)


def small_plan(text="", **changes):
    return Plan(
        **{
            "subject": subject_config.tiny(text),
            "blocks": (0, 1),
            "widths": (8, 16),
            "target_l0": (1.5, 3.0),
            "matched_l0": (2.0,),
            "seeds": (0, 1),
            "rows": 10 * 64,
            "batch": 64,
            "tokens": 8_192,
            "evaluation_tokens": 512,
            "kind_site": "blocks.1",
            "tuning_steps": 3,
            "threads": 1,
            **changes,
        }
    )


PLAN = small_plan(matched_l0=(2.0, 3.0))


# Evaluations by hand: a measure is factor / L0, which straight lines on log-log axes read exactly.


def entry(site, *, width=8, seed=0, l0=1.0, fvu=1.0, loss=1.0):
    places = range(40)
    return {
        "site": site,
        "site_out": "",
        "kind": "jumprelu",
        "width": width,
        "target_l0": l0,
        "seed": seed,
        "l0": l0,
        "fvu": fvu / l0,
        "delta_loss": loss / l0,
        "dead": 0,
        "by_position": {"place": list(places), "delta_loss": [loss] * len(places)},
    }


def evaluation(sites, *, widths=(8, 16), factor=lambda _site, _width, _seed: (1.0, 1.0)):
    """Dictionaries of L0 1 and 4 at each place; `factor` says FVU and delta loss at L0 1."""
    entries = {}
    for site in sites:
        for width in widths:
            for seed in PLAN.seeds:
                fvu, loss = factor(site, width, seed)
                for l0 in (1.0, 4.0):
                    name = f"{site}/w{width}_l0_{l0:g}_s{seed}"
                    entries[name] = entry(site, width=width, seed=seed, l0=l0, fvu=fvu, loss=loss)
    return {"entries": entries}


def by_kind_of_site(costs):
    """Let the loss depend on the kind of site: residual, attention, MLP."""

    def factor(site, _width, _seed):
        (kind,) = (kind for kind in SITES if site in {kind.format(block) for block in (0, 1)})
        return 1.0, costs[kind]

    return factor


def constant(fvu, loss):
    return lambda _site, _width, _seed: (fvu, loss)


def one_site(factor, *, widths=(8,)):
    return evaluation(("blocks.1",), widths=widths, factor=factor)


def test_percent_more_is_a_geometric_mean():
    assert percent_more([(3.0, 2.0)]) == pytest.approx(50)
    assert percent_more([(4.0, 1.0), (1.0, 1.0)]) == pytest.approx(100)
    assert percent_more([(1.0, 4.0), (4.0, 1.0)]) == pytest.approx(0)


@pytest.mark.parametrize("bad", [(None, 1.0), (1.0, None), (0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_percent_more_of_what_has_no_logarithm_is_nothing(bad):
    assert percent_more([(1.0, 2.0), bad]) is None
    assert percent_more([]) is None


def test_residual_dictionaries_cost_more_by_the_factor_they_were_given():
    costs = {RESIDUAL: 3.0, ATTENTION: 2.0, MLP: 1.5}
    found = {"base": evaluation(PLAN.sites, factor=by_kind_of_site(costs))}
    assert cost_against(found, PLAN, ATTENTION, seed=0) == pytest.approx(50)
    assert cost_against(found, PLAN, MLP, seed=1) == pytest.approx(100)


def test_the_cost_is_read_at_the_narrow_width_and_of_its_own_seed():
    def factor(site, width, seed):
        loss = 100.0 if width == 16 else 2.0 + seed
        return 1.0, loss if site in ("blocks.0", "blocks.1") else 1.0

    found = {"base": evaluation(PLAN.sites, factor=factor)}
    assert cost_against(found, PLAN, MLP, seed=0) == pytest.approx(100)
    assert cost_against(found, PLAN, MLP, seed=1) == pytest.approx(200)


@pytest.mark.parametrize("spoiled", [{"l0": 2.5}, {"delta_loss": -0.1}, {"delta_loss": 0.0}])
def test_a_front_that_does_not_reach_or_has_no_logarithm_gives_no_cost(spoiled):
    found = {"base": evaluation(PLAN.sites)}
    found["base"]["entries"]["blocks.1/w8_l0_4_s0"] |= spoiled
    assert cost_against(found, PLAN, MLP, seed=0) is None
    assert cost_against(found, PLAN, MLP, seed=1) == pytest.approx(0)


def test_an_evaluation_without_a_site_gives_no_cost():
    found = {"base": evaluation([site for site in PLAN.sites if "attn" not in site])}
    assert cost_against(found, PLAN, ATTENTION, seed=0) is None


def positions(found, *, seed, rises):
    """Let the rise at a position be `rises(place)` in all residual dictionaries of a seed."""
    for one in found["base"]["entries"].values():
        if one["seed"] == seed:
            places = one["by_position"]["place"]
            one["by_position"]["delta_loss"] = [rises(place) for place in places]
    return found


def test_first_positions_are_easier_by_the_share_they_were_given():
    found = positions(
        {"base": evaluation(PLAN.sites)}, seed=0, rises=lambda place: 0.25 if place < 4 else 1.0
    )
    assert ease_of_first(found, PLAN, seed=0) == pytest.approx(75)
    assert ease_of_first(found, PLAN, seed=1) == pytest.approx(0)


def test_only_first_and_settled_positions_of_residual_dictionaries_count():
    def rises(place):
        return 0.5 if place < 4 else 1.0 if place >= 32 else 1e9

    found = positions({"base": evaluation(PLAN.sites)}, seed=0, rises=rises)
    for one in found["base"]["entries"].values():
        if one["site"] not in ("blocks.0", "blocks.1"):
            one["by_position"]["delta_loss"] = [1e9] * 40
    assert ease_of_first(found, PLAN, seed=0) == pytest.approx(50)


def test_positions_without_a_prediction_are_left_out():
    found = positions(
        {"base": evaluation(PLAN.sites)},
        seed=0,
        rises=lambda place: {0: None, 39: None}.get(place, 0.5 if place < 4 else 1.0),
    )
    assert ease_of_first(found, PLAN, seed=0) == pytest.approx(50)


@pytest.mark.parametrize(
    "rises",
    [
        lambda place: None if place >= 32 else 1.0,
        lambda place: None if place < 4 else 1.0,
        lambda place: 0.0 if place >= 32 else 1.0,
        lambda place: -1.0 if place >= 32 else 1.0,
    ],
)
def test_positions_that_allow_no_share_give_no_ease(rises):
    found = positions({"base": evaluation(PLAN.sites)}, seed=0, rises=rises)
    assert ease_of_first(found, PLAN, seed=0) is None


def test_the_wider_are_better_by_the_share_they_were_given_at_all_sites_together():
    def factor(site, width, _seed):
        gain = 0.5 if site == "blocks.0" else 1.0
        return gain if width == 16 else 1.0, 1.0

    found = {"base": evaluation(PLAN.sites, factor=factor)}
    expected = 100 * (1 - 0.5 ** (1 / len(PLAN.sites)))
    assert gain_of_width(found, PLAN, seed=0) == pytest.approx(expected)
    found["base"]["entries"]["blocks.0/w16_l0_4_s1"]["l0"] = 1.5
    assert gain_of_width(found, PLAN, seed=1) is None


def test_foreign_text_costs_more_by_the_mean_of_both_directions():
    found = {
        "code": one_site(constant(1.0, 1.0)),
        "prose": one_site(constant(1.0, 2.0)),
        "prose on code": one_site(constant(1.0, 4.0)),
        "code on prose": one_site(constant(1.0, 2.0)),
    }
    # 4 / 1 on code, 2 / 2 on prose.
    assert cost_of_foreign(found, PLAN, seed=0) == pytest.approx(100)
    found["code"]["entries"]["blocks.1/w8_l0_1_s0"]["delta_loss"] = -1.0
    assert cost_of_foreign(found, PLAN, seed=0) is None


def test_gaps_of_transfer_compare_the_narrow_ones_on_the_same_model():
    def factor(_site, width, _seed):
        return (3.0, 1.5) if width == 8 else (100.0, 100.0)

    found = {
        "base on tuned": one_site(factor, widths=(8, 16)),
        "tuned": one_site(constant(2.0, 1.0)),
    }
    assert transfer_gaps(found, PLAN, seed=0) == pytest.approx((50, 50))
    found["tuned"]["entries"]["blocks.1/w8_l0_1_s1"]["fvu"] = 0.0
    fvu, loss = transfer_gaps(found, PLAN, seed=1)
    assert fvu is None
    assert loss == pytest.approx(50)


def everything(*, missing=()):
    """All evaluations of a claim in which every finding holds by far."""
    noise = 0.001

    def base(site, width, seed):
        fvu = (1 + noise * seed) * (0.5 if width == 16 else 1.0)
        return fvu, (1 + noise * seed) * (3.0 if site in ("blocks.0", "blocks.1") else 1.0)

    found = {
        "base": evaluation(PLAN.sites, factor=base),
        "base on tuned": one_site(lambda *w: (2.0 + noise * w[2], 1.0), widths=(8, 16)),
        "tuned": one_site(constant(1.0, 1.0)),
        "code": one_site(constant(1.0, 1.0)),
        "prose": one_site(constant(1.0, 1.0)),
        "prose on code": one_site(lambda *w: (1.0, 2.0 + noise * w[2])),
        "code on prose": one_site(constant(1.0, 2.0)),
    }
    for seed in PLAN.seeds:
        found = positions(found, seed=seed, rises=lambda place: 0.25 if place < 4 else 1.0)
    for name in missing:
        found[name]["entries"] = {
            key: one for key, one in found[name]["entries"].items() if one["l0"] < 2
        }
    return found


def test_rules_are_those_fixed_before_any_run():
    rules = [(rule.kind, rule.margin) for rule in (MORE, EASIER, WIDER, FOREIGN, TRANSFERS)]
    assert rules == [("at_least", margin) for margin in (10, 20, 2, 5, 1)]


def test_all_findings_hold_if_every_effect_is_beyond_its_margin():
    found = make_comparisons(everything(), PLAN)
    effects = [one.effects[0] for one in found]
    assert effects == pytest.approx([200, 200, 75, 50, 100, 100])
    assert [one.verdict for one in found] == ["holds"] * 6
    assert all(one.primary for one in found)


def test_what_could_not_be_read_leaves_its_finding_undecided_only():
    found = make_comparisons(everything(missing=("tuned",)), PLAN)
    assert [one.verdict for one in found] == ["holds"] * 5 + ["undecided"]
    assert found[-1].effects == (None, None)


@pytest.mark.parametrize("scale", ["quick", "laptop", "full", "gpu"])
def test_plans_compare_inside_the_targets_at_sites_that_the_model_has(scale):
    plan = make_plan(Claim(scale=scale))
    low, high = min(plan.target_l0), max(plan.target_l0)
    assert all(low < l0 < high for l0 in plan.matched_l0)
    assert plan.widths[0] < plan.widths[1]
    assert max(plan.blocks) < plan.subject.decoder.depth
    assert plan.kind_site in {RESIDUAL.format(block) for block in plan.blocks}
    assert plan.subject.decoder.context > module.SETTLED_PLACE
    work = estimate(Claim(scale=scale))
    assert work["dictionaries"] == sum(
        len(arm.target_l0) * len(arm.seeds) * len(arm.widths) * len(arm.sites)
        for arm in (
            plan.suite(sites=plan.sites, both_widths=True),
            *[plan.suite(sites=(plan.kind_site,))] * 3,
        )
    )
    assert work["steps_each"] * plan.batch >= plan.rows


# One kind of text, and the tuned model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("text")
    write_text(root)
    return root


@pytest.fixture(scope="module")
def subject(folder):
    return load_or_train(subject_config.tiny(str(folder)), options=Options(quiet=True))


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_masks_the_other_and_changes_nothing_else(subject, kind):
    whole = specimen_of_subject(subject, config.Subject(source="tiny"))
    one = only_kind(whole, kind)
    kept = 0
    for split in ("train", "held_out"):
        pairs = zip(one.batches(split, 2), whole.batches(split, 2), range(3), strict=False)
        for ours, theirs, _ in pairs:
            assert torch.equal(ours.inputs[0], theirs.inputs[0])
            chosen = theirs.labels["kind"] == KINDS.index(kind)
            assert torch.equal(ours.mask, theirs.mask & chosen)
            kept += int(ours.mask.sum())
    assert kept
    assert one.identity != whole.identity
    assert kind in one.name


def test_kinds_share_no_position_and_leave_none_out(subject):
    whole = specimen_of_subject(subject, config.Subject(source="tiny"))
    parts = [next(only_kind(whole, kind).batches("train")).mask for kind in KINDS]
    assert not (parts[0] & parts[1]).any()
    assert torch.equal(parts[0] | parts[1], next(whole.batches("train")).mask)


def test_batches_without_a_mask_are_restricted_too():
    def batches(split, start=0):
        for batch in speaker().batches(split, start):
            kinds = batch.labels["kind"][:, None].expand_as(batch.labels["token"])
            labels = batch.labels | {"kind": kinds}
            yield dataclasses.replace(batch, mask=None, labels=labels)

    batch = next(only_kind(speaker(batches=batches), "prose").batches("train"))
    assert torch.equal(batch.mask, batch.labels["kind"] == 1)


def test_an_unknown_kind_is_refused_with_the_known_ones(subject):
    whole = specimen_of_subject(subject, config.Subject(source="tiny"))
    with pytest.raises(TenfoldError, match=r"no text of kind 'verse': \['code', 'prose'\]"):
        only_kind(whole, "verse")


def weights_of(specimen):
    return {name: value.clone() for name, value in specimen.module.state_dict().items()}


def mean_loss(specimen, batches):
    found = [specimen.loss(batch)[batch.mask] for batch in batches]
    return float(torch.cat(found).nanmean())


def test_tuning_lowers_the_loss_and_leaves_the_base_model_as_it_was(subject, tmp_path):
    before = weights_of(subject)
    tuned = tune(subject, text="", steps=20, folder=tmp_path)
    for name, value in subject.module.state_dict().items():
        assert torch.equal(value, before[name])
    base = only_kind(specimen_of_subject(subject, config.Subject(source="tiny")), "prose")
    batches = [batch for batch, _ in zip(base.batches("held_out"), range(4), strict=False)]
    assert mean_loss(tuned, batches) < mean_loss(base, batches)
    assert not tuned.module.training
    assert not any(parameter.requires_grad for parameter in tuned.module.parameters())
    assert tuned.identity != base.identity


def test_tuning_is_deterministic_and_saved_weights_are_read_back(subject, tmp_path):
    first = tune(subject, text="", steps=3, folder=tmp_path / "a")
    again = tune(subject, text="", steps=3, folder=tmp_path / "b")

    def never():
        raise AssertionError("it is tuned already")

    read = tune(subject, text="", steps=3, folder=tmp_path / "a", check_stop=never)
    for other in (again, read):
        assert other.identity == first.identity
        for name, value in other.module.state_dict().items():
            assert torch.equal(value, weights_of(first)[name])


def test_a_stop_while_tuning_saves_no_weights(subject, tmp_path):
    calls = []

    def stop():
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(subject, text="", steps=5, folder=tmp_path, check_stop=stop)
    assert not list(tmp_path.iterdir())


def test_tuning_on_other_text_reads_all_of_that_text(subject, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in range(30):
        words = " ".join(f"word{(file * 31 + i * i) % 97}" for i in range(2_000))
        (other / f"{file}.txt").write_text(words)
    tuned = tune(subject, text=str(other), steps=2, folder=tmp_path / "tuned")
    assert tuned.identity["text"] == load_corpus(str(other)).digest
    batch = next(tuned.batches("train"))
    assert "word" in "".join(tuned.vocabulary[t] for t in batch.inputs[0][0].tolist())


def test_positions_without_a_loss_do_not_count_in_tuning():
    losses = torch.tensor([[1.0, 2.0, math.nan], [3.0, 4.0, 5.0]])
    mask = torch.tensor([[True, False, True], [False, True, True]])
    assert float(tuning._kept_mean(losses, SimpleNamespace(mask=mask))) == pytest.approx(10 / 3)
    nothing = SimpleNamespace(mask=torch.zeros(2, 3, dtype=torch.bool))
    assert tuning._kept_mean(losses, nothing) is None
    assert float(tuning._kept_mean(losses, SimpleNamespace(mask=None))) == pytest.approx(3)


# A whole claim


def check(path, folder, **changes):
    claim = Claim(text=str(folder), **changes)
    if (path / "config.json").exists():
        run = Run.resume(path, claim, options=Options(quiet=True))
    else:
        options = Options(quiet=True)
        run = Run.create(claim, room="scope", verb="claim", options=options, path=path)
    return run_claim(claim, run=run)


@pytest.fixture(scope="module")
def plan_of(folder):
    """Long enough windows for settled positions, as small as can be in all else."""
    decoder = DecoderConfig(context=40, width=16, depth=2, heads=2, kv_heads=1, head_width=8)
    subject = dataclasses.replace(subject_config.tiny(str(folder)), decoder=decoder)
    return lambda _claim: small_plan(subject=subject)


@pytest.fixture(scope="module")
def done(folder, plan_of, tmp_path_factory):
    """Return the directory of a claim, what it found, and the folder of results."""
    root = tmp_path_factory.mktemp("claim")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_plan", plan_of)
        result = check(root / "run", folder, results=str(root / "results"))
    return root / "run", result, root / "results"


def test_a_claim_gives_a_verdict_and_writes_what_it_found(done):
    path, result, results = done
    assert result.verdict in ("holds", "does not hold", "undecided")
    assert len(result.comparisons) == 6
    saved = from_json(read_json(path / "out" / "claim.json"))
    assert saved == from_json(read_json(results / "scope.json")["scales"]["quick"])
    assert saved.comparisons == result.comparisons
    assert saved.verdict == result.verdict
    page = (path / "report.html").read_text(encoding="utf-8")
    assert result.verdict in page
    assert "Base dictionaries on the tuned model" in page
    assert str(results) not in str(read_json(path / "out" / "claim.json"))
    told = summary(result)
    assert list(told["comparisons"]) == [one.name for one in result.comparisons]


def test_effects_were_measured_where_the_fronts_allow_it(done):
    _, result, _ = done
    ease = result.comparisons[2]
    assert ease.name.startswith("delta loss at the first 4")
    assert None not in ease.effects


def test_every_dictionary_of_the_estimate_was_made(done, plan_of, monkeypatch):
    path, result, _ = done
    monkeypatch.setattr(module, "make_plan", plan_of)
    suites = [open_suite(arm) for arm in (path / "arms").iterdir()]
    assert sum(len(suite.entries) for suite in suites) == estimate(Claim())["dictionaries"]
    table = result.tables[1]
    places = [row[0] for row in table.rows]
    assert {name: places.count(name) for name in dict.fromkeys(places)} == {
        "base": 48,
        "base on tuned": 8,
        **dict.fromkeys(("code", "code on prose", "prose", "prose on code", "tuned"), 4),
    }


def test_a_claim_again_in_its_own_directory_reuses_everything(done, folder, plan_of, monkeypatch):
    path, result, results = done

    def never(*_args, **_kwargs):
        raise AssertionError("it is done already")

    made = {
        file: file.stat().st_mtime_ns
        for place in ("arms/*/out", "arms/*/stages", "tuned", "out/evaluations")
        for root in path.glob(place)
        for file in root.rglob("*")
        if file.is_file()
    }
    assert len(made) > 50
    monkeypatch.setattr(module, "make_plan", plan_of)
    monkeypatch.setattr("tenfold.rooms.scope.run.open_work", never)
    monkeypatch.setattr("tenfold.rooms.scope.eval.prepare", never)
    monkeypatch.setattr(tuning, "_train", never)
    again = check(path, folder, results=str(results))
    assert again.comparisons == result.comparisons
    assert made == {file: file.stat().st_mtime_ns for file in made}


def test_a_claim_stopped_in_the_middle_ends_with_the_same_comparisons(
    done, folder, plan_of, tmp_path, monkeypatch
):
    calls, evaluate = [], module.evaluate

    def stopping(*args, **kwargs):
        calls.append(kwargs["out"].name)
        if len(calls) == 4:
            raise RunStopped(tmp_path / "inner", "asked to")
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(module, "make_plan", plan_of)
    monkeypatch.setattr(module, "evaluate", stopping)
    with pytest.raises(RunStopped) as stop:
        check(tmp_path / "run", folder)
    assert stop.value.path == tmp_path / "run"
    assert check(tmp_path / "run", folder).comparisons == done[1].comparisons
    assert calls[3] == calls[7] == "code_on_prose"


def test_text_of_one_kind_is_refused_before_anything_is_trained(tmp_path, plan_of, monkeypatch):
    for number in range(30):
        words = " ".join(f"word{(number * 31 + i * i) % 97}" for i in range(2_000))
        (tmp_path / f"{number}.txt").write_text(words)
    plan = dataclasses.replace(plan_of(None), subject=subject_config.tiny(str(tmp_path)))
    monkeypatch.setattr(module, "make_plan", lambda _claim: plan)
    with pytest.raises(TenfoldError, match=r"has no code in the split .\w+.; .* such as \.py"):
        check(tmp_path / "run", tmp_path)
    assert not (tmp_path / "run" / "arms").exists()
