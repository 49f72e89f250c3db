"""What is asked for: words, limits, hosts, frozen edges, names of families."""

import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.named import construct, cycle, petersen
from tenfold.rooms.extremal.problem import (
    Forbidden,
    Problem,
    host_graph,
    moore_bound,
    open_problem,
    read_forbidden,
    resize,
)

PATH = from_edges(4, [(0, 1), (1, 2), (2, 3)])


def spell(graph) -> str:
    return f"g6:{encode_graph6(graph)}"


# Forbidden subgraphs


@pytest.mark.parametrize(
    ("text", "lengths", "codegree"),
    [
        ("C3,C4", (3, 4), 0),
        ("c4, 3", (3, 4), 0),
        ("girth5", (3, 4), 0),
        ("girth>=6", (3, 4, 5), 0),
        ("girth9", (3, 4, 5, 6, 7, 8), 0),
        ("C8,girth4", (3, 8), 0),
        ("K2_3", (), 3),
        ("k2:2,C5", (5,), 2),
        ("K2_12,C3", (3,), 12),
    ],
)
def test_forbidden_subgraphs_are_read_from_words(text, lengths, codegree):
    assert read_forbidden(text) == Forbidden(lengths, codegree)


@pytest.mark.parametrize("text", ["C3,C4", "C5", "K2_3", "C3,K2_2"])
def test_forbidden_subgraphs_are_spelled_as_they_are_read(text):
    assert str(read_forbidden(text)) == text


@pytest.mark.parametrize(
    "word", ["C2", "C9", "girth3", "girth10", "K2_1", "K3_3", "", "C3;C4", "K2"]
)
def test_other_words_are_refused_by_name(word):
    with pytest.raises(ValueError, match=f"forbid has {word!r}; give C3 to C8"):
        read_forbidden(word)
    with pytest.raises(ValueError, match=f"forbid has {word!r}"):
        Problem(forbid=f"C5,{word}")


def test_equal_problems_are_equal_however_they_are_spelled():
    assert Problem(forbid="girth5") == Problem(forbid="4,C3")
    assert Problem(forbid="girth5").forbidden == Forbidden((3, 4))


# Limits


@pytest.mark.parametrize("nodes", [1, 0, -3, 1025])
def test_the_number_of_nodes_has_limits(nodes):
    with pytest.raises(ValueError, match=f"nodes is {nodes}; give 2 to 1024"):
        Problem(nodes=nodes)
    assert Problem(nodes=1024).nodes == 1024


@pytest.mark.parametrize("name", ["max_degree", "min_degree"])
@pytest.mark.parametrize("value", [-1, 10])
def test_degrees_lie_between_zero_and_the_other_nodes(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; on 10 nodes give 0 to 9"):
        Problem(nodes=10, **{name: value})


def test_the_least_degree_is_not_above_the_largest():
    with pytest.raises(ValueError, match="min_degree 4 is above max_degree 3"):
        Problem(nodes=30, min_degree=4, max_degree=3)
    assert Problem(nodes=30, min_degree=4).max_degree == 0


def test_a_regular_graph_has_an_even_sum_of_degrees():
    with pytest.raises(ValueError, match="on 11 nodes has an odd sum of degrees 33"):
        Problem(nodes=11, min_degree=3, max_degree=3)
    Problem(nodes=11, min_degree=3, max_degree=4)
    Problem(nodes=12, min_degree=3, max_degree=3)
    with pytest.raises(ValueError, match=r"regular 3 .* on 9 nodes has an odd sum"):
        Problem(nodes=9, regular=3)
    with pytest.raises(ValueError, match="regular 3 without C3,C4 needs 10 nodes"):
        Problem(nodes=8, regular=3)


@pytest.mark.parametrize(
    ("text", "degree", "least"),
    [("C3", 3, 6), ("C3,C4", 3, 10), ("girth6", 3, 14), ("girth7", 3, 22), ("girth8", 3, 30)],
)
def test_moores_bound_is_met_by_the_known_cages_or_below(text, degree, least):
    # K_3,3, Petersen, Heawood, (McGee has 24), Tutte-Coxeter.
    assert moore_bound(degree, read_forbidden(text)) == least
    with pytest.raises(ValueError, match=rf"needs {least} nodes or more \(Moore's bound\)"):
        Problem(nodes=least - 1, forbid=text, min_degree=degree)
    Problem(nodes=least, forbid=text, min_degree=degree)


def test_moores_bound_counts_only_lengths_that_are_all_forbidden():
    assert moore_bound(5, read_forbidden("C4,C5")) == 6
    assert moore_bound(0, read_forbidden("C3,C4")) == 0
    assert moore_bound(7, read_forbidden("C3,C4")) == construct("hoffman-singleton").nodes


# Hosts and frozen edges


def test_without_a_host_every_pair_is_allowed():
    opened = open_problem(Problem(nodes=5))
    assert opened.allowed.sum() == 20
    assert not opened.allowed.diagonal().any()
    assert opened.frozen.size == 0


def test_a_bipartite_host_allows_pairs_across():
    found = host_graph("bipartite:2,3", 5)
    assert found.edges.tolist() == [[0, 2], [0, 3], [0, 4], [1, 2], [1, 3], [1, 4]]


def test_a_hypercube_joins_nodes_that_differ_in_one_bit():
    found = host_graph("hypercube:4", 16)
    assert found.size == 4 * 16 // 2
    assert all((u ^ v).bit_count() == 1 for u, v in found.edges.tolist())


def test_hosts_and_frozen_edges_are_read_from_texts_and_files(tmp_path):
    file = tmp_path / "host.g6"
    file.write_text(f"{encode_graph6(PATH)}\n{encode_graph6(cycle(4))}\n")
    for host in (spell(PATH), str(file)):
        opened = open_problem(Problem(nodes=4, host=host, frozen=spell(from_edges(4, [(1, 2)]))))
        assert (opened.allowed == PATH.adjacency()).all()
        assert opened.frozen == from_edges(4, [(1, 2)])


@pytest.mark.parametrize("host", ["bipartite:2,3", "hypercube:3", spell(PATH)])
def test_a_host_of_another_size_is_refused(host):
    with pytest.raises(TenfoldError, match=r"has \d nodes, the problem 7; make them equal"):
        open_problem(Problem(nodes=7, host=host))


def test_a_file_of_edges_that_lacks_nodes_is_told_how_to_begin(tmp_path):
    file = tmp_path / "frozen.txt"
    file.write_text("0 1\n1 2\n")
    with pytest.raises(TenfoldError, match='begin the file with "# nodes 5"'):
        open_problem(Problem(nodes=5, frozen=str(file)))
    file.write_text("# nodes 5\n0 1\n1 2\n")
    assert open_problem(Problem(nodes=5, frozen=str(file))).frozen.size == 2


def test_frozen_edges_of_another_size_are_refused():
    with pytest.raises(TenfoldError, match="has 4 nodes, the problem 5"):
        open_problem(Problem(nodes=5, frozen=spell(PATH)))


def test_a_frozen_edge_outside_the_host_is_refused_by_name():
    problem = Problem(nodes=4, host="bipartite:2,2", frozen=spell(PATH))
    with pytest.raises(TenfoldError, match="frozen edge 0 - 1 is no edge of the host"):
        open_problem(problem)


# Families


def test_a_family_is_all_that_is_asked_but_the_number_of_nodes():
    problem = Problem(nodes=12, forbid="girth5", min_degree=2, max_degree=3, group="Z3")
    family = problem.family()
    for word in ("forbid C3,C4", "group Z3", "min_degree 2", "max_degree 3"):
        assert word in family.split("; ")
    assert "12" not in family
    assert resize(problem, 15).family() == family
    assert Problem(nodes=12).family() == "forbid C3,C4"


def test_a_file_is_named_by_what_is_in_it(tmp_path):
    first, second, third = (tmp_path / name for name in ("a.g6", "b.g6", "c.g6"))
    first.write_text(encode_graph6(petersen()))
    second.write_text(encode_graph6(petersen()))
    third.write_text(encode_graph6(cycle(10)))
    families = [Problem(nodes=10, host=str(path)).family() for path in (first, second, third)]
    assert families[0] == families[1] != families[2]
    assert "sha256" in families[0]


def test_a_resized_problem_is_the_same_but_for_its_nodes():
    problem = Problem(nodes=10, forbid="C4", max_degree=4)
    assert resize(problem, 20) == Problem(nodes=20, forbid="C4", max_degree=4)
    with pytest.raises(ValueError, match="max_degree is 4; on 4 nodes"):
        resize(problem, 4)


def test_shorthands_are_the_problems_that_they_stand_for():
    assert Problem(girth=6).forbidden == read_forbidden("C3,C4,C5")
    cubic = Problem(nodes=10, regular=3)
    assert (cubic.min_degree, cubic.max_degree) == (3, 3)
