"""A hunt as a run: the same for any number of workers, after any kill, and beside other writers."""

import json
from dataclasses import replace

import pytest

from deadly import KILLED, Life, bits_of, live
from tenfold.engine.run import Options, Run, RunStopped
from tenfold.engine.tasks import map_tasks
from tenfold.rooms.extremal import campaign, config
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.codecs import read_graphs
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.run import check_archive, ladder_run, load, resume
from tenfold.rooms.extremal.verify import find_faults

SMALL = config.Ladder(first=18, last=24, pieces=14, piece_flips=3_000, workers="1")
WORDS = ("extremal", "ladder", "--from", "18", "--to", "24", "--pieces", "14")
WORDS += ("--piece-flips", "3000", "--workers", "2", "--quiet", "--checkpoint-steps", "3")


def ladder(cfg, path, **options):
    run = Run.create(
        cfg,
        room="extremal",
        verb="ladder",
        units=config.LADDER_UNITS,
        options=Options(quiet=True, **options),
        path=path,
    )
    return ladder_run(cfg, run=run)


def finds_of(folder):
    archive = Archive(folder)
    return [
        (find.graph, find.start, find.flips) for n in archive.nodes() for find in archive.finds(n)
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("ladder") / "whole"
    ladder(SMALL, path)
    return path


def test_everything_found_fits_the_problem_and_is_exported(whole):
    graphs = read_graphs(whole / "out" / "best.s6")
    assert len(graphs) >= 4
    for graph in graphs:
        assert not find_faults(graph, replace(SMALL.problem, nodes=graph.nodes))
    rows = json.loads((whole / "out" / "records.json").read_text())
    assert {row["nodes"] for row in rows} == set(range(18, 25))
    assert load(whole).nodes() == [graph.nodes for graph in graphs]


@pytest.mark.parametrize("workers", ["2", "3"])
def test_more_workers_make_the_same_hunt(whole, tmp_path, workers):
    ladder(replace(SMALL, workers=workers), tmp_path / "more")
    assert bits_of(tmp_path / "more") == bits_of(whole)
    assert finds_of(tmp_path / "more" / "out" / "archive") == finds_of(whole / "out" / "archive")


def test_a_hunt_that_is_killed_goes_on_exactly_and_loses_nothing(whole, tmp_path):
    run = str(tmp_path / "killed")
    first = Life(
        args=(*WORDS, "--path", run), at_call="tenfold.rooms.extremal.archive:verify", number=5
    )
    again = ("runs", "resume", run, "--quiet")
    second = Life(args=again, at_open="*/killed/ckpt/.tmp-*/state.json")
    assert live(first, second, Life(args=again)) == [KILLED, KILLED, 0]
    assert bits_of(tmp_path / "killed") == bits_of(whole)
    assert finds_of(tmp_path / "killed" / "out" / "archive") == finds_of(whole / "out" / "archive")


def test_a_hunt_that_is_stopped_goes_on_exactly(whole, tmp_path):
    with pytest.raises(RunStopped):
        ladder(SMALL, tmp_path / "run", stop_after=5)
    resume(tmp_path / "run", options=Options(quiet=True))
    assert bits_of(tmp_path / "run") == bits_of(whole)


def test_a_timed_hunt_uses_what_others_put_into_the_archive(tmp_path, monkeypatch):
    folder = tmp_path / "archive"
    cfg = replace(SMALL, first=48, last=50, pieces=0, minutes=0.03, archive=str(folder))
    run_piece, told = campaign.run_piece, []

    def run_and_meddle(piece, problem):
        if not told:
            Archive(folder, problem).put(construct("hoffman-singleton"), method="other process")
        told.append(piece.kind)
        return run_piece(piece, problem)

    monkeypatch.setattr(campaign, "run_piece", run_and_meddle)
    ladder(cfg, tmp_path / "run")
    archive = Archive(folder)
    assert archive.edges(50) == 175
    assert archive.edges(49) == 168
    assert "down" in told


def test_a_cluster_works_by_whole_windows(tmp_path, monkeypatch):
    calls = []

    def here(function, tasks, *, workers):
        assert workers == "ray"
        calls.append(len(tasks))
        return map_tasks(function, dict(reversed(tasks.items())), workers=1)

    monkeypatch.setattr(campaign, "map_tasks", here)
    ladder(replace(SMALL, workers="ray", pieces=10, window=4), tmp_path / "run")
    assert calls == [4, 4, 2]
    assert len(finds_of(tmp_path / "run" / "out" / "archive")) >= 4


def test_a_named_archive_is_read_at_first_and_kept(tmp_path):
    archive = Archive(tmp_path / "archive", SMALL.problem)
    archive.put(construct("robertson"), method="named")
    cfg = replace(SMALL, pieces=6, archive=str(archive.path))
    ladder(cfg, tmp_path / "run")
    assert Archive(archive.path).best(19)[0].method == "named"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"first": 2}, "from 2 to 24"),
        ({"piece_flips": 0}, r"piece_flips \(0\)"),
        ({"window": 0}, r"window \(0\)"),
        ({"pieces": -1}, r"pieces \(-1\)"),
        ({"pieces": 0, "minutes": 0.0}, r"minutes \(0.0\)"),
        ({"workers": "0"}, r"workers \('0'\)"),
        ({"forbid": "C2"}, "forbid has 'C2'"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(change, told):
    with pytest.raises(ValueError, match=told):
        replace(SMALL, **change)


def test_no_archive_is_nothing_to_refuse():
    check_archive(SMALL)
