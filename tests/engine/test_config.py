import dataclasses
import json
import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine import config
from tenfold.engine.config import (
    Change,
    binding_changes,
    decode,
    diff,
    digest,
    encode,
    free,
    migrate,
)  # fmt: skip
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Adam:
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class Muon:
    rate: float = 0.02
    rounds: int = 5


@dataclass(frozen=True, kw_only=True)
class Train:
    steps: int = 10
    kind_of_loss: Literal["squared", "huber"] = "squared"
    widths: tuple[int, ...] = ()
    optimizer: Adam | Muon = field(default_factory=Adam)
    path: str | None = None
    scale: int | float | None = 1
    note: Annotated[str, "shown"] = ""
    anything: Any = None
    log_every: int = free(10)
    optimizers: tuple[Adam | Muon, ...] = ()

    def __post_init__(self):
        if self.steps < 0:
            raise ValueError(f"steps ({self.steps}) is negative; give 0 or more")


floats = st.floats(allow_nan=False, allow_infinity=False)
optimizers = st.builds(Adam, rate=floats, betas=st.tuples(floats, floats)) | st.builds(
    Muon, rate=floats, rounds=st.integers()
)
trains = st.builds(
    Train,
    steps=st.integers(min_value=0),
    kind_of_loss=st.sampled_from(["squared", "huber"]),
    widths=st.lists(st.integers()).map(tuple),
    optimizer=optimizers,
    path=st.none() | st.text(),
    scale=st.none() | st.integers() | floats,
    note=st.text(),
    anything=st.none() | st.booleans() | st.integers() | st.text(),
    log_every=st.integers(),
    optimizers=st.lists(optimizers, max_size=3).map(tuple),
)


@given(train=trains)
def test_a_config_comes_back_through_json_as_it_was(train):
    back = decode(Train, json.loads(json.dumps(encode(train))))
    assert back == train
    assert type(back.scale) is type(train.scale)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_number_comes_back_from_a_file_as_it_was(value, tmp_path):
    config = Train(optimizer=Adam(rate=value), scale=value)
    write_json(tmp_path / "config.json", encode(config))
    assert decode(Train, read_json(tmp_path / "config.json")) == config
    assert diff(config, encode(config)) == []


@given(one=trains, other=trains)
def test_configs_differ_exactly_where_diff_says_so(one, other):
    changes = diff(one, other)
    assert (changes == []) == (one == other)
    assert digest(one) == digest(replace(one))
    assert (digest(one) == digest(other)) == (json.dumps(encode(one)) == json.dumps(encode(other)))
    names = {change.path.split(".")[0] for change in changes}
    fields = [f.name for f in dataclasses.fields(Train)]
    assert names == {n for n in fields if encode(getattr(one, n)) != encode(getattr(other, n))}


def test_what_is_absent_takes_its_default():
    assert decode(Train, {"steps": 3}) == Train(steps=3)


def test_a_whole_number_is_taken_for_a_float_but_not_the_other_way_round():
    assert decode(Adam, {"rate": 1}) == Adam(rate=1.0)
    with pytest.raises(TenfoldError, match=r"config\.steps: 1\.0 is float, wanted int"):
        decode(Train, {"steps": 1.0})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"step": 3}, r"config: unknown \['step'\]; known \['steps'"),
        ({"steps": True}, r"config\.steps: True is bool, wanted int"),
        ({"steps": None}, r"config\.steps: None is NoneType, wanted int"),
        ({"kind_of_loss": "cubed"}, r"config\.kind_of_loss: 'cubed' is not one of"),
        ({"widths": [1, "2"]}, r"config\.widths\[1\]: '2' is str, wanted int"),
        ({"widths": 3}, r"config\.widths: 3 is int, wanted a list"),
        ({"path": 3}, r"config\.path: 3 fits none of \['str', 'NoneType'\]"),
        ({"note": 3}, r"config\.note: 3 is int, wanted str"),
        ({"optimizer": {"kind": "Adma"}}, r"kind at config\.optimizer 'Adma'; did you mean Adam"),
        ({"optimizer": {"rate": 1.0}}, r"unknown kind at config\.optimizer 'None'"),
        ({"optimizer": 3}, r"config\.optimizer: 3 fits none of \['Adam', 'Muon'\]"),
        ({"optimizer": {"kind": "Adam", "betas": [0.9]}}, r"optimizer\.betas: 1 values, wanted 2"),
        ({"kind": "Adam"}, r"config: kind 'Adam' does not fit 'Train'"),
        ({"steps": -1}, r"config: steps \(-1\) is negative; give 0 or more"),
        ([], r"config: \[\] is list, wanted Train"),
    ],
)
def test_what_does_not_fit_is_told_by_path_and_value(data, told):
    with pytest.raises(TenfoldError, match=told):
        decode(Train, data)


@pytest.mark.parametrize("value", [{1, 2}, math.sqrt, b"bytes", 1j])
def test_only_facts_can_be_encoded(value):
    with pytest.raises(TypeError, match=f"a config holds facts, not {type(value).__name__}"):
        encode(replace(Train(), anything=value))


def test_every_dataclass_is_tagged_with_its_kind():
    data = encode(Train(optimizers=(Muon(),)))
    assert (data["kind"], data["optimizer"]["kind"]) == ("Train", "Adam")
    assert data["optimizers"][0]["kind"] == "Muon"


def test_a_difference_is_told_by_path_before_and_after():
    before, after = Train(), Train(optimizer=Adam(rate=0.5), steps=11)
    assert diff(before, after) == [
        Change(path="steps", before=10, after=11),
        Change(path="optimizer.rate", before=0.001, after=0.5),
    ]
    assert str(diff(before, after)[1]) == "optimizer.rate: 0.001 -> 0.5"


def test_a_difference_in_kind_names_the_fields_of_both():
    changes = {change.path: change for change in diff(Train(), Train(optimizer=Muon()))}
    assert changes["optimizer.kind"].after == "Muon"
    assert (changes["optimizer.betas"].after, changes["optimizer.rounds"].before) == (None, None)


@dataclass(frozen=True, kw_only=True)
class Study:
    train: Train = field(default_factory=Train)
    seeds: tuple[int, ...] = (0,)
    workers: int = free(1)


def test_free_fields_bind_nobody_at_any_depth():
    before = Study()
    after = Study(train=Train(log_every=99, steps=11), workers=8, seeds=(0, 1))
    assert [change.path for change in diff(before, after)] == [
        "train.steps", "train.log_every", "seeds", "workers"
    ]  # fmt: skip
    assert [c.path for c in binding_changes(before, after)] == ["train.steps", "seeds"]
    assert [c.path for c in binding_changes(encode(before), after)] == ["train.steps", "seeds"]


def test_configs_can_be_compared_in_their_encoded_form():
    assert diff(encode(Train()), Train(steps=3)) == diff(Train(), Train(steps=3))


def test_migrations_lead_step_by_step_to_the_present():
    steps = {
        1: lambda data: {"size": data["width"]},
        2: lambda data: {"size": data["size"] * 2},
    }
    assert migrate({"width": 4}, 1, current=3, steps=steps) == {"size": 8}
    assert migrate({"size": 4}, 2, current=3, steps=steps) == {"size": 8}
    assert migrate({"size": 4}, 3, current=3, steps=steps) == {"size": 4}


def test_a_config_from_the_future_is_refused():
    with pytest.raises(TenfoldError, match="config has schema 4, this version reads up to 3"):
        migrate({}, 4, current=3, steps={})


def test_a_missing_migration_is_named():
    with pytest.raises(TenfoldError, match="no migration leads from config schema 2 to 3"):
        migrate({}, 1, current=3, steps={1: dict})


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest({})) == 16


def test_the_tag_for_kinds_is_part_of_the_file_format():
    assert config.KIND == "kind"
