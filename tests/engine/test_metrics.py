import contextlib
import json
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tenfold.engine.errors import TenfoldError
from tenfold.engine.metrics import EventFiles, MetricsLog, read_metrics, read_rows

UNITS = {"loss/total": "nat", "l0/mean": "features"}


@pytest.fixture
def open_log():
    with contextlib.ExitStack() as stack:

        def open_log(folder, *, sinks=()):
            log = MetricsLog(folder / "metrics.jsonl", units=UNITS, sinks=sinks)
            stack.callback(log.close)
            return log

        yield open_log


def write_steps(log, steps):
    for step in steps:
        log.write(step, {"loss/total": 1 / (step + 1), "l0/mean": step}, seconds=step / 8)


def test_rows_are_plain_json_lines(tmp_path, open_log):
    open_log(tmp_path).write(3, {"loss/total": 0.1}, seconds=1.23456)
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line) == {"step": 3, "t": 1.235, "name": "loss/total", "value": 0.1}
    assert line.endswith("\n")


def test_a_row_can_be_read_as_soon_as_it_is_written(tmp_path, open_log):
    log = open_log(tmp_path)
    write_steps(log, range(2))
    assert read_metrics(log.path) == {
        "loss/total": [(0, 1.0), (1, 0.5)],
        "l0/mean": [(0, 0.0), (1, 1.0)],
    }


def test_values_that_are_not_finite_are_null_and_come_back_as_nan(tmp_path, open_log):
    log = open_log(tmp_path)
    log.write(0, {"loss/total": math.inf, "l0/mean": math.nan}, seconds=0)
    assert "Infinity" not in log.path.read_text()
    assert all(math.isnan(row.value) for row in read_rows(log.path))


def test_a_metric_without_a_unit_is_a_fault_of_the_room(tmp_path, open_log):
    with pytest.raises(AssertionError, match="'loss/new' has no unit"):
        open_log(tmp_path).write(0, {"loss/new": 1.0}, seconds=0)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_log_that_was_never_written_is_empty(tmp_path, open_log):
    log = open_log(tmp_path)
    log.cut()
    assert (log.sync(), log.mend()) == (0, 0)
    assert read_metrics(log.path) == {}


@settings(deadline=None)
@given(lost=st.integers(min_value=0, max_value=200))
def test_a_line_torn_at_any_byte_is_dropped_and_no_other(tmp_path_factory, lost):
    log = MetricsLog(tmp_path_factory.mktemp("torn") / "metrics.jsonl", units=UNITS)
    write_steps(log, range(6))
    log.close()
    whole = log.path.read_bytes()
    left = len(whole) - lost
    os.truncate(log.path, left)
    rows = len(list(read_rows(log.path)))
    assert log.mend() == log.path.stat().st_size
    assert log.path.read_bytes() == whole[: whole[:left].rfind(b"\n") + 1]
    assert len(list(read_rows(log.path))) == rows


def test_a_cut_keeps_exactly_what_was_there_at_sync(tmp_path, open_log):
    log = open_log(tmp_path)
    write_steps(log, range(3))
    size, before = log.sync(), log.path.read_bytes()
    write_steps(log, range(3, 5))
    log.cut(stop=size)
    assert log.path.read_bytes() == before
    write_steps(log, range(7, 8))
    assert [step for step, _ in read_metrics(log.path)["l0/mean"]] == [0, 1, 2, 7]


def test_a_cut_can_keep_only_the_end(tmp_path, open_log):
    log = open_log(tmp_path)
    write_steps(log, range(3))
    size = log.sync()
    write_steps(log, range(5, 6))
    log.cut(start=size)
    assert read_metrics(log.path)["l0/mean"] == [(5, 5.0)]


@pytest.mark.parametrize("line", ["{}", "[1]", "nonsense", '{"step": 1, "t": 0, "name": "a"}'])
def test_a_line_that_is_no_metric_is_told_by_number(tmp_path, line, open_log):
    log = open_log(tmp_path)
    write_steps(log, range(1))
    with log.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(TenfoldError, match=r"metrics\.jsonl line 3 is no metric"):
        read_metrics(log.path)


class FailingSink:
    def __init__(self):
        self.calls = 0

    def write(self, _rows):
        self.calls += 1
        raise OSError("disk gone")

    def close(self):
        raise AssertionError("a sink that is switched off is not closed again")


def test_a_failing_sink_is_switched_off_with_one_warning(tmp_path, caplog, open_log):
    sink = FailingSink()
    log = open_log(tmp_path, sinks=[sink])
    write_steps(log, range(4))
    log.close()
    assert sink.calls == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "FailingSink is switched off for this session (OSError: disk gone)" in caplog.text
    assert len(list(read_rows(log.path))) == 8


def event_files(folder):
    return EventFiles(folder / "events", source=folder / "metrics.jsonl", started=1e9)


def read_events(folder):
    events = EventAccumulator(str(folder / "events"))
    events.Reload()
    return {
        name: [(event.step, event.value, event.wall_time) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_logged(tmp_path, open_log):
    log = open_log(tmp_path, sinks=[event_files(tmp_path)])
    write_steps(log, range(3))
    log.close()
    events = read_events(tmp_path)
    assert events["l0/mean"] == [(0, 0.0, 1e9), (1, 1.0, 1e9 + 0.125), (2, 2.0, 1e9 + 0.25)]
    assert [value for _, value, _ in events["loss/total"]] == pytest.approx([1, 1 / 2, 1 / 3])


def test_event_files_follow_a_cut_and_a_new_session(tmp_path, open_log):
    log = open_log(tmp_path, sinks=[event_files(tmp_path)])
    write_steps(log, range(4))
    size = log.sync()
    write_steps(log, range(4, 6))
    log.cut(stop=size)
    write_steps(log, range(8, 9))
    log.close()
    assert [step for step, _, _ in read_events(tmp_path)["l0/mean"]] == [0, 1, 2, 3, 8]
    later = open_log(tmp_path, sinks=[event_files(tmp_path)])
    write_steps(later, range(9, 10))
    later.close()
    assert [step for step, _, _ in read_events(tmp_path)["l0/mean"]] == [0, 1, 2, 3, 8, 9]


def test_event_files_can_be_watched_while_they_grow(tmp_path, open_log):
    sink = event_files(tmp_path)
    sink.flush_seconds = 0.0
    log = open_log(tmp_path, sinks=[sink])
    write_steps(log, range(3))
    assert len(read_events(tmp_path)["l0/mean"]) == 3
    log.close()


def test_a_live_log_can_be_read_by_another(tmp_path, open_log):
    log = open_log(tmp_path)
    write_steps(log, range(2))
    with log.path.open("ab") as file:
        file.write(b'{"step": 2, "t"')
    assert len(list(read_rows(log.path))) == 4
