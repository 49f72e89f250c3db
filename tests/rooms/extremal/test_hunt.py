"""Pieces of a ladder and the bandit that chooses them."""

from dataclasses import asdict

import pytest

from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.codecs import encode_sparse6
from tenfold.rooms.extremal.graph import empty
from tenfold.rooms.extremal.ladder import KINDS, Hunt
from tenfold.rooms.extremal.moves import Outcome, Piece, run_piece, run_task
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults

PROBLEM = Problem(nodes=30)


def piece(kind, source="", *, nodes, number=0, flips=20_000, seconds=0.0):
    return Piece(
        number=number, nodes=nodes, kind=kind, source=source, origin="", seed=0, flips=flips,
        seconds=seconds,
    )  # fmt: skip


def hunt_in(folder, *, first=20, last=24, forbid="C3,C4"):
    archive = Archive(folder, Problem(nodes=last, forbid=forbid))
    return Hunt(archive, first=first, last=last, seed=3, flips=1_000)


def hope_of(hunt, nodes, kind):
    return hunt.hope[nodes - hunt.first, KINDS.index(kind)]


@pytest.mark.parametrize(
    ("kind", "source", "nodes"),
    [
        ("anew", "", 30),
        ("cut", "amalgam:C,q=4,k=4,l=4; 30 nodes, lines cut", 30),
        ("up", encode_sparse6(construct("petersen")), 12),
        ("down", encode_sparse6(construct("hoffman-singleton")), 48),
        ("polish", encode_sparse6(construct("petersen")), 10),
    ],
)
def test_a_piece_gives_a_legal_graph_and_the_same_one_again(kind, source, nodes):
    asked = piece(kind, source, nodes=nodes)
    found = run_piece(asked, PROBLEM)
    assert found.graph.nodes == nodes
    assert not find_faults(found.graph, Problem(nodes=nodes))
    assert run_piece(asked, PROBLEM).graph == found.graph
    sent = run_task({"piece": asdict(asked), "problem": asdict(PROBLEM)})
    assert sent["graph"] == encode_sparse6(found.graph)
    assert sent["flips"] == found.flips >= asked.flips


def test_a_piece_never_loses_edges_of_its_start():
    start = construct("hoffman-singleton")
    found = run_piece(piece("polish", encode_sparse6(start), nodes=50, flips=1), PROBLEM)
    assert found.graph.size == 175


def test_a_time_limit_ends_a_piece():
    found = run_piece(piece("anew", nodes=30, flips=10**12, seconds=0.05), PROBLEM)
    assert found.seconds < 20


def test_the_first_pieces_are_structured_and_later_ones_use_what_was_found(tmp_path):
    hunt = hunt_in(tmp_path)
    first = hunt.choose()
    assert first.kind in ("cut", "anew")
    hunt.take(first, Outcome(graph=run_piece(first, PROBLEM).graph, flips=1, seconds=0.0))
    kinds = {hunt.choose().kind for _ in range(60)}
    assert "polish" in kinds


def test_a_better_graph_raises_the_hopes_of_its_neighbours(tmp_path):
    hunt = hunt_in(tmp_path)
    hunt.hope[:] = 0
    graph = run_piece(piece("anew", nodes=22), PROBLEM).graph
    hunt.take(piece("anew", nodes=22), Outcome(graph=graph, flips=5, seconds=0.1))
    assert hope_of(hunt, 21, "down") > hope_of(hunt, 20, "down") > 0
    assert hope_of(hunt, 23, "up") > 0
    assert hope_of(hunt, 21, "up") == 0
    assert hunt.archive.edges(22) == graph.size


def test_a_piece_without_gain_lowers_its_own_hope(tmp_path):
    hunt = hunt_in(tmp_path)
    before = hope_of(hunt, 22, "anew")
    hunt.take(piece("anew", nodes=22), Outcome(graph=empty(22), flips=5, seconds=0.1))
    assert hope_of(hunt, 22, "anew") < before


def test_a_hunt_goes_on_from_its_state_as_if_nothing_had_happened(tmp_path):
    hunt = hunt_in(tmp_path)
    for _ in range(6):
        asked = hunt.choose()
        hunt.take(asked, run_piece(asked, PROBLEM))
    hunt.pending.append(hunt.choose())
    tensors, values = hunt.state()
    other = hunt_in(tmp_path)
    other.load_state(tensors, values)
    assert other.pending == hunt.pending
    assert [other.choose() for _ in range(20)] == [hunt.choose() for _ in range(20)]


def test_without_structure_a_hunt_begins_from_nothing(tmp_path):
    hunt = hunt_in(tmp_path, forbid="C4")
    assert hunt.choose().kind == "anew"


def test_a_piece_without_a_graph_of_the_least_degree_gives_none_and_the_hunt_goes_on(tmp_path):
    problem = Problem(nodes=24, min_degree=4, max_degree=5)
    asked = piece("anew", nodes=24, flips=40)
    found = run_piece(asked, problem)
    assert found.graph is None or found.graph.degrees().min() >= 4
    hunt = Hunt(Archive(tmp_path, problem), first=23, last=24, seed=0, flips=40)
    assert hunt.take(asked, Outcome(graph=None, flips=40, seconds=0.1)) == 0
    assert hunt.archive.nodes() == []
    assert hunt.choose().kind == "anew"  # amalgams know no degrees


def test_sizes_without_amalgams_begin_from_nothing(tmp_path):
    hunt = Hunt(Archive(tmp_path, Problem(nodes=997)), first=996, last=997, seed=0, flips=10)
    assert hunt.choose().kind == "anew"
