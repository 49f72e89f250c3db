import io

import pytest

from tenfold.engine.progress import Progress, describe, format_seconds, say


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def test_a_line_each_half_minute_where_no_terminal_is(capsys, clock):
    with Progress("toy count", 100, clock=clock) as progress:
        for done in range(0, 70):
            progress.update(done)
            clock.now += 1
        told = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told] == [
        "toy count: 30 of 100",
        "toy count: 60 of 100",
    ]
    assert capsys.readouterr().err.startswith("toy count: 69 of 100")


def test_a_line_says_pace_time_left_and_newest_numbers(clock):
    progress = Progress("toy", 100, quiet=True, clock=clock)
    progress.update(10)
    clock.now += 20
    progress.update(50, **{"loss/total": 0.123456, "done": 3})
    assert describe(progress) == (
        "toy: 50 of 100, 2 a second, 25 s left, loss/total 0.1235, done 3"
    )


def test_slow_steps_are_told_in_seconds_each(clock):
    progress = Progress("toy", 4, quiet=True, clock=clock)
    progress.update(0)
    clock.now += 20
    progress.update(2)
    assert describe(progress) == "toy: 2 of 4, 10 s each, 20 s left"


def test_the_steps_of_an_earlier_session_do_not_count_for_the_rate(clock):
    progress = Progress("toy", 2000, quiet=True, clock=clock)
    assert progress.rate == 0
    progress.update(1000)
    assert progress.rate == 0
    clock.now += 10
    progress.update(1005)
    assert progress.rate == 0.5


def test_nothing_is_said_when_quiet_or_in_a_worker(capsys, clock, monkeypatch):
    def use(*, quiet):
        with Progress("toy", 10, quiet=quiet, clock=clock) as progress:
            progress.note("an event")
            clock.now += 100
            progress.update(5)

    use(quiet=True)
    monkeypatch.setenv("TENFOLD_WORKER", "1")
    use(quiet=False)
    say("nobody listens")
    assert capsys.readouterr().err == ""


def test_talk_goes_to_stderr_alone(capsys):
    say("a line")
    assert capsys.readouterr() == ("", "a line\n")


def test_a_note_is_a_line_where_no_terminal_is(capsys, clock):
    with Progress("toy", 10, clock=clock) as progress:
        progress.note("an event")
    assert capsys.readouterr().err == "toy: an event\n"


def test_a_terminal_shows_a_block_with_the_last_event_and_then_one_line(monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("toy", 10, clock=clock) as progress:
        progress.note("an event")
        progress.update(5, loss=0.5)
    shown = terminal.getvalue()
    assert "an event" in shown
    assert "━" in shown
    assert shown.splitlines()[-1].endswith("toy: 5 of 10, loss 0.5")


def test_blocks_may_be_inside_one_another(monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("outer", 10, clock=clock) as outer:
        outer.update(1)
        with Progress("inner", 3, clock=clock) as inner:
            inner.update(2)
        outer.update(2)
    assert "inner: 2 of 3" in terminal.getvalue()
    assert terminal.getvalue().splitlines()[-1].endswith("outer: 2 of 10")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7260, "2 h 1 min")],
)
def test_durations_are_written_in_two_units(seconds, text):
    assert format_seconds(seconds) == text
