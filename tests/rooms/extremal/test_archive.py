"""Archives: nothing is lost to other writers, kills and broken lines; classes come once."""

import csv
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading

import networkx
import numpy as np
import pytest

from rooms.extremal import archive_writer
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import archive as archive_module
from tenfold.rooms.extremal import ledger
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.canonical import INVARIANT
from tenfold.rooms.extremal.codecs import read_graphs
from tenfold.rooms.extremal.graph import empty, from_edges, relabel
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults

GIRTH5 = Problem(nodes=10)
PETERSEN = from_edges(10, networkx.petersen_graph().edges)


def path_graph(nodes):
    return from_edges(nodes, [(v, v + 1) for v in range(nodes - 1)])


def star(nodes):
    return from_edges(nodes, [(0, v) for v in range(1, nodes)])


def spider(nodes):
    return from_edges(nodes, [*[(0, v) for v in range(1, nodes - 1)], (1, nodes - 1)])


def shuffled(graph, seed=0):
    return relabel(graph, np.random.default_rng(seed).permutation(graph.nodes))


def lines(folder):
    return (folder / "graphs.jsonl").read_bytes().splitlines(keepends=True)


def filled(folder, **options):
    """Return an archive of three lines: a path and a star on 5 nodes, Petersen's graph."""
    archive = Archive(folder, GIRTH5, **options)
    for graph in (path_graph(5), star(5), PETERSEN):
        assert archive.put(graph, method="hand", seed=3, start="x", flips=7, seconds=1.5, by="me")
    return archive


# What is kept


def test_a_find_tells_where_it_came_from(tmp_path):
    filled(tmp_path)
    (find,) = Archive(tmp_path).best(10)
    assert find.graph == PETERSEN
    assert (find.method, find.seed, find.start, find.flips) == ("hand", 3, "x", 7)
    assert (find.seconds, find.by, find.version) == (1.5, "me", "0.1.0")
    assert find.time.endswith("+00:00")


def test_sizes_and_edges_are_listed(tmp_path):
    archive = filled(tmp_path)
    assert archive.nodes() == [5, 10]
    assert (archive.edges(5), archive.edges(10), archive.edges(7)) == (4, 15, -1)
    assert [find.graph for find in archive.best(5)] == [path_graph(5), star(5)]
    assert archive.best(7) == archive.finds(7) == []


def test_a_copy_with_other_labels_is_no_news(tmp_path):
    archive = filled(tmp_path)
    assert not archive.put(PETERSEN, method="again")
    assert not any(archive.put(shuffled(PETERSEN, seed), method="again") for seed in range(5))
    assert len(lines(tmp_path)) == 3


def test_more_edges_take_the_place_of_fewer_and_slack_keeps_these(tmp_path):
    few = from_edges(5, [(0, 1)])
    archive = Archive(tmp_path, GIRTH5, slack=1)
    assert archive.put(few, method="hand")
    assert archive.put(path_graph(5), method="hand")
    assert archive.put(from_edges(5, [(0, 1), (1, 2), (2, 3)]), method="hand")
    assert not archive.put(from_edges(5, [(0, 1), (1, 2)]), method="hand")
    assert [find.graph.size for find in archive.finds(5)] == [4, 3]
    assert [find.graph.size for find in archive.best(5)] == [4]
    assert [find.graph.size for find in Archive(tmp_path, slack=3).finds(5)] == [4, 3, 1]


def test_no_more_classes_than_asked_are_kept(tmp_path):
    archive = Archive(tmp_path, GIRTH5, keep=2)
    kept = [archive.put(graph(6), method="hand") for graph in (path_graph, star, spider)]
    assert kept == [True, True, False]


def test_a_graph_with_too_few_edges_is_not_even_checked(tmp_path, monkeypatch):
    archive = filled(tmp_path)
    monkeypatch.setattr(archive_module, "verify", None)
    assert not archive.put(empty(10), method="hand")


def test_an_illegal_graph_is_refused(tmp_path):
    archive = filled(tmp_path)
    with pytest.raises(TenfoldError, match="cycle of length 3 through nodes 0 - 1 - 2"):
        archive.put(from_edges(3, [(0, 1), (1, 2), (0, 2)]), method="hand")
    assert archive.edges(3) == -1


def test_small_graphs_are_spelled_in_graph6_and_large_ones_in_sparse6(tmp_path):
    archive = Archive(tmp_path, GIRTH5)
    for nodes in (62, 63):
        archive.put(path_graph(nodes), method="hand")
    texts = [json.loads(line)["graph"] for line in lines(tmp_path)]
    assert [text[0] == ":" for text in texts] == [False, True]
    assert Archive(tmp_path).best(63)[0].graph == path_graph(63)


def test_where_a_canonical_form_takes_too_long_an_invariant_tells_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "_SECONDS", -1.0)
    archive = Archive(tmp_path, GIRTH5)
    assert archive.put(PETERSEN, method="hand")
    assert not archive.put(shuffled(PETERSEN), method="hand")
    (find,) = archive.best(10)
    assert find.form.startswith(INVARIANT)
    assert find.group_order == 0


# Problems


def test_an_archive_of_another_problem_is_refused(tmp_path):
    filled(tmp_path)
    with pytest.raises(TenfoldError, match="is for 'forbid C3,C4', not for 'forbid C4'"):
        Archive(tmp_path, Problem(nodes=10, forbid="C4"))


def test_another_number_of_nodes_is_the_same_problem(tmp_path):
    filled(tmp_path)
    assert Archive(tmp_path, Problem(nodes=77)).problem.nodes == 77
    assert Archive(tmp_path).problem == GIRTH5


def test_a_folder_without_archive_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="is no archive, it has no"):
        Archive(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TenfoldError, match="cannot be made a folder"):
        Archive(tmp_path / "file", GIRTH5)


def test_a_broken_problem_is_told(tmp_path):
    filled(tmp_path)
    (tmp_path / "problem.json").write_text('{"family": "x", "problem": {"knots": 3}}')
    with pytest.raises(TenfoldError, match="is no problem of an archive"):
        Archive(tmp_path)


def test_graphs_without_their_problem_are_not_taken_over(tmp_path):
    filled(tmp_path)
    (tmp_path / "problem.json").unlink()
    with pytest.raises(TenfoldError, match=r"has graphs but no problem\.json"):
        Archive(tmp_path, Problem(nodes=10, forbid="C4"))


# Broken lines


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("harm", ["cut", "changed", "no UTF-8", "no line of an archive"])
def test_a_broken_line_is_told_and_the_rest_is_kept(tmp_path, number, harm):
    filled(tmp_path)
    written = lines(tmp_path)
    line = written[number - 1]
    written[number - 1] = {
        "cut": line[:60] + b"\n",
        "changed": line.replace(b'"flips":7', b'"flips":8'),
        "no UTF-8": line[:50] + b"\xff\xfe" + line[52:],
        "no line of an archive": b'{"nodes": 4}\n',
    }[harm]
    (tmp_path / "graphs.jsonl").write_bytes(b"".join(written))
    archive = Archive(tmp_path)
    assert sum(len(archive.finds(nodes)) for nodes in (5, 10)) == 2
    (told,) = archive.problems
    assert f"graphs.jsonl line {number} is " in told
    assert "the other lines are kept" in told


@pytest.mark.parametrize("left", [1, 50, -1])
def test_an_end_that_was_cut_off_is_told_and_ended_before_the_next_line(tmp_path, left):
    filled(tmp_path)
    *whole, last = lines(tmp_path)
    (tmp_path / "graphs.jsonl").write_bytes(b"".join([*whole, last[:left]]))
    archive = Archive(tmp_path)
    assert ["line 3 is cut off at its end" in told for told in archive.problems] == [True]
    assert archive.edges(10) == -1
    assert archive.put(path_graph(6), method="hand")
    again = Archive(tmp_path)
    assert again.edges(6) == 5
    assert again.edges(10) == (15 if left == -1 else -1)  # only its newline was missing
    assert len(again.problems) == (left != -1)
    assert again.offset() == archive.offset() == (tmp_path / "graphs.jsonl").stat().st_size


def test_a_line_of_another_program_is_told(tmp_path):
    archive = filled(tmp_path)
    with (tmp_path / "graphs.jsonl").open("ab") as file:
        file.write(ledger._spell({"nodes": 5, "edges": 4, "graph": "D??"}))
    assert archive.refresh() == []
    assert "line 4 lacks by, flips, form" in archive.problems[0]


def test_files_of_other_systems_and_joined_archives_are_read(tmp_path):
    filled(tmp_path)
    text = b"".join(lines(tmp_path))
    (tmp_path / "graphs.jsonl").write_bytes(text.replace(b"\n", b"\r\n") + b"\r\n" + text)
    archive = Archive(tmp_path)
    assert not archive.problems
    assert [len(archive.finds(nodes)) for nodes in archive.nodes()] == [2, 1]


def test_a_missing_file_of_graphs_is_told(tmp_path):
    filled(tmp_path)
    (tmp_path / "graphs.jsonl").unlink()
    with pytest.raises(TenfoldError, match=r"graphs\.jsonl cannot be read"):
        Archive(tmp_path)


# Several processes


def run_writers(folder, *words):
    """Return the exit codes of processes that write at once."""
    done = subprocess.run(
        [sys.executable, archive_writer.__file__, folder, *words],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def classes(archive):
    return {find.form for nodes in archive.nodes() for find in archive.finds(nodes)}


def test_three_processes_at_once_lose_nothing(tmp_path):
    alone = Archive(tmp_path / "alone", Problem(nodes=8), keep=archive_writer.KEEP)
    for seed in range(3):
        for tree in archive_writer.trees(seed):
            alone.put(tree, method="random")
    shared = tmp_path / "shared"
    assert run_writers(shared, "0", "1", "2") == [0, 0, 0]
    together = Archive(shared)
    assert not together.problems
    assert classes(together) == classes(alone)
    assert len(lines(shared)) == len(classes(alone))


def test_a_kill_in_the_midst_of_a_line_costs_that_line_only(tmp_path):
    archive = Archive(tmp_path, Problem(nodes=8))
    archive.put(path_graph(8), method="hand")
    assert run_writers(tmp_path, "0", "--die") == [-signal.SIGKILL]
    assert not lines(tmp_path)[-1].endswith(b"\n")
    assert archive.put(spider(8), method="hand")
    again = Archive(tmp_path)
    assert [find.graph for find in again.best(8)] == [path_graph(8), spider(8)]
    assert ["line 2 is " in told for told in again.problems] == [True]


def test_what_others_add_comes_with_refresh_and_once(tmp_path):
    one, other = Archive(tmp_path, GIRTH5), Archive(tmp_path, GIRTH5)
    assert one.put(path_graph(6), method="hand")
    assert one.put(star(6), method="hand")
    assert other.put(spider(6), method="hand")
    assert [find.graph for find in other.refresh()] == [path_graph(6), star(6)]
    assert other.refresh() == []
    assert [find.graph for find in one.refresh()] == [spider(6)]
    assert not other.put(shuffled(star(6)), method="hand")


def test_what_another_added_meanwhile_is_not_added_again(tmp_path):
    one, other = Archive(tmp_path, GIRTH5), Archive(tmp_path, GIRTH5)
    assert one.put(star(6), method="hand")
    assert not other.put(shuffled(star(6), 1), method="hand")
    assert len(lines(tmp_path)) == 1


def test_a_writer_waits_for_the_lock(tmp_path):
    archive = Archive(tmp_path, GIRTH5)
    thread = threading.Thread(target=archive.put, args=[star(6)], kwargs={"method": "hand"})
    with (tmp_path / "graphs.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert lines(tmp_path) == []
    thread.join()
    assert len(lines(tmp_path)) == 1


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    filled(tmp_path)

    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(ledger, "_lock", refuse)
    with pytest.raises(TenfoldError, match=r"cannot be locked \(No locks available\), as on some"):
        Archive(tmp_path)


def test_a_full_disk_is_told_and_the_archive_stays_readable(tmp_path, monkeypatch):
    archive = filled(tmp_path)

    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(TenfoldError, match=r"cannot be written \(No space left"):
            archive.put(star(6), method="hand")
    archive.put(spider(6), method="hand")
    assert Archive(tmp_path).edges(6) == 5


# Going on from a saved state


def test_a_view_is_the_archive_as_it_was_and_repeats_without_writing_twice(tmp_path):
    archive = Archive(tmp_path, GIRTH5)
    archive.put(path_graph(6), method="hand")
    offset = archive.offset()
    archive.put(star(6), method="hand")
    archive.put(PETERSEN, method="hand")
    view = Archive.until(tmp_path, offset)
    assert view.nodes() == [6]
    assert view.refresh() == []
    assert view.put(star(6), method="hand")
    assert not view.put(shuffled(star(6)), method="hand")
    assert view.offset() == len(b"".join(lines(tmp_path)[:2]))
    assert view.put(PETERSEN, method="hand")
    assert len(lines(tmp_path)) == 3
    assert view.put(spider(6), method="hand")
    assert len(lines(tmp_path)) == 4
    assert view.offset() == Archive(tmp_path).offset()


@pytest.mark.parametrize("offset", [5, 10**9])
def test_a_view_of_a_file_that_was_replaced_is_refused(tmp_path, offset):
    filled(tmp_path)
    with pytest.raises(TenfoldError, match=f"no line that ends at byte {offset}"):
        Archive.until(tmp_path, offset)


# Merging and exporting


def test_merging_keeps_what_is_new_with_its_history(tmp_path):
    one, other = filled(tmp_path / "one"), Archive(tmp_path / "other", GIRTH5)
    other.put(shuffled(PETERSEN), method="there")
    other.put(path_graph(7), method="there", seed=9)
    assert one.merge(other) == 1
    (find,) = one.best(7)
    assert (find.method, find.seed) == ("there", 9)
    assert find.time == other.best(7)[0].time
    assert one.best(10)[0].method == "hand"
    assert one.merge(other) == 0


def test_merging_checks_the_graphs(tmp_path):
    one, other = filled(tmp_path / "one"), filled(tmp_path / "other")
    other.put(path_graph(7), method="there")
    text = (tmp_path / "other" / "graphs.jsonl").read_bytes().splitlines()[-1]
    record = ledger._parse(text) | {"nodes": 4, "edges": 4, "graph": "Cr", "form": "x"}
    with (tmp_path / "other" / "graphs.jsonl").open("ab") as file:
        file.write(ledger._spell(record))
    with pytest.raises(TenfoldError, match="cycle of length 4"):
        one.merge(Archive(tmp_path / "other"))


def test_merging_another_problem_is_refused(tmp_path):
    other = Archive(tmp_path / "other", Problem(nodes=10, forbid="C4"))
    with pytest.raises(TenfoldError, match="is for 'forbid C3,C4', not for 'forbid C4'"):
        filled(tmp_path / "one").merge(other)


def test_export_writes_graphs_and_a_table_beside_them(tmp_path):
    archive = filled(tmp_path / "archive")
    assert archive.export(tmp_path / "best.s6", format="s6") == 2
    assert read_graphs(tmp_path / "best.s6") == [path_graph(5), PETERSEN]
    assert archive.export(tmp_path / "all.g6", format="g6", every=True) == 3
    assert read_graphs(tmp_path / "all.g6") == [path_graph(5), star(5), PETERSEN]
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = [(row["nodes"], row["edges"], row["known_lower"], row["upper"]) for row in rows]
    assert told == [("5", "4", "5", "5"), ("5", "4", "5", "5"), ("10", "15", "15", "15")]
    assert {(row["method"], row["seed"]) for row in rows} == {("hand", "3")}


def test_the_table_alone_is_written_as_markdown_or_csv(tmp_path):
    archive = filled(tmp_path / "archive")
    archive.export(tmp_path / "table.md", format="md")
    assert (tmp_path / "table.md").read_text().splitlines()[2:] == [
        "| 5 | 4 | 5 | 5 | hand | 3 |",
        "| 10 | 15 | 15 | 15 | hand | 3 |",
    ]
    assert archive.export(tmp_path / "table.csv", format="csv") == 2
    assert (tmp_path / "table.csv").read_text().startswith("nodes,edges,known_lower,upper,")


def test_an_empty_archive_is_exported_as_nothing(tmp_path):
    archive = Archive(tmp_path / "archive", GIRTH5)
    assert archive.export(tmp_path / "none.g6", format="g6") == 0
    assert (tmp_path / "none.g6").read_bytes() == b""


def test_an_archive_of_a_problem_with_files_works_from_any_folder(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    (here / "host.txt").write_text("# nodes 5\n0 1\n1 2\n2 3\n3 4\n4 0\n", "utf-8")
    asked = Problem(nodes=5, host="host.txt")
    Archive(here / "kept", asked).put(
        from_edges(5, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]), method="hand"
    )
    monkeypatch.chdir(elsewhere)
    (here / "host.txt").rename(elsewhere / "moved.txt")
    archive = Archive(here / "kept")
    assert archive.best(5)[0].graph.size == 5
    assert not find_faults(archive.best(5)[0].graph, archive.problem)
    Archive(here / "kept", Problem(nodes=5, host="moved.txt"))  # the same graph: the same problem
