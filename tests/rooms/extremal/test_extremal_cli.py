"""The room's command line: each verb does its work, each fault of the user is one sentence."""

import csv
import json

import pytest

from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.codecs import encode_graph6, read_graphs, write_graphs
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults


@pytest.fixture
def told(command):
    """Return a function that runs a verb of the room and gives its result as data."""

    def run(*words):
        code, out, err = command("extremal", *words, "--json")
        assert code == 0, err
        return json.loads(out)

    return run


@pytest.fixture
def archive(tmp_path):
    """Return an archive with three graphs."""
    found = Archive(tmp_path / "archive", Problem(nodes=10))
    for name in ("petersen", "robertson", "hoffman-singleton"):
        found.put(construct(name), method="named", start=name)
    return found


# Runs


def test_search_writes_the_graph_and_tells_its_certificate(told, tmp_path):
    run = tmp_path / "run"
    result = told("search", "--nodes", 20, "--minutes", 0.5, "--path", run, "--quiet")
    assert result["edges"] == result["upper"] == result["known_lower"] == 41
    assert result["optimal"]
    (graph,) = read_graphs(run / "out" / "best.s6")
    assert not find_faults(graph, Problem(nodes=20))
    assert json.loads((run / "out" / "best.json").read_text())["edges"] == 41


def test_a_stopped_search_goes_on_to_the_same_result(told, command, tmp_path):
    words = ("search", "--nodes", 54, "--flips", 40_000, "--round-flips", 4_000, "--quiet")
    whole = told(*words, "--path", tmp_path / "whole")
    run = tmp_path / "halves"
    code, _, err = command("extremal", *words, "--path", run, "--stop-after", 2)
    assert (code, "tenfold runs resume" in err) == (130, True)
    code, out, _ = command("runs", "resume", run, "--quiet", "--json")
    assert code == 0
    assert json.loads(out)["graph6"] == whole["graph6"]


def test_ladder_fills_a_table(told, tmp_path):
    words = ("--from", 18, "--to", 22, "--pieces", 16, "--piece-flips", 4_000, "--quiet")
    result = told("ladder", *words, "--archive", tmp_path / "archive", "--path", tmp_path / "run")
    assert [row["nodes"] for row in result["records"]] == [18, 19, 20, 21, 22]
    assert result["counts"]["sizes"] >= 3
    assert (tmp_path / "run" / "out" / "best.s6").exists()
    edges = {row["nodes"]: row["edges"] for row in result["records"] if row["edges"]}
    kept = Archive(tmp_path / "archive")
    assert edges == {nodes: kept.edges(nodes) for nodes in kept.nodes() if 18 <= nodes <= 22}


def test_a_ladder_takes_a_saved_config_by_from_run(command, tmp_path):
    words = ("ladder", "--from", 18, "--to", 19, "--pieces", 2, "--piece-flips", 500, "--quiet")
    assert command("extremal", *words, "--path", tmp_path / "one")[0] == 0
    code, out, _ = command("extremal", "ladder", "--from-run", tmp_path / "one", "--dry-run")
    assert code == 0
    assert "piece_flips" in out
    assert "500" in out
    code, out, _ = command("runs", "show", tmp_path / "one")
    assert "ladder" in out


def test_compare_gives_every_method_the_same_budget(told, tmp_path):
    words = ("--nodes", 16, "--flips", 4_000, "--seeds", 0, 1, "--quiet")
    methods = ("--methods", "ils", "tabu", "tabu-curriculum", "greedy")
    result = told("compare", *words, *methods, "--path", tmp_path / "run")
    rows = {row["method"]: row for row in result["methods"]}
    assert set(rows) == set(methods[1:])
    assert all(len(row["edges"]) == 2 for row in rows.values())
    assert rows["ils"]["gap"] <= rows["greedy"]["gap"]
    again = told("compare", *words, *methods, "--path", tmp_path / "run")
    assert again == result


def test_cross_entropy_learns(told, tmp_path):
    words = ("ce", "--nodes", 8, "--sessions", 60, "--iterations", 3, "--quiet")
    result = told(*words, "--archive", tmp_path / "archive", "--path", tmp_path / "run")
    assert 5 <= result["edges"] <= 10
    assert Archive(tmp_path / "archive").edges(8) == result["edges"]


def test_alphazero_trains_and_its_network_searches(told, tmp_path):
    game = ("--sizes", 5, 6, "--games", 4, "--network.width", 8, "--search.simulations", 4)
    words = ("az", "train", *game, "--learn.steps", 1, "--iterations", 2, "--quiet")
    result = told(*words, "--path", tmp_path / "trained")
    assert [row["nodes"] for row in result["records"]] == [5, 6]
    search = ("az", "search", "--nodes", 6, "--flips", 200, "--quiet")
    found = told(*search, "--run", tmp_path / "trained", "--path", tmp_path / "found")
    assert 4 <= found["edges"] <= 6
    control = told(*search, "--random", "--path", tmp_path / "control")
    assert control["edges"] <= 6


# Tools


def test_construct_writes_what_it_builds(told, tmp_path):
    result = told("construct", "hoffman-singleton", "--out", tmp_path / "hs.s6")
    assert (result["nodes"], result["edges"], result["girth"]) == (50, 175, 5)
    assert result["automorphisms"] == 252_000
    assert read_graphs(tmp_path / "hs.s6") == [construct("hoffman-singleton")]


def test_lift_finds_a_cayley_graph_and_keeps_it(told, tmp_path):
    result = told("lift", "Z13", "--tries", 5, "--archive", tmp_path / "archive")
    assert result["edges"] == Archive(tmp_path / "archive").edges(13) > 0
    assert "connection set" in result["choice"]
    lifted = told("lift", "Z5", "--base", "dumbbell:1", "--tries", 5)
    assert (lifted["nodes"], lifted["edges"]) == (10, 15)


def test_polish_gains_edges(told, tmp_path):
    graph = from_edges(20, [(i, i + 1) for i in range(19)])
    write_graphs(tmp_path / "path.g6", [graph], format="g6")
    words = ("--flips", 40_000, "--out", tmp_path / "better.g6", "--format", "g6", "--quiet")
    result = told("polish", tmp_path / "path.g6", *words)
    assert result["graphs"][0]["gained"] > 15
    assert read_graphs(tmp_path / "better.g6")[0].size == result["graphs"][0]["edges"]


def test_verify_tells_certificates_and_faults(command, tmp_path):
    bad = from_edges(4, [(0, 1), (1, 2), (0, 2)])
    write_graphs(tmp_path / "both.g6", [construct("petersen"), bad], format="g6")
    code, out, _ = command("extremal", "verify", tmp_path / "both.g6", "--json")
    good, fault = json.loads(out)
    assert code == 1
    assert good["fits"]
    assert "girth 5" in good["certificate or faults"]
    assert fault["certificate or faults"] == "cycle of length 3 through nodes 0 - 1 - 2"
    assert command("extremal", "verify", tmp_path / "both.g6", "--forbid", "C7")[0] == 0


def test_records_show_an_archive_beside_a_table_of_ones_own(told, archive, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("nodes,lower,upper,source\n50,180,190,a dream\n")
    result = told("records", archive.path, "--table", table, "--out", tmp_path / "records.csv")
    over = {row["nodes"]: row["over"] for row in result["records"]}
    assert over == {10: 0, 19: 0, 50: -5}
    rows = list(csv.DictReader((tmp_path / "records.csv").read_text().splitlines()))
    assert rows[2]["source"] == "a dream"
    some = told("records", archive.path, "--from", 18, "--to", 20)
    assert [row["edges"] for row in some["records"]] == [None, 38, None]


def test_classes_are_counted_with_the_orders_of_their_groups(told, archive, tmp_path):
    first = construct("petersen")
    other = from_edges(10, [(9 - u, 9 - v) for u, v in first.edges.tolist()])
    write_graphs(tmp_path / "two.g6", [first, other], format="g6")
    row = told("classes", tmp_path / "two.g6", "--out", tmp_path / "one.g6")["sizes"][0]
    assert (row["classes"], row["group orders"]) == (1, "120^1")
    assert len(read_graphs(tmp_path / "one.g6")) == 1
    (row,) = told("classes", archive.path, "--nodes", 10)["sizes"]
    assert (row["classes"], row["known"]) == (1, 1)


def test_bound_tells_its_rule(told):
    rows = told("bound", "--nodes", 50, "--to", 54)
    assert [row["upper"] for row in rows] == [175, 176, 178, 181, 187]
    assert "A006856" in rows[0]["rule"]


def test_exact_solves_a_small_amalgam(told, tmp_path):
    words = ("--amalgam", "amalgam:C,q=3,k=3,l=3", "--solver", "highs", "--seconds", 20)
    result = told("exact", *words, "--archive", tmp_path / "archive")
    assert result["status"] == "optimal"
    assert Archive(tmp_path / "archive").edges(18) == result["edges"] == result["bound"]


def test_archives_are_shown_merged_and_exported(told, archive, tmp_path):
    other = Archive(tmp_path / "other", Problem(nodes=10))
    other.put(construct("cage:5"), method="named")
    write_graphs(tmp_path / "mine.g6", [construct("cage:6")], format="g6")
    words = ("archive", "merge", archive.path, other.path, tmp_path / "mine.g6", "--by", "me")
    assert [row["kept"] for row in told(*words)["merged"]] == [1, 1]
    shown = told("archive", "show", archive.path)
    assert [row["nodes"] for row in shown["best"]] == [10, 19, 30, 40, 50]
    exported = told("archive", "export", archive.path, "--out", tmp_path / "all.s6")
    assert exported["graphs"] == len(read_graphs(tmp_path / "all.s6")) == 5
    assert Archive(archive.path).best(40)[0].by == "me"


def test_a_merge_begins_an_archive_that_is_not_there(told, command, archive, tmp_path):
    write_graphs(tmp_path / "mine.g6", [construct("cage:6")], format="g6")
    new = tmp_path / "new"
    fails(command, "archive", "merge", new, tmp_path / "mine.g6", told="is no archive yet")
    assert not new.exists()
    result = told("archive", "merge", new, archive.path, tmp_path / "mine.g6")
    assert [row["kept"] for row in result["merged"]] == [3, 1]
    assert result["warnings"] is None
    assert Archive(new).nodes() == [10, 19, 40, 50]


def test_a_broken_line_of_a_source_is_not_dropped_silently(told, command, archive, tmp_path):
    file = archive.path / "graphs.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:60], lines[2]]) + "\n")
    words = ("archive", "merge", tmp_path / "new", archive.path)
    fails(command, *words, told="line 2 is cut off")
    assert not (tmp_path / "new").exists()
    result = told(*words, "--skip-broken")
    assert "line 2 is cut off" in result["warnings"]
    assert Archive(tmp_path / "new").nodes() == [10, 50]


def test_verify_takes_a_text(told):
    (row,) = told("verify", f"g6:{encode_graph6(construct('petersen'))}")
    assert row["fits"]


def test_exact_keeps_to_a_group_and_to_the_archive_of_its_problem(told, command, tmp_path):
    words = ("exact", "--nodes", 10, "--group", "Z5", "--solver", "highs", "--seconds", 30)
    result = told(*words, "--archive", tmp_path / "archive", "--out", tmp_path / "best.g6")
    assert (result["status"], result["edges"]) == ("optimal", 15)
    assert Archive(tmp_path / "archive").problem.group == "Z5"
    other = Archive(tmp_path / "other", Problem(nodes=10)).path
    fails(command, *words, "--archive", other, told="is for 'forbid C3,C4', not for")


def test_draw_tells_faults(command, tmp_path):
    words = ("draw", "g6:Bw", "--out", tmp_path / "page.html", "--json")
    code, out, err = command("extremal", *words)
    assert code == 0
    assert "cycle of length 3" in json.loads(out)["faults"]
    assert "cycle of length 3" in err


def test_draw_makes_a_page(told, tmp_path):
    page = tmp_path / "petersen.html"
    assert told("draw", "petersen", "--out", page)["edges"] == 15
    assert "<svg" in page.read_text()


# Faults


def write(file, text):
    file.write_text(text)
    return file


def bad_graph6():
    text = encode_graph6(construct("petersen"))
    yield text[:-1], "the text ends after character 8; graph6 of 10 nodes has 9, this text 8"
    yield text[:4] + "!" + text[5:], "character 5 is '!'"
    yield text[:-1] + "~", "bits set in the padding"


@pytest.mark.parametrize("number", range(3))
def test_a_broken_graph6_names_the_place(command, tmp_path, number):
    text, words = list(bad_graph6())[number]
    file = write(tmp_path / "bad.g6", text + "\n")
    out = tmp_path / "out.g6"
    for verb in (("verify", file), ("polish", file, "--out", out), ("draw", file, "--out", out)):
        fails(command, *verb, told=words)
    assert not out.exists()


def fails(command, *words, told):
    """Expect exit code 2 and one sentence with these words."""
    code, out, err = command("extremal", *words)
    assert (code, out) == (2, ""), err
    assert told in err
    assert err.count("\n") == 1
    assert err.startswith("tenfold: ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--nodes", 21, "--regular", 5), "odd sum of degrees 105"),
        (("--nodes", 20, "--min-degree", 5), "Moore's bound"),
        (("--nodes", 2000), "the table's limit"),
        (("--nodes", 20, "--max-degree", 3, "--min-degree", 4), "above max_degree 3"),
        (("--forbid", "C9"), "forbid has 'C9'"),
        (("--nodes", 20, "--host", "bipartite:5,5"), "has 10 nodes, the problem 20"),
        (("--nodes", 20, "--group", "Z7"), "does not divide 20 nodes"),
        (("--start", "g6:Bw"), "cycle of length 3 through nodes 0 - 1 - 2"),
        (("--start", "nowhere.g6"), "unknown graph 'nowhere.g6'"),
        (("--nodes", 10, "--group", "Z5", "--start", "g6:A_"), "not all its images under Z5"),
        (("--flips", -1), "flips (-1)"),
    ],
)
def test_a_search_refuses_before_it_makes_a_run(command, tmp_path, options, told):
    fails(command, "search", *options, "--runs", tmp_path, told=told)
    assert not list(tmp_path.iterdir())


def test_a_ladder_refuses_what_is_no_ladder(command, tmp_path):
    for options, told in (
        (("--from", 30, "--to", 20), "from 30 to 20"),
        (("--to", 2000), "<= 1024"),
        (("--workers", "many"), "workers ('many')"),
        (("--from", 10, "--to", 20, "--min-degree", 4), "Moore's bound"),
    ):
        fails(command, "ladder", *options, "--runs", tmp_path, told=told)
    assert not list(tmp_path.iterdir())


def test_an_archive_of_another_problem_is_refused_with_both_named(command, archive, tmp_path):
    before = (archive.path / "graphs.jsonl").read_bytes()
    for words in (
        ("search", "--nodes", 12, "--forbid", "C4", "--archive", archive.path),
        ("ladder", "--from", 10, "--to", 12, "--forbid", "C4", "--archive", archive.path),
        ("lift", "Z13", "--forbid", "C4", "--archive", archive.path),
    ):
        code, out, err = command("extremal", *words, "--runs", tmp_path / "runs")
        assert (code, out) == (2, "")
        assert "'forbid C3,C4', not for 'forbid C4'" in err
    other = Archive(tmp_path / "other", Problem(nodes=10, forbid="C4"))
    fails(command, "archive", "merge", archive.path, other.path, told="not for 'forbid C4'")
    assert (archive.path / "graphs.jsonl").read_bytes() == before
    assert not (tmp_path / "runs").exists()


def test_a_cut_line_of_an_archive_is_named_and_the_rest_kept(command, told, archive):
    file = archive.path / "graphs.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:60], lines[2]]) + "\n")
    before = file.read_bytes()
    for words in (("archive", "show"), ("records",), ("classes",)):
        fails(command, *words, archive.path, told="line 2 is cut off")
    shown = told("archive", "show", archive.path, "--skip-broken")
    assert [row["nodes"] for row in shown["best"]] == [10, 50]
    assert file.read_bytes() == before


def test_a_file_with_one_bad_graph_is_not_merged_in_part(command, archive, tmp_path):
    bad = from_edges(4, [(0, 1), (1, 2), (0, 2)])
    write_graphs(tmp_path / "both.g6", [construct("cage:5"), bad], format="g6")
    words = ("archive", "merge", archive.path, tmp_path / "both.g6")
    fails(command, *words, told="graph 2: cycle of length 3")
    assert Archive(archive.path).nodes() == [10, 19, 50]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("construct", "petersan"), "did you mean petersen"),
        (("lift", "Q8"), "group 'Q8'"),
        (("lift", "Z5", "--tries", 0), "tries (0)"),
        (("archive", "show", "nowhere"), "is no archive"),
        (("archive", "export", "nowhere"), "give --out FILE"),
        (("archive", "merge", "nowhere"), "name archives or files"),
        (("archive", "show", "one", "two"), "leave two out"),
        (
            ("exact", "--amalgam", "amalgam:C,q=3,k=3,l=3", "--regular", 3),
            "an amalgam is filled without max_degree, min_degree",
        ),
        (("draw", "petersen", "--min-degree", 20), "on 10 nodes give 0 to 9"),
        (("bound", "--nodes", 50, "--to", 20), "to is 20, below the 50 nodes"),
        (("compare", "--methods", "guess"), "methods ['guess']"),
        (("compare", "--seeds", 1, 1), "seeds [1, 1]"),
        (("compare", "--seconds", 0), "seconds (0.0)"),
        (("compare", "--workers", 0), "workers (0)"),
        (("ce", "--minutes", 0), "0.0 minutes is none"),
        (("az", "search", "--nodes", 2), "nodes (2)"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_one_sentence(command, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    fails(command, *words, told=told)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_is_not_in_the_file_is_named(command, tmp_path):
    write_graphs(tmp_path / "one.g6", [construct("petersen")], format="g6")
    fails(command, "draw", tmp_path / "one.g6", "--number", 2, told="has 1 graphs")


def test_a_search_is_no_run_of_training(command, told, tmp_path):
    told("search", "--nodes", 5, "--quiet", "--path", tmp_path / "run")
    code, _, err = command("extremal", "az", "search", "--run", tmp_path / "run", "--quiet")
    assert code == 2, err
