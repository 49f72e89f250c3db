import json
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import plotly.graph_objects as plotly
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine.report.figures import (
    Bins,
    Curve,
    Effect,
    axis,
    bars,
    box,
    curves,
    effects,
    fronts,
    heat_map,
    histogram,
    scatter,
)
from tenfold.engine.report.light import draw
from tenfold.engine.report.numerals import (
    format_column,
    format_interval,
    format_number,
    format_seconds,
    is_numeric,
)
from tenfold.engine.report.scales import Scale, ticks
from tenfold.engine.report.svg import shade
from tenfold.engine.report.traces import DARK_PALETTE, PALETTE, SHADES
from tenfold.engine.stats import Interval

X, Y = axis("L0", unit="features", log=True, ticks=(8, 16)), axis("FVU", log=True)
BANDED = Curve(
    x=[8, 16, 32],
    y=[0.3, math.nan, 0.1],
    low=[0.2, 0.1, 0.0],
    high=[0.4, 0.3, 0.2],
    points=[(8, 0.31), (16, math.nan)],
)
PLAIN = Curve(x=[8.0, 16.0], y=[0.5, 0.25])
FIGURES = {
    "curves": curves("Loss", {"a": BANDED, "b": PLAIN}, x=axis("Step"), y=Y),
    "fronts": fronts("Front", {"a": BANDED, "b": PLAIN}, x=X, y=Y),
    "scatter": scatter("Cloud", {"a": PLAIN}, x=axis("Ours"), y=axis("Theirs")),
    "bars": bars("Rates", {"a": [1.0, 2.0, 3.0], "one": [2.0], "none": [math.nan]}, y=axis("Rate")),
    "effects": effects(
        "Effects",
        {
            "sure": Effect(
                interval=Interval(estimate=2.0, low=1.0, high=3.0),
                values=(1.5, 2.5),
                margins=(-1.0, 1.0),
            ),
            "unmeasured": Effect(interval=None, margins=(0.0,)),
        },
        x=axis("Effect", unit="%"),
    ),
    "heat_map": heat_map(
        "Overlap", [[0.0, 0.5], [math.nan, 1.0]], rows=("r", "s"), columns=("c", "d"), value=Y
    ),
    "histogram": histogram(
        "Rates", {"a": Bins(edges=[0, 1, 2], counts=[3, 4])}, x=axis("Rate"), y=axis("Count")
    ),
    "box": box("Spread", {"a": list(range(101)), "none": []}, y=axis("Value")),
}
FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)
each_figure = pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)


def parse(svg):
    return ElementTree.fromstring(svg)


@each_figure
def test_plotly_accepts_every_figure(figure):
    plotly.Figure(data=list(figure.data), layout=figure.layout)


@each_figure
def test_a_figure_is_strict_json_and_survives_the_way_through_it(figure):
    data = [list(figure.data), figure.layout]
    assert json.loads(json.dumps(data, allow_nan=False)) == data


@each_figure
def test_every_figure_has_a_caption_and_its_numbers_as_a_table(figure):
    assert figure.caption.endswith(".")
    assert figure.table.rows
    assert all(len(row) == len(figure.table.columns) for row in figure.table.rows)


@each_figure
def test_the_static_picture_is_well_formed_and_stays_within_its_frame(figure):
    picture = parse(draw(figure))
    width, height = (float(side) for side in picture.get("viewBox").split()[2:])
    places = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", draw(figure))
    assert places
    assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places)


def test_the_static_picture_holds_a_mark_for_each_point():
    cloud = Curve(x=[1, 2, 3], y=[1, 4, 9])
    circles = list(parse(draw(scatter("Squares", {"a": cloud}, x=X, y=Y))).iter("circle"))
    assert len(circles) == 3
    places = [(float(mark.get("cx")), float(mark.get("cy"))) for mark in circles]
    assert places[0][0] < places[1][0] < places[2][0]
    assert places[0][1] > places[1][1] > places[2][1]


def test_missing_values_leave_a_gap_in_the_static_line():
    gap = Curve(x=[1, 2, 3, 4, 5], y=[1, 2, math.nan, 2, 1])
    svg = draw(curves("Gap", {"a": gap}, x=axis("Step"), y=axis("Loss")))
    (line,) = [path.get("d") for path in parse(svg).iter("path") if path.get("fill") == "none"]
    assert (line.count("M"), line.count("L")) == (2, 2)


def test_words_in_a_static_picture_are_escaped():
    svg = draw(curves("<b>&", {"<script>": PLAIN, "b": PLAIN}, x=axis("a<b"), y=Y))
    assert "<script>" in [text.text for text in parse(svg).iter("text")]


def test_a_log_axis_leaves_out_what_has_no_logarithm():
    svg = draw(scatter("Log", {"a": Curve(x=[0, 1, 10], y=[1, 1, -1])}, x=X, y=Y))
    assert len(list(parse(svg).iter("circle"))) == 1


def test_figures_without_any_number_can_be_drawn():
    for figure in (
        curves("None", {}, x=X, y=Y),
        bars("None", {}, y=axis("Rate")),
        effects("None", {}, x=axis("Effect")),
        curves("None", {"a": Curve(x=[], y=[])}, x=axis("Step"), y=Y),
    ):
        parse(draw(figure))
        plotly.Figure(data=list(figure.data), layout=figure.layout)


def test_a_series_keeps_its_colour_over_figures_if_the_order_is_given():
    order = ("ours", "theirs", "third")
    figure = scatter("Some", {"third": PLAIN, "new": PLAIN, "ours": PLAIN}, x=X, y=Y, order=order)
    colours = {trace["name"]: trace["marker"]["color"] for trace in figure.data}
    assert colours == {"ours": PALETTE[0], "third": PALETTE[2], "new": PALETTE[3]}


def test_more_series_than_colours_start_over():
    figure = scatter("Many", {str(n): PLAIN for n in range(9)}, x=X, y=Y)
    assert figure.data[8]["marker"]["color"] == PALETTE[1]


def luminance(colour):
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_dark_colours_stand_out_from_a_dark_card_as_graphics_should():
    card = luminance("#1a1d21")
    assert all((luminance(colour) + 0.05) / (card + 0.05) >= 3 for colour in DARK_PALETTE)


def test_bars_stand_at_the_mean_with_a_dot_a_seed():
    bar, dots = FIGURES["bars"].data[:2]
    assert bar["y"] == [2.0]
    assert dots["y"] == [1.0, 2.0, 3.0]
    half = 4.302653 / math.sqrt(3)  # Student's t for two degrees of freedom
    assert bar["error_y"]["array"] == pytest.approx([half])
    assert FIGURES["bars"].table.rows[0][1:] == pytest.approx((2.0, 2 - half, 2 + half, 3))


def test_a_box_shows_the_quartiles():
    assert FIGURES["box"].table.rows[0][1:] == pytest.approx((5, 25, 50, 75, 95, 101))


def test_effects_stand_from_top_to_bottom_as_given():
    assert FIGURES["effects"].layout["yaxis"]["categoryarray"] == ["unmeasured", "sure"]


def test_a_long_curve_is_thinned_in_its_table_but_keeps_both_ends():
    steps = list(range(1000))
    table = curves("Long", {"a": Curve(x=steps, y=steps)}, x=axis("Step"), y=axis("Loss")).table
    assert len(table.rows) == 40
    assert (table.rows[0][1], table.rows[-1][1]) == (0, 999)
    assert "every n-th point" in table.title


def test_the_table_of_a_front_holds_its_intervals():
    rows = FIGURES["fronts"].table.rows
    assert rows[0] == ("a", 8.0, 0.3, 0.2, 0.4)
    assert rows[1][2] is None
    assert rows[3] == ("b", 8.0, 0.5, None, None)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Curve(x=[1], y=[1, 2]), r"x and y of a curve differ in length: \[1, 2\]"),
        (lambda: Curve(x=[1], y=[1], low=[1]), r"bounds of a curve differ in length: \[1, 0\]"),
        (lambda: Curve(x=[1, 2], y=[1, 2], low=[1], high=[1]), "1 bounds for 2 points"),
        (lambda: Bins(edges=[0, 1], counts=[1, 2]), "2 edges; the counts need 3"),
        (
            lambda: heat_map("Hole", [[1.0]], rows=("a", "b"), columns=("c",), value=Y),
            "2 named rows",
        ),
    ],
)
def test_data_that_do_not_fit_together_are_our_own_fault(build, told):
    with pytest.raises(AssertionError, match=told):
        build()


@given(low=FINITE, size=st.floats(1e-3, 1e6), count=st.integers(3, 10))
def test_even_ticks_are_few_rising_and_inside(low, size, count):
    scale = Scale(low=low, high=low + size, start=0, stop=100)
    places = [value for value, _ in ticks(scale, {}, count=count)]
    assert 1 <= len(places) <= count + 1
    assert places == sorted(set(places))
    slack = 1e-6 * size
    assert all(scale.low - slack <= place <= scale.high + slack for place in places)


@given(low=st.floats(-6, 6), size=st.floats(0.35, 8))
def test_log_ticks_are_inside_and_at_least_two(low, size):
    scale = Scale(low=low, high=low + size, start=0, stop=100, log=True)
    places = [math.log10(value) for value, _ in ticks(scale, {"type": "log"})]
    assert len(places) >= 2
    assert all(low - 1e-9 <= place <= low + size + 1e-9 for place in places)


@given(a=FINITE, b=FINITE)
def test_a_scale_keeps_the_order_of_values(a, b):
    scale = Scale(low=-1e6, high=1e6, start=500, stop=100)  # upwards, as on a y axis
    low, high = sorted((a, b))
    assert scale.place(low) >= scale.place(high)


def test_shades_meet_the_stops_of_the_scale():
    assert [shade(share) for share, _ in SHADES] == [colour for _, colour in SHADES]
    assert shade(-1.0) == SHADES[0][1]
    assert shade(2.0) == SHADES[-1][1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12, "12"), (1024.0, "1,024"), (-0.0123456, "−0.0123"), (math.nan, "–"),
     (3e-8, "3.00e−08"), (4e12, "4.00e+12"), (1_000_000, "1,000,000")],
)  # fmt: skip
def test_numbers_are_written_for_people(value, text):
    assert format_number(value) == text


def test_a_column_shares_its_decimals_and_keeps_words_and_whole_numbers():
    cells = (12.5, 0.25, None, "none", 7, math.inf)
    assert format_column(cells) == ("12.500", "0.250", "–", "none", "7", "–")


def test_an_interval_is_written_to_two_digits_of_its_half_width():
    assert format_interval(Interval(estimate=18.234, low=14.0, high=22.4), unit="%") == (
        "18.2\u00a0% [14.0, 22.4]"
    )
    assert format_interval(Interval(estimate=0.0046, low=-0.0908, high=0.0998)) == (
        "0.005 [−0.091, 0.100]"
    )
    assert format_interval(None) == "–"


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [((1, 2.0, None), True), (("−3 % [−4, −2]", "–"), True), (("ReLU",), False), ((None,), False)],
)
def test_columns_of_numbers_are_told_from_columns_of_words(cells, numeric):
    assert is_numeric(cells) is numeric


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (4.26, "4.3 s"),
        (59.97, "1 min 0 s"),
        (3599.8, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds, text):
    assert format_seconds(seconds) == text
