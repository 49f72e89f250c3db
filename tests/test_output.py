import json
import math
from pathlib import Path

from tenfold.output import as_json, as_text


def test_numbers_that_json_lacks_become_null():
    result = {"loss": math.nan, "rows": [(1.5, math.inf)], "step": 3}
    assert json.loads(as_json(result)) == {"loss": None, "rows": [[1.5, None]], "step": 3}


def test_what_json_lacks_is_written_as_text():
    assert json.loads(as_json({"run": Path("runs") / "a"})) == {"run": str(Path("runs") / "a")}


def test_text_stands_as_it_is_and_nothing_is_nothing():
    assert as_text("two\nlines") == "two\nlines"
    assert as_text(None) == ""


def test_names_and_values_stand_in_two_columns():
    assert as_text({"step": 3, "l0": 12.3456789}).splitlines() == ["step  3", "l0    12.3457"]


def test_an_inner_mapping_is_indented_below_its_name():
    text = as_text({"step": 3, "loss": {"mean": 0.5, "parts": {"l1": 1.0}}})
    assert text.splitlines() == ["step  3", "loss", "  mean  0.5", "  parts", "    l1  1"]


def test_rows_make_a_table_with_a_column_for_every_name():
    rows = [{"run": "a", "state": "done"}, {"run": "longer", "step": 7}]
    assert as_text(rows).splitlines() == [
        "run     state  step",
        "a       done   -",
        "longer  -      7",
    ]
    assert as_text({"runs": rows}).splitlines()[:2] == ["runs", "  run     state  step"]


def test_what_is_empty_is_a_dash():
    assert as_text({"reason": "", "metrics": {}, "seeds": []}).splitlines() == [
        "reason   -",
        "metrics  -",
        "seeds    -",
    ]


def test_a_list_stands_in_one_line():
    assert as_text({"seeds": [0, 1, 2]}) == "seeds  0 1 2"
