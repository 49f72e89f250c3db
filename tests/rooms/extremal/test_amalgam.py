"""Semiplanes, their classes, and what may be filled into them."""

from importlib import import_module

import networkx
import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.problem import open_problem

amalgams = import_module("tenfold.rooms.extremal.amalgam")  # the door's name is the function

# family, q, nodes, edges, classes on a side
SHAPES = [
    ("C", 2, 8, 8, 2),
    ("C", 3, 18, 27, 3),
    ("C", 4, 32, 64, 4),
    ("C", 8, 128, 512, 8),
    ("C", 9, 162, 729, 9),
    ("L", 3, 16, 24, 4),
    ("L", 8, 126, 504, 9),
    ("L", 9, 160, 720, 10),
    ("D", 4, 28, 56, 7),
    ("D", 9, 156, 702, 13),
    ("D", 16, 504, 4032, 21),
]


@pytest.mark.parametrize(("family", "q", "nodes", "edges", "classes"), SHAPES)
def test_a_semiplane_is_q_regular_of_the_known_size(family, q, nodes, edges, classes):
    found = amalgams.semiplane(family, q)
    assert (found.base.nodes, found.base.size) == (nodes, edges)
    assert set(found.base.degrees()) == {q}
    assert len(found.point_classes) == len(found.line_classes) == classes
    members = np.concatenate([*found.point_classes, *found.line_classes])
    assert np.array_equal(np.sort(members), np.arange(nodes))


@pytest.mark.parametrize(("family", "q"), [(s[0], s[1]) for s in SHAPES if s[2] <= 162])
def test_nodes_of_one_side_share_one_neighbour_or_a_class(family, q):
    found = amalgams.semiplane(family, q)
    near = found.base.adjacency().astype(int)
    common = near @ near
    np.fill_diagonal(common, 0)
    for side in (found.point_classes, found.line_classes):
        label = np.repeat(np.arange(len(side)), [len(nodes) for nodes in side])
        nodes = np.concatenate(side)
        expected = (label[:, None] != label).astype(int)
        assert np.array_equal(common[np.ix_(nodes, nodes)], expected)


@pytest.mark.parametrize(("family", "q"), [("C", 3), ("C", 5), ("L", 4), ("L", 5), ("D", 4)])
def test_a_semiplane_has_girth_six(family, q):
    assert networkx.girth(amalgams.semiplane(family, q).base.to_networkx()) == 6


@pytest.mark.parametrize(
    ("text", "nodes", "edges"),
    [
        ("amalgam:C,q=7,k=7,l=7", 98, 343),
        ("amalgam:C,q=11,k=9,l=9", 198, 891),
        ("amalgam:L,q=11,k=10,l=10", 200, 920),
        ("amalgam:L,q=11", 240, 1320),
        ("amalgam:C,q=4,l=1", 20, 16),
    ],
)
def test_spellings_give_the_bases_of_the_literature(text, nodes, edges):
    found = amalgams.read_amalgam(text)
    assert (found.nodes, found.base.size) == (nodes, edges)


def test_the_name_of_an_amalgam_reads_back():
    found = amalgams.amalgam("L", q=4, points=3)
    again = amalgams.read_amalgam(found.name)
    assert (again.name, again.base) == ("amalgam:L,q=4,k=3,l=5", found.base)


def test_allowed_pairs_are_the_base_and_pairs_inside_classes():
    found = amalgams.amalgam("C", q=4, points=3, lines=2)
    expected = found.base.adjacency()
    for nodes in found.classes:
        expected[np.ix_(nodes, nodes)] = True
    np.fill_diagonal(expected, False)
    assert np.array_equal(found.allowed, expected)
    assert np.triu(found.allowed).sum() - found.base.size == 5 * 6


def test_classes_may_be_chosen_by_number():
    found = amalgams.amalgam("L", q=3, points=(0, 2), lines=(0, 2))
    joined = amalgams.amalgam("L", q=3, points=2, lines=2)
    assert found.base.size <= joined.base.size == 4 * 2
    assert found.name == "amalgam:L,q=3,k=2,l=2 (points 0 2) (lines 0 2)"


def test_an_amalgam_cut_to_some_nodes_keeps_its_rules():
    whole = amalgams.amalgam("C", q=5, points=4, lines=4)
    keep = np.arange(3, 37)
    cut = amalgams.truncate(whole, keep=keep)
    assert cut.nodes == 34
    assert np.array_equal(cut.allowed, whole.allowed[np.ix_(keep, keep)])
    assert sorted(len(nodes) for nodes in cut.classes) == [2, 2, 5, 5, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("amalgam:C,q=7,k=7,l=7", 112),
        ("amalgam:C,q=8,k=8,l=8", 160),
        ("amalgam:L,q=9,k=10,l=10", 200),
        ("amalgam:C,q=9,k=9,l=9", 216),
        ("amalgam:C,q=11,k=9,l=9", 288),
        ("amalgam:L,q=11,k=10,l=10", 300),
    ],
)
def test_limits_of_class_edges_are_those_of_each_class_alone(text, limit):
    assert amalgams.limit(amalgams.read_amalgam(text)) == limit


def test_the_problem_of_an_amalgam_opens_to_what_open_amalgam_gives():
    found = amalgams.read_amalgam("amalgam:L,q=4,k=4,l=3")
    direct = amalgams.open_amalgam(found)
    read = open_problem(direct.problem)
    assert np.array_equal(read.allowed, direct.allowed)
    assert read.frozen == direct.frozen == found.base


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("amalgam:C,q=6,k=6,l=6", "q=6 is no order"),
        ("amalgam:C,q=7,k=9,l=7", "k=9 classes"),
        ("amalgam:C,q=7,k=7,l=0", "l=0 classes"),
        ("amalgam:D,q=8", "q=8 is no square"),
        ("amalgam:E,q=8", "family 'E'"),
        ("amalgam:C,k=8", "names no field"),
        ("amalgam:C,q=8,q=9", "'q=9'"),
        ("amalgam:C,q=8,m=9", "'m=9'"),
    ],
)
def test_a_wrong_spelling_is_refused_by_its_wrong_part(text, fault):
    with pytest.raises(TenfoldError, match=fault):
        amalgams.read_amalgam(text)


@pytest.mark.parametrize("kept", [(0, 0), (0, 9), (-1, 2)])
def test_classes_that_do_not_exist_are_refused(kept):
    with pytest.raises(TenfoldError, match="k keeps the classes"):
        amalgams.amalgam("C", q=4, points=kept)


def test_cycles_that_a_semiplane_has_cannot_be_forbidden():
    with pytest.raises(TenfoldError, match="bars cycles that a semiplane has"):
        amalgams.open_amalgam(amalgams.amalgam("C", q=3), "C4,C6")


@pytest.mark.parametrize("nodes", [20, 98, 128, 160, 200, 300])
def test_plans_say_what_the_built_amalgam_has(nodes):
    plans = amalgams.amalgams_near(nodes, below=2, above=2)
    assert plans
    for plan in plans[:3]:
        built = amalgams.read_amalgam(plan.name)
        assert nodes - 2 <= plan.nodes == built.nodes <= nodes + 2
        assert plan.edges == built.base.size
        assert plan.limit == plan.edges + amalgams.limit(built)


@pytest.mark.parametrize(
    ("nodes", "best"), [(98, "C,q=7,k=7,l=7"), (128, "C,q=8,k=8,l=8"), (162, "C,q=9,k=9,l=9")]
)
def test_the_plan_of_highest_limit_is_the_known_one(nodes, best):
    assert amalgams.amalgams_near(nodes)[0].name == f"amalgam:{best}"
