import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold import cli
from tenfold.registry import COMMANDS, ROOMS, Room

TOY = Room(name="toy", sentence="counts", paper="Abacus 1", module="toyroom")


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(ROOMS, "toy", TOY)
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tenfold(capsys):
    """Return a function that runs a command line and gives (exit code, stdout, stderr)."""

    def run(line):
        code = cli.main(line.split())
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def in_a_process(*args, **env):
    return subprocess.run(
        [sys.executable, "-m", "tenfold", *args],
        capture_output=True,
        text=True,
        env=os.environ | env,
        timeout=30,
        check=False,
    )


# Help


@pytest.mark.parametrize("line", ["", "--help", "-h", "help"])
def test_without_a_room_every_room_and_command_is_listed(tenfold, line):
    code, out, err = tenfold(line)
    assert code == 0
    assert not err
    assert all(f"  {name} " in out for name in [*ROOMS, *COMMANDS])


def test_help_imports_neither_torch_nor_numpy():
    code = "import sys; from tenfold.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert not set(done.stdout.split()) & {"torch", "numpy", "scipy", "tyro", "rich", "joblib"}


def test_the_version_is_printed(tenfold):
    from tenfold import __version__ as version

    assert tenfold("--version") == (0, f"tenfold {version}\n", "")


@pytest.mark.parametrize("line", ["toy", "toy --help", "toy -h"])
def test_a_room_alone_lists_its_verbs(tenfold, line):
    code, out, _ = tenfold(line)
    assert code == 0
    assert "Abacus 1" in out
    assert "  count    Count up from zero.\n" in out


def test_a_command_with_verbs_lists_them(tenfold):
    code, out, _ = tenfold("runs")
    assert code == 0
    assert "resume" in out


def test_a_verb_s_help_shows_recipes_options_and_the_call_s_options_apart(tenfold):
    code, out, err = tenfold("toy count --help")
    assert code == 0
    assert not err
    assert "Recipes: small (default), wide" in out
    own, _, call = out.partition("call options")
    assert "--steps INT" in own
    assert "--stop-after INT" in call
    assert "--recipe" not in out


def test_help_is_plain_ascii_where_stdout_is():
    done = in_a_process("rooms", "--help", PYTHONIOENCODING="ascii", COLUMNS="80")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "+-" in done.stdout


def test_a_reader_that_leaves_early_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "tenfold", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 0


# Wrong use: exit code 2, one line, the nearest name


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("toi count", "unknown room or command 'toi'; did you mean toy"),
        ("rums ls", "unknown room or command 'rums'; did you mean runs"),
        ("--hepl", "unknown room or command '--hepl'"),
        ("toy cuont", "unknown verb of toy 'cuont'; did you mean count"),
        ("runs lst", "unknown verb of runs 'lst'; did you mean ls"),
        ("toy count smal", "unknown recipe of toy count 'smal'; did you mean small"),
        ("toy count --stps 4", "unknown option of toy count '--stps'; did you mean --steps"),
        ("toy count --stps=4", "unknown option of toy count '--stps'; did you mean --steps"),
        ("toy count --steps", "toy count: Missing value for argument '--steps'"),
        ("toy count --steps many", "toy count: Error parsing --steps: invalid literal"),
        ("toy count --steps 0", "toy count: steps is 0; give 1 or more"),
        ("toy count --stop-after -1", "toy count: stop_after is -1; give 0 or more"),
        ("toy count --order left", "invalid choice 'left' for argument '--order'"),
        ("toy count --rule.factor 3", "unknown option of toy count '--rule.factor'"),
        ("toy count rule:growin", "unknown kind for toy count 'rule:growin'; did you mean rule:gr"),
        ("toy count --steps 3 wide", "recipe 'wide' must stand right after `tenfold toy count`"),
        ("toy count wide --from x", "recipe 'wide' and --from 'x' exclude each other"),
        ("toy count --from nothing", "unknown run"),
        ("toy count mine.py:f", "there is no file 'mine.py' to take the recipe 'f' from"),
        ("toy convert", "toy convert: Missing from tenfold toy convert: STR File to read."),
        ("toy convert a b", "toy convert takes no 'b'"),
        ("runs rm --yes", "runs rm: no run is named"),
        ("doctor now", "doctor takes no 'now'"),
    ],
)
def test_wrong_use_is_told_in_one_line_with_exit_code_2(tenfold, line, told):
    code, out, err = tenfold(line)
    assert code == 2
    assert not out
    assert told in err
    assert err.startswith("tenfold: ")
    assert err.count("\n") == 1


def test_wrong_use_gives_the_exit_code_to_the_shell():
    done = in_a_process("jumprlu", "train")
    assert done.returncode == 2
    assert done.stderr.startswith("tenfold: unknown room or command 'jumprlu'; did you mean jump")


# Config from recipe, options, saved run


def planned(tenfold, line):
    code, out, err = tenfold(f"toy count {line} --dry-run --json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_dry_run_prints_the_resolved_config_and_the_work_and_makes_nothing(tenfold, tmp_path):
    plan = planned(tenfold, "wide --steps 5")
    assert plan["config"]["weights"] == [1.0, 2.0, 3.0]
    assert plan["work"] == {"additions": 5}
    assert not list(tmp_path.iterdir())


def test_the_default_recipe_is_meant_when_none_is_named(tenfold):
    assert planned(tenfold, "")["config"] == planned(tenfold, "small")["config"]


def test_an_option_of_a_union_s_member_may_stand_anywhere(tenfold):
    rule = {"kind": "Growing", "factor": 3.0}
    assert planned(tenfold, "rule:growing --steps 5 --rule.factor 3")["config"]["rule"] == rule


def test_underscores_may_be_written_for_hyphens(tenfold):
    assert planned(tenfold, "--log_every 7")["config"]["log_every"] == 7


def own_file(tmp_path, body):
    (tmp_path / "mine.py").write_text(
        f"import toyroom.cli as toy\nclass Mine: pass\ndef six():\n    {body}\n"
    )


def test_a_recipe_of_the_user_s_own_file_is_taken(tenfold, tmp_path):
    own_file(tmp_path, "return toy.Count(steps=6)")
    assert planned(tenfold, "./mine.py:six")["config"]["steps"] == 6
    assert planned(tenfold, "./mine.py:six --noise")["config"]["noise"] is True


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("sic", "return 1", "unknown function of mine.py 'sic'; did you mean six"),
        ("six", "return 1", "mine.py:six returned int; it must return Count"),
        ("six", "return 1 / 0", "mine.py:six raised ZeroDivisionError: division by zero"),
        ("six", "return toy.Count(steps=0)", "mine.py:six raised ValueError: steps is 0"),
        ("six", "raise toy.own_fault()", "mine.py:six raised AttributeError"),
        ("six", "raise SystemExit('bad')", "mine.py:six raised SystemExit: bad"),
        ("six", "return )", "mine.py:six raised SyntaxError"),
    ],
)
def test_a_fault_in_the_user_s_own_recipe_is_wrong_use(tenfold, tmp_path, name, body, told):
    own_file(tmp_path, body)
    code, _, err = tenfold(f"toy count mine.py:{name}")
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_a_word_that_looks_like_a_recipe_is_a_file_where_a_verb_has_no_recipes(tenfold):
    assert tenfold("toy convert small --out b.txt") == (0, "small -> b.txt\n", "")
    assert tenfold("toy convert a.py:b") == (0, "a.py:b -> out.txt\n", "")


def test_from_takes_the_config_of_a_saved_run_and_options_override_it(tenfold):
    made = finished(tenfold, "wide --steps 5")
    again = planned(tenfold, f"--from {made} --noise")["config"]
    assert again == planned(tenfold, "wide --steps 5 --noise")["config"]


def test_from_refuses_the_run_of_another_verb(tenfold):
    made = finished(tenfold, "small")
    code, _, err = tenfold(f"toy claim --from={made}")
    assert code == 2
    assert "'Count' does not fit 'Claim'" in err


# Running, stopping, crashing


def finished(tenfold, line):
    code, out, _ = tenfold(f"toy count {line} --quiet --json")
    assert code == 0
    return json.loads(out)["run"]


def test_the_result_is_json_on_stdout_and_talk_is_on_stderr(tenfold):
    code, out, _ = tenfold("toy count --json")
    assert code == 0
    assert json.loads(out)["total"] == 4


def test_without_json_the_result_is_readable_lines(tenfold):
    _, out, _ = tenfold("toy count --quiet")
    assert out.splitlines()[1].split() == ["total", "4"]


def test_a_run_s_name_tells_its_recipe_and_seed(tenfold):
    assert "_small_s7_" in Path(finished(tenfold, "--seed 7")).name


def test_a_stopped_run_leaves_with_130_and_says_how_to_go_on(tenfold, tmp_path):
    path = tmp_path / "runs" / "toy" / "part"
    go_on = f"tenfold runs resume {path}"
    code, out, err = tenfold(f"toy count --stop-after 2 --quiet --path {path}")
    assert code == 130
    assert not out
    assert f"tenfold: stopped, 2 steps done, as asked by stop_after; go on with `{go_on}`" in err
    code, out, _ = tenfold(f"runs resume {path} --json --quiet")
    assert code == 0
    assert json.loads(out) == {"run": str(path), "total": 4.0}


def test_a_path_with_a_run_goes_on_only_under_the_same_config(tenfold, tmp_path):
    path = tmp_path / "part"
    tenfold(f"toy count --stop-after 2 --quiet --path {path}")
    code, _, err = tenfold(f"toy count --steps 6 --quiet --path {path}")
    assert code == 2
    assert "--accept-changes" in err
    assert tenfold(f"toy count --steps 6 --quiet --path {path} --accept-changes")[0] == 0


def test_a_crash_leaves_with_1_and_one_line_that_names_the_log(tenfold, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_FAULT", "2")
    code, out, err = tenfold(f"toy count --quiet --path {tmp_path / 'broken'}")
    assert code == 1
    assert not out
    assert err.startswith("tenfold: RuntimeError: fault at step 2; traceback in ")
    assert err.count("\n") == 1
    assert "fault at step 2" in Path(err.split()[-1]).read_text()


def test_a_crash_names_the_log_of_the_run_that_noted_it(tenfold, monkeypatch):
    def fail(_config, _call):
        error = RuntimeError("fault")
        error.add_note("traceback in runs/a/log.txt")
        raise error

    import toyroom.cli as room

    monkeypatch.setitem(room.VERBS, "convert", replace(room.VERBS["convert"], run=fail))
    told = "tenfold: RuntimeError: fault; traceback in runs/a/log.txt\n"
    assert tenfold("toy convert a") == (1, "", told)


def test_a_crash_outside_a_run_leaves_its_traceback_in_the_cache(tenfold, tmp_path, monkeypatch):
    monkeypatch.setattr("toyroom.cli.VERBS", None, raising=False)
    code, _, err = tenfold("toy count")
    assert code == 1
    assert err.count("\n") == 1
    assert str(tmp_path / "cache" / "crash.log") in err
    assert "Traceback" in (tmp_path / "cache" / "crash.log").read_text()


def test_a_crash_shows_its_traceback_where_no_log_can_be_written(tenfold, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr("toyroom.cli.VERBS", None, raising=False)
    code, _, err = tenfold("toy count")
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("; traceback above\n")


def test_an_interrupt_outside_a_run_leaves_with_130(tenfold, monkeypatch):
    def interrupt(_name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "room_verbs", interrupt)
    assert tenfold("toy") == (130, "", "tenfold: interrupted\n")


# One-word commands


def test_rooms_are_listed_with_their_papers(tenfold):
    code, out, _ = tenfold("rooms --json")
    assert code == 0
    assert {"room": "toy", "what": "counts", "paper": "Abacus 1"} in json.loads(out)
    assert "arXiv:2407.14435" in tenfold("rooms")[1]


def test_doctor_reports_in_text_and_in_json(tenfold):
    code, out, _ = tenfold("doctor --json")
    assert code == 0
    assert json.loads(out)
    assert tenfold("doctor")[1]


# Saved runs


def test_runs_are_listed_with_their_state_and_filtered_by_it(tenfold):
    assert "no runs in" in tenfold("runs ls")[1]
    done = Path(finished(tenfold, "small")).name
    tenfold("toy count wide --stop-after 1 --quiet")
    rows = json.loads(tenfold("runs ls --json")[1])
    assert {row["state"] for row in rows} == {"done", "stopped"}
    rows = json.loads(tenfold("runs ls --state done --json")[1])
    assert [(row["run"], row["step"]) for row in rows] == [(done, "4/4")]
    assert json.loads(tenfold("runs ls --room other --json")[1]) == []


def test_show_gives_state_metrics_and_the_command_that_repeats_the_run(tenfold):
    made = finished(tenfold, "wide --steps 5 --noise --weights 1 2 --rule.amount 3")
    shown = json.loads(tenfold(f"runs show {made} --json")[1])
    assert shown["state"] == "done"
    assert shown["metrics"] == {"count/total": 5.0}
    words = shown["repeat"].split()
    assert words[:4] == ["tenfold", "toy", "count", "wide"]
    assert planned(tenfold, " ".join(words[3:]))["config"] == shown["config"]


def test_show_repeats_by_the_saved_config_where_options_do_not_suffice(tenfold):
    made = finished(tenfold, "rule:growing")
    shown = json.loads(tenfold(f"runs show {made} --json")[1])
    assert shown["repeat"] == f"tenfold toy count --from {made}"


def test_show_never_runs_the_user_s_own_file(tenfold, tmp_path):
    own_file(tmp_path, "return toy.Count(steps=1)")
    made = finished(tenfold, "./mine.py:six")
    (tmp_path / "mine.py").write_text("raise RuntimeError('run again')")
    shown = json.loads(tenfold(f"runs show {made} --json")[1])
    assert shown["repeat"] == f"tenfold toy count --from {made}"


def test_diff_prints_only_the_fields_that_differ(tenfold):
    one, two = finished(tenfold, "small"), finished(tenfold, "small --steps 5")
    code, out, _ = tenfold(f"runs diff {one} {two} --json")
    assert code == 0
    assert json.loads(out) == [{"field": "steps", one: 4, two: 5}]
    assert tenfold(f"runs diff {one} {one}")[1] == "the configs are equal\n"


def test_rm_removes_nothing_without_yes(tenfold):
    made = Path(finished(tenfold, "small"))
    code, out, err = tenfold(f"runs rm {made.name}")
    assert (code, out) == (2, "")
    assert f"would remove {made}; add --yes" in err
    assert made.exists()


def test_rm_with_yes_removes_the_runs_that_are_named(tenfold):
    one, two = Path(finished(tenfold, "small")), Path(finished(tenfold, "small"))
    code, out, _ = tenfold(f"runs rm {one} {two} --yes --json")
    assert code == 0
    assert json.loads(out) == {"removed": [str(one), str(two)]}
    assert not one.exists()
    assert not two.exists()


def test_rm_refuses_a_running_run(tenfold, monkeypatch):
    from tenfold import runs_cli

    made = Path(finished(tenfold, "small"))
    busy = replace(runs_cli.read_record(made), state="running")
    monkeypatch.setattr(runs_cli, "read_record", lambda _path: busy)
    code, _, err = tenfold(f"runs rm {made} --yes")
    assert code == 2
    assert "is running; stop it first" in err
    assert made.exists()
