import contextlib
import json
import os
import sys
from pathlib import Path

import pytest

from tenfold import cli, reproduce
from tenfold.registry import ROOMS, Room

TOY = Room(name="toy", sentence="counts", paper="Abacus 1", module="toyroom")
OTHER = Room(name="other", sentence="counts too", paper="Abacus 2", module="toyroom")


def in_this_process(args):
    with os.fdopen(os.dup(1), "w") as out, contextlib.redirect_stdout(out):
        return cli.main(args[3:])


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    """Let the toy room be the only one, and its claims run in this process."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for name in list(ROOMS):
        monkeypatch.delitem(ROOMS, name)
    monkeypatch.setitem(ROOMS, "toy", TOY)
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reproduce, "run_command", in_this_process)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "reproduce" / "quick"


@pytest.fixture
def checked(capfd):
    """Return a function that reproduces and gives (exit code, result or None, stderr)."""

    def run(*words):
        code = cli.main(["reproduce", "--json", *words])
        told = capfd.readouterr()
        return code, json.loads(told.out) if told.out else None, told.err

    return run


def moment_of_start(folder):
    return json.loads((folder / "toy" / "config.json").read_text())["started"]


def test_every_room_has_a_row_with_its_verdict_on_one_page(checked, folder):
    code, result, _ = checked()
    assert code == 0
    report = str(folder / "toy" / "report.html")
    row = {"room": "toy", "verdict": "holds", "seconds": 0.5, "report": report}
    assert result == {"claims": [row], "page": str(folder / "index.html")}
    page = (folder / "index.html").read_text()
    assert "Counting counts." in page
    assert 'href="toy/report.html"' in page


def test_what_a_claim_prints_is_not_among_the_results(checked):
    _, result, err = checked()
    assert set(result) == {"claims", "page"}
    assert "verdict  holds" in err


def test_out_names_the_folder_of_the_page(checked, tmp_path):
    _, result, _ = checked("--out", str(tmp_path / "there"))
    assert result["page"] == str(tmp_path / "there" / "index.html")
    assert (tmp_path / "there" / "toy" / "config.json").exists()


def test_a_finished_claim_is_kept(checked, folder):
    checked()
    before = moment_of_start(folder)
    code, result, err = checked()
    assert code == 0
    assert "toy: finished before with this config and commit; kept" in err
    assert result["claims"][0]["verdict"] == "holds"
    assert moment_of_start(folder) == before


def test_fresh_runs_a_finished_claim_again_and_sets_the_earlier_aside(checked, folder):
    checked()
    before = moment_of_start(folder)
    _, _, err = checked("--fresh")
    assert f"toy: --fresh; the earlier claim is set aside as {folder / 'toy.1'}" in err
    assert moment_of_start(folder) > before
    checked("--fresh")
    assert (folder / "toy.2").exists()


def test_a_claim_made_by_another_commit_is_run_again(checked, monkeypatch):
    checked()
    monkeypatch.setattr(reproduce, "source_commit", lambda: "cafe")
    _, _, err = checked()
    assert ", this is cafe; the earlier claim is set aside" in err


def test_a_claim_with_another_config_is_run_again_and_the_change_is_told(checked, folder):
    checked()
    file = folder / "toy" / "config.json"
    file.write_text(file.read_text().replace('"bonus": 0', '"bonus": 4'))
    _, _, err = checked()
    assert "toy: config changed (bonus: 4 -> 0); the earlier claim is set aside" in err


def test_a_claim_whose_config_no_longer_reads_is_run_again(checked, folder):
    checked()
    file = folder / "toy" / "config.json"
    file.write_text(file.read_text().replace('"bonus"', '"lost"'))
    code, _, err = checked()
    assert code == 0
    assert "unknown ['lost']" in err


def test_a_crash_of_a_room_costs_its_own_row_only(checked, folder, monkeypatch):
    monkeypatch.setitem(ROOMS, "other", OTHER)
    monkeypatch.setattr(
        reproduce, "run_command", lambda args: -9 if "other" in args else in_this_process(args)
    )
    code, result, _ = checked()
    assert code == 1
    assert [row["verdict"] for row in result["claims"]] == ["holds", "failed"]
    assert "killed by signal 9, before a run was made" in (folder / "index.html").read_text()


def test_a_failed_room_is_told_with_its_error_and_goes_on_the_next_time(checked, monkeypatch):
    monkeypatch.setenv("TOY_FAULT", "claim")
    code, result, _ = checked()
    assert code == 1
    error = "RuntimeError: the toy fell off the table (exit code 1)"
    assert result["claims"] == [{"room": "toy", "verdict": "failed", "error": error}]
    monkeypatch.delenv("TOY_FAULT")
    code, result, err = checked()
    assert code == 0
    assert "toy: goes on where it stopped" in err


def test_a_result_that_cannot_be_read_is_a_failed_row(checked, folder):
    checked()
    (folder / "toy" / "out" / "claim.json").write_text('{"schema": 0}')
    code, result, _ = checked()
    assert code == 1
    assert "claim has schema 0" in result["claims"][0]["error"]
    assert "--fresh runs it again" in result["claims"][0]["error"]


def test_a_stopped_claim_stops_all_and_the_command_that_goes_on_is_told(checked, monkeypatch):
    monkeypatch.setattr(reproduce, "run_command", lambda _args: 130)
    code, result, err = checked("toy")
    assert (code, result) == (130, None)
    assert "go on with `tenfold reproduce toy --scale quick`" in err


def test_an_interrupt_between_claims_stops_in_the_same_way(checked, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "run_command", interrupt)
    code, _, err = checked("--out", "elsewhere")
    assert code == 130
    assert "go on with `tenfold reproduce --scale quick --out elsewhere`" in err


def test_a_room_that_was_not_named_keeps_its_row(checked, monkeypatch):
    checked()
    monkeypatch.setitem(ROOMS, "other", OTHER)
    monkeypatch.setattr(reproduce, "run_command", lambda _args: 1)
    _, result, _ = checked("other")
    assert [row["verdict"] for row in result["claims"]] == ["holds", "failed"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("tou",), "unknown room 'tou'; did you mean toy"),
        (("--scale", "quik"), "invalid choice 'quik' for argument '--scale'"),
    ],
)
def test_a_wrong_name_is_told_before_anything_runs(checked, folder, words, told):
    code, _, err = checked(*words)
    assert code == 2
    assert told in err
    assert not folder.parent.exists()


def test_quiet_is_passed_on_to_the_claims(checked, monkeypatch):
    seen = []
    monkeypatch.setattr(reproduce, "run_command", lambda args: seen.append(args) or 1)
    checked("--quiet")
    assert seen[0][:3] == [sys.executable, "-m", "tenfold"]
    assert seen[0][-1] == "--quiet"


def test_stdout_is_as_before_after_a_claim(capfd):
    with reproduce._results_as_talk():
        os.write(1, b"of a child\n")
    os.write(1, b"ours\n")
    assert capfd.readouterr() == ("ours\n", "of a child\n")
