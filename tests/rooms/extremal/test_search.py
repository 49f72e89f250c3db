"""One search: exact values, repeatable by seed and flips, exact resume, starts, degrees, groups."""

from dataclasses import replace

import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.codecs import encode_graph6, write_graphs
from tenfold.rooms.extremal.graph import empty, from_edges
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.records import record_rows
from tenfold.rooms.extremal.search import open_searcher, search
from tenfold.rooms.extremal.verify import find_faults

EXACT = known("C3,C4")


@pytest.mark.parametrize("nodes", [3, 10, 19, 24, 32, 40])
def test_exact_values_are_found_from_the_empty_graph(nodes):
    found = search(Problem(nodes=nodes), minutes=0.5)
    assert found.edges == EXACT[nodes].lower == found.upper.value
    assert found.optimal
    assert not find_faults(found.graph, Problem(nodes=nodes))


@pytest.mark.parametrize(("forbid", "nodes"), [("C4", 16), ("C3,C4,C5", 20), ("C3", 12)])
def test_other_sets_reach_their_exact_values(forbid, nodes):
    found = search(Problem(nodes=nodes, forbid=forbid), minutes=0.5)
    assert found.optimal


SETTINGS = config.Search(problem=Problem(nodes=54), flips=60_000, round_flips=4_000)


def run_through(cfg, **more):
    searcher = open_searcher(cfg, **more)
    for _ in range(cfg.steps):
        searcher.update()
    searcher.close()
    return searcher


def trace_of(searcher):
    return [(moment.flips, moment.edges) for moment in searcher.trace]


@pytest.mark.parametrize("method", ["auto", "tabu", "anneal", "greedy"])
def test_equal_seeds_and_flips_give_equal_searches(method):
    cfg = replace(SETTINGS, method=method)
    one, two = run_through(replace(cfg, threads=1)), run_through(replace(cfg, threads=2))
    assert one.best == two.best
    assert trace_of(one) == trace_of(two)
    other = run_through(replace(cfg, seed=1))
    assert other.best != one.best


@pytest.mark.parametrize("method", ["ils", "tabu", "anneal", "greedy"])
def test_a_search_goes_on_exactly_from_its_state(method):
    cfg = replace(SETTINGS, method=method)
    whole, first = run_through(cfg), open_searcher(cfg)
    for _ in range(3):
        first.update()
    tensors, values = first.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    second = open_searcher(cfg)
    second.load_state(tensors, values)
    for _ in range(3, cfg.steps):
        second.update()
    assert second.best == whole.best
    assert trace_of(second) == trace_of(whole)
    assert second.flips == whole.flips


def test_the_flips_of_a_timed_search_find_the_graph_again():
    problem = Problem(nodes=54)
    timed = search(problem, minutes=0.02, chains=1)
    moment = timed.trace[-1]
    again = search(problem, flips=2 * moment.flips + 200_000, chains=1)
    assert (moment.flips, moment.edges) in [(each.flips, each.edges) for each in again.trace]


def test_a_search_stops_at_its_target():
    found = search(Problem(nodes=54), target=150, flips=10_000_000)
    assert found.edges >= 150
    assert found.flips < 1_000_000


def test_improvements_go_to_the_archive_at_once(tmp_path):
    archive = Archive(tmp_path / "archive", Problem(nodes=20))
    found = search(Problem(nodes=20), archive=archive, minutes=0.5)
    assert archive.edges(20) == found.edges == 41
    assert Archive(tmp_path / "archive").best(20)[0].method == "ils"


# Starts


def test_a_search_begins_from_a_graph_and_never_ends_below_it():
    start = construct("hoffman-singleton")
    found = search(Problem(nodes=52), start=start, flips=20_000)
    assert found.edges >= 177


def test_a_search_begins_from_a_file_of_several_graphs(tmp_path):
    write_graphs(tmp_path / "two.g6", [construct("petersen"), construct("cycle:9")], format="g6")
    cfg = config.Search(problem=Problem(nodes=10), start=str(tmp_path / "two.g6"), flips=1_000)
    assert [walker.opening.graph.size for walker in open_searcher(cfg).walkers] == [15, 9]


def test_an_amalgam_is_kept_before_its_edges_move():
    problem = Problem(nodes=32)
    cfg = config.Search(problem=problem, start="amalgam:C,q=4,k=4,l=4", flips=40_000)
    searcher = run_through(cfg)
    base = construct("amalgam:C,q=4,k=4,l=4")
    rows = {tuple(edge) for edge in searcher.best.edges.tolist()}
    assert {tuple(edge) for edge in base.edges.tolist()} <= rows
    assert searcher.edges > base.size


def test_structured_starts_are_cut_to_size():
    cfg = config.Search(problem=Problem(nodes=30), start="structured", flips=20_000, chains=3)
    searcher = run_through(cfg)
    assert len({walker.opening.text for walker in searcher.walkers}) == 3
    assert searcher.edges >= 70


def test_a_search_begins_from_neighbours_in_the_archive(tmp_path):
    archive = Archive(tmp_path, Problem(nodes=20))
    archive.put(construct("hoffman-singleton"), method="named")
    for nodes in (48, 51):
        found = search(Problem(nodes=nodes), start="archive", archive=archive, flips=2_000)
        assert found.edges >= {48: 161, 51: 175}[nodes]
    with pytest.raises(TenfoldError, match="no graph on 26 to 34 nodes"):
        search(Problem(nodes=30), start="archive", archive=archive, flips=2_000)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("g6:" + encode_graph6(from_edges(4, [(0, 1), (1, 2), (0, 2)])), "cycle of length 3"),
        ("hoffman-singleton", "has 50 nodes, the problem only 20"),
        ("petersson", "did you mean petersen"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start, told):
    with pytest.raises(TenfoldError, match=told):
        search(Problem(nodes=20), start=start, flips=1_000)


# What else is asked


def test_regular_graphs_are_found():
    found = search(Problem(nodes=19, regular=4), flips=4_000_000)
    assert set(found.graph.degrees()) == {4}
    assert found.optimal


def test_degrees_that_are_not_met_are_told():
    with pytest.raises(TenfoldError, match="no graph that fits was met"):
        search(Problem(nodes=26, regular=5), flips=4_000)


def test_frozen_edges_stay_and_the_host_is_kept():
    frozen = from_edges(14, [(0, 7), (1, 8)])
    problem = Problem(nodes=14, host="bipartite:7,7", frozen=f"g6:{encode_graph6(frozen)}")
    found = search(problem, flips=400_000, target=21)
    assert found.edges == 21
    assert not find_faults(found.graph, problem)


def test_frozen_edges_with_a_short_cycle_are_refused():
    triangle = encode_graph6(from_edges(9, [(0, 1), (1, 2), (0, 2)]))
    with pytest.raises(TenfoldError, match="the frozen edges alone: cycle of length 3"):
        search(Problem(nodes=9, frozen=f"g6:{triangle}"), flips=1_000)


def test_a_group_is_kept_and_goes_on_exactly():
    problem = Problem(nodes=50, group="Z5")
    cfg = config.Search(problem=problem, flips=60_000, round_flips=8_000)
    whole, first = run_through(cfg), open_searcher(cfg)
    first.update()
    second = open_searcher(cfg)
    second.load_state(*first.state())
    for _ in range(1, cfg.steps):
        second.update()
    assert not find_faults(whole.best, problem)
    assert whole.best == second.best


def test_a_group_with_a_least_degree_finds_a_legal_graph_and_goes_on_exactly():
    problem = Problem(nodes=14, group="Z7", min_degree=3)
    for seed in range(3):
        found = search(problem, flips=40_000, seed=seed)
        assert found.edges == 21
        assert not find_faults(found.graph, problem)
    cfg = config.Search(problem=problem, flips=40_000, round_flips=4_000)
    whole, first = run_through(cfg), open_searcher(cfg)
    first.update()
    second = open_searcher(cfg)
    second.load_state(*first.state())
    for _ in range(1, cfg.steps):
        second.update()
    assert whole.best == second.best


def test_a_search_under_a_group_does_not_rest_on_an_illegal_graph_at_its_target():
    problem = Problem(nodes=14, group="Z7", min_degree=3)
    assert search(problem, flips=40_000, target=21).graph.degrees().min() == 3


def test_a_start_or_frozen_graph_without_the_symmetry_is_refused_at_once():
    edge = "g6:" + encode_graph6(from_edges(10, [(0, 1)]))
    cfg = config.Search(problem=Problem(nodes=10, group="Z5"), start=edge)
    with pytest.raises(TenfoldError, match="start a graph has the edge 0 - 1 but not all"):
        open_searcher(cfg)
    cfg = config.Search(problem=Problem(nodes=10, group="Z5", frozen=edge))
    with pytest.raises(TenfoldError, match="frozen has the edge 0 - 1 but not all"):
        open_searcher(cfg)


@pytest.mark.parametrize("asked", [{"max_degree": 3}, {"group": "Z2"}, {"host": "bipartite:7,7"}])
def test_a_restricted_problem_is_not_measured_by_the_table(asked, tmp_path):
    problem = Problem(nodes=14, **asked)
    searcher = open_searcher(config.Search(problem=problem, flips=1_000))
    assert "gap_known" not in searcher.measures()
    archive = Archive(tmp_path, problem)
    archive.put(empty(14), method="hand")
    (row,) = record_rows(archive)
    assert (row["known"], row["over"], row["upper"]) == (None, None, searcher.upper.value)


def test_found_tells_every_gain_in_order():
    found = search(Problem(nodes=30), minutes=0.5)
    edges = [moment.edges for moment in found.trace]
    assert edges == sorted(set(edges))
    assert edges[-1] == found.edges == found.certificate.edges
    assert found.method == "ils"
    assert found.start == "empty"


# Configs


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"chains": 0}, r"chains \(0\)"),
        ({"round_flips": 0}, r"round_flips \(0\)"),
        ({"patience": -2}, r"patience \(-2\)"),
        ({"flips": -1}, r"flips \(-1\)"),
        ({"minutes": 0.0}, r"minutes \(0.0\)"),
        ({"start": "archive"}, "no archive is named"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(change, told):
    with pytest.raises(ValueError, match=told):
        config.Search(**change)


def test_rounds_grow_and_add_up_to_the_budget():
    sizes = config.round_sizes(100_001, most=16_000)
    assert sum(sizes) == 100_001
    assert sizes[:4] == [2_000, 4_000, 8_000, 16_000]
    assert max(sizes) == 16_000


def test_nothing_is_found_on_problems_without_edges():
    found = search(Problem(nodes=2), flips=100)
    assert found.graph == from_edges(2, [(0, 1)])
    assert search(Problem(nodes=3, frozen="g6:" + encode_graph6(empty(3))), flips=100).edges == 2


# Methods that are no chains


@pytest.mark.parametrize(
    ("method", "nodes", "flips"),
    [("tabu-curriculum", 8, 30_000), ("ce", 6, 15_000), ("az-curriculum", 6, 8_000)],
)
def test_methods_that_climb_or_learn_are_behind_the_same_call(method, nodes, flips, tmp_path):
    found = search(Problem(nodes=nodes), method=method, flips=flips, seed=1, archive=tmp_path)
    assert found.method == method
    assert found.edges <= found.upper.value == {6: 6, 8: 10}[nodes]
    assert found.flips >= flips or found.optimal
    assert Archive(tmp_path).edges(nodes) == found.edges
    assert found.optimal or method == "ce"


@pytest.mark.parametrize("method", ["ce", "az", "tabu-curriculum"])
@pytest.mark.parametrize("change", [{"start": "petersen"}, {"target": 9}, {"chains": 3}])
def test_what_a_method_would_not_look_at_is_refused_by_name(method, change, tmp_path):
    (name,) = change
    with pytest.raises(TenfoldError, match=f"method {method} takes no {name}"):
        search(Problem(nodes=10), method=method, flips=10, archive=tmp_path / "none", **change)
    assert not (tmp_path / "none").exists()


def test_a_method_that_cannot_keep_to_the_problem_is_refused_before_it_runs():
    with pytest.raises(TenfoldError, match=r"ce knows only forbid C3,C4.*asks forbid C4"):
        search(Problem(nodes=9, forbid="C4"), method="ce", flips=10)
    with pytest.raises(TenfoldError, match=r"az works on several sizes.*max_degree 3"):
        search(Problem(nodes=9, max_degree=3), method="az", flips=10)
    with pytest.raises(TenfoldError, match="tabu-curriculum"):
        search(Problem(nodes=9), method="tabu-curiculum", flips=10)
