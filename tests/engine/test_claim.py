import dataclasses
import json
import math
import platform

import pytest
import torch  # noqa: F401 - here, so that no single test waits for it
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine.claim import (
    ClaimResult,
    Failure,
    Rule,
    Statement,
    claim_page,
    compare,
    decide,
    from_json,
    index_page,
    machine_name,
    read_claims,
    save_claim,
    to_json,
)
from tenfold.engine.errors import TenfoldError
from tenfold.engine.report.figures import Curve, Table, axis, fronts
from tenfold.engine.report.page import render
from tenfold.engine.stats import Interval

AT_LEAST = Rule(kind="at_least", margin=5.0, unit="%")
WITHIN = Rule(kind="within", margin=10.0, unit="%")
NUMBERS = st.floats(-100, 100)


def interval(low, high):
    return Interval(estimate=(low + high) / 2, low=low, high=high)


def result_with(*comparisons, room="toy", scale="quick", **changes):
    figure = fronts(
        "Front",
        {"ours": Curve(x=[8, 16], y=[0.2, 0.1], low=[0.1, 0.05], high=[0.3, 0.2])},
        x=axis("L0", log=True),
        y=axis("FVU"),
    )
    table = Table(
        title="Rows", columns=("name", "n", "value"), rows=(("a", 3, 0.5), ("b", 4, None))
    )
    result = ClaimResult(
        statement=Statement(
            room=room, sentence="Ours is better.", paper="Somebody 2024", figure="Figure 2: better"
        ),
        scale=scale,
        comparisons=comparisons,
        figures=(figure,),
        tables=(table,),
        notes=("Small networks only.",),
        seconds=75.0,
        seeds=(0, 1, 2),
        config={"kind": "Claim", "width": 64, "lambdas": [0.1, 1.0]},
        command="tenfold toy claim --scale quick",
        version="0.1.0",
        commit="0123456789abcdef",
        machine="2 cores",
        date="2026-01-01",
    )
    return dataclasses.replace(result, **changes)


def holding(name="better", **changes):
    return compare(name, AT_LEAST, (10.0, 10.5, 11.0), **changes)


def failing(name="worse", **changes):
    return compare(name, AT_LEAST, (1.0, 1.1, 1.2), **changes)


def open_one(name="unclear", **changes):
    return compare(name, AT_LEAST, (-20.0, 5.0, 40.0), **changes)


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (AT_LEAST, 5.0, 9.0, "holds"),
        (AT_LEAST, 1.0, 4.9, "does not hold"),
        (AT_LEAST, 4.0, 6.0, "undecided"),
        (AT_LEAST, 4.0, 5.0, "undecided"),
        (WITHIN, -10.0, 10.0, "holds"),
        (WITHIN, -9.0, 11.0, "undecided"),
        (WITHIN, 10.1, 12.0, "does not hold"),
        (WITHIN, -30.0, -10.1, "does not hold"),
        (WITHIN, -30.0, 30.0, "undecided"),
    ],
)
def test_a_verdict_is_where_the_whole_interval_lies(rule, low, high, verdict):
    assert decide(rule, interval(low, high)) == verdict


@given(a=NUMBERS, b=NUMBERS, wider=st.floats(0, 50))
def test_a_wider_interval_never_turns_one_verdict_into_the_other(a, b, wider):
    low, high = sorted((a, b))
    for rule in (AT_LEAST, WITHIN):
        before = decide(rule, interval(low, high))
        after = decide(rule, interval(low - wider, high + wider))
        assert after in (before, "undecided")


@given(a=NUMBERS, b=NUMBERS)
def test_a_rule_of_closeness_does_not_care_for_the_sign(a, b):
    low, high = sorted((a, b))
    assert decide(WITHIN, interval(low, high)) == decide(WITHIN, interval(-high, -low))


@pytest.mark.parametrize(
    ("kind", "margin"), [("within", 0.0), ("within", -1.0), ("at_least", math.inf)]
)
def test_a_margin_that_decides_nothing_is_refused(kind, margin):
    with pytest.raises(ValueError, match=f"margin {margin}"):
        Rule(kind=kind, margin=margin)


def test_effects_of_equal_seeds_give_their_mean_and_no_smallest_effect():
    found = compare("same", AT_LEAST, (7.0, 7.0, 7.0))
    assert found.interval == Interval(estimate=7.0, low=7.0, high=7.0)
    assert found.smallest_effect == 0.0
    assert found.verdict == "holds"


def test_a_large_effect_of_large_spread_stays_undecided():
    found = open_one()
    assert found.interval.estimate > AT_LEAST.margin
    assert found.smallest_effect > found.interval.estimate
    assert found.verdict == "undecided"


@pytest.mark.parametrize("effects", [(), (9.0,), (9.0, None), (9.0, math.nan, math.inf)])
def test_fewer_than_two_finite_effects_leave_a_comparison_undecided(effects):
    found = compare("few", AT_LEAST, effects)
    assert found.verdict == "undecided"
    assert found.interval is None
    assert found.smallest_effect is None


def test_seeds_without_effect_keep_their_place_and_are_told():
    found = compare("gap", AT_LEAST, (9.0, None, 9.5), note="Seed 1 diverged.")
    assert found.effects == (9.0, None, 9.5)
    assert found.note == "1 of 3 seeds gave no effect. Seed 1 diverged."


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ((holding(), holding()), "holds"),
        ((holding(), failing(), open_one()), "does not hold"),
        ((holding(), open_one()), "undecided"),
        ((holding(), failing(primary=False)), "holds"),
        ((failing(primary=False),), "undecided"),
        ((), "undecided"),
    ],
)
def test_the_claim_follows_from_its_primary_comparisons(comparisons, verdict):
    assert result_with(*comparisons).verdict == verdict


def test_a_result_survives_the_way_through_json():
    result = result_with(holding(), compare("few", WITHIN, (1.0, None), primary=False))
    assert from_json(json.loads(json.dumps(to_json(result), allow_nan=False))) == result


@pytest.mark.parametrize("data", [{"schema": 99}, {}, [], None])
def test_a_claim_of_another_schema_is_refused(data):
    with pytest.raises(TenfoldError, match="this version reads 1"):
        from_json(data)


def test_a_claim_with_an_unknown_field_names_it():
    with pytest.raises(TenfoldError, match="sentnce"):
        from_json(to_json(result_with()) | {"sentnce": "typed by hand"})


def test_saving_one_scale_keeps_the_others_in_order_of_size(tmp_path):
    laptop, quick = result_with(holding(), scale="laptop"), result_with(failing(), scale="quick")
    save_claim(laptop, tmp_path)
    path = save_claim(quick, tmp_path)
    assert path == tmp_path / "toy.json"
    assert list(read_claims(path).items()) == [("quick", quick), ("laptop", laptop)]


def test_saving_a_scale_again_replaces_it(tmp_path):
    save_claim(result_with(failing()), tmp_path)
    path = save_claim(result_with(holding()), tmp_path)
    assert read_claims(path)["quick"].verdict == "holds"


def test_saving_beside_a_claim_of_another_schema_is_refused(tmp_path):
    (tmp_path / "toy.json").write_text('{"schema": 99}')
    with pytest.raises(TenfoldError, match="schema 99"):
        save_claim(result_with(holding()), tmp_path)


def test_the_report_tells_claim_rule_interval_and_how_to_repeat():
    page = render(claim_page(result_with(holding(), open_one())), light=True)
    for told in (
        "Ours is better.",
        "Somebody 2024",
        "Figure 2: better",
        "at least 5\u00a0%",
        "10.5\u00a0% [9.3, 11.7]",
        "undecided",
        "Small networks only.",
        "tenfold toy claim --scale quick",
        "0123456789ab",
        "1 min 15 s",
    ):
        assert told in page


def test_the_report_names_what_the_verdict_rests_on():
    sections = claim_page(result_with(holding(), failing("speed"), open_one("size"))).sections
    assert "beyond its margin in: speed." in sections[0].paragraphs[0]


def test_effects_of_different_units_are_drawn_apart():
    nats = compare("loss", Rule(kind="at_least", margin=0.0, unit="nats"), (0.1, 0.2))
    figures = claim_page(result_with(holding(), nats)).sections[0].figures
    assert [figure.layout["xaxis"]["title"]["text"] for figure in figures] == [
        "Effect (%)",
        "Effect (nats)",
    ]


def test_notes_of_comparisons_stand_among_the_limits():
    page = claim_page(result_with(holding(note="Two widths only.")))
    limits = next(section for section in page.sections if section.title == "Limits")
    assert "better: Two widths only." in limits.paragraphs


def test_a_claim_without_figures_or_effects_still_has_a_report():
    empty = result_with(figures=(), tables=(), notes=(), seeds=())
    assert "Ours is better." in render(claim_page(empty), light=True)


def test_the_index_has_a_row_a_room_and_a_figure_a_room():
    page = index_page([result_with(holding()), result_with(failing(), room="other")])
    rows = page.sections[0].tables[0].rows
    assert [(row[0], row[4], row[5]) for row in rows] == [
        ("toy", "holds", 75),
        ("other", "does not hold", 75),
    ]
    assert [len(section.figures) for section in page.sections[1:]] == [1, 1]
    assert page.subtitle == "2 claims: 1 holds, 1 does not hold."


def test_a_crashed_room_costs_its_own_row_only():
    rows = [Failure(room="broken", error="MemoryError: <too> large"), result_with(holding())]
    page = index_page(rows)
    assert [row[4] for row in page.sections[0].tables[0].rows] == ["crashed", "holds"]
    html = render(page, light=True)
    assert "MemoryError: &lt;too&gt; large" in html
    assert [section.title for section in page.sections] == ["Claims", "toy"]


def test_an_index_of_crashes_alone_can_be_shown():
    html = render(index_page([Failure(room="toy", error="lost", seconds=3.0)]), light=True)
    assert "1 claim: 1 crashed." in html


def test_facts_that_differ_between_rooms_are_all_named():
    rows = [result_with(holding()), result_with(holding(), room="b", machine="4 cores")]
    facts = dict(index_page(rows).facts)
    assert facts["Machine"] == "2 cores; 4 cores"
    assert facts["Time"] == "2 min 30 s"


def test_the_machine_is_described_without_its_name():
    name = machine_name()
    assert name.split(" ")[1] == "cores,"
    assert platform.node() not in name


def test_a_cell_that_is_no_number_is_null_in_a_claims_file():
    table = Table(title="Rows", columns=("name", "value"), rows=(("a", math.nan), ("b", math.inf)))
    told = to_json(result_with(tables=(table,)))
    assert told["tables"][0]["rows"] == [["a", None], ["b", None]]
    assert from_json(told).tables[0].rows == (("a", None), ("b", None))
