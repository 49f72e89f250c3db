import numpy as np
import pytest

from tenfold.parts.search.curriculum import Turn, draw_start, next_turn


class Shelves(dict):
    def best(self, size):
        return self.get(size, [])


def draws(solved, size, count, **settings):
    generator = np.random.default_rng(0)
    return [draw_start(solved, size, generator=generator, **settings) for _ in range(count)]


def test_the_size_of_a_start_is_uniform_among_the_four_below_and_members_are_too():
    solved = Shelves({n: [(n, member) for member in range(n - 4)] for n in range(5, 12)})
    found = draws(solved, 10, 4_000)
    sizes, counts = np.unique([size for size, _ in found], return_counts=True)
    assert sizes.tolist() == [6, 7, 8, 9]
    assert counts.min() > 900
    members, counts = np.unique([m for size, m in found if size == 9], return_counts=True)
    assert members.tolist() == [0, 1, 2, 3, 4]
    assert counts.min() > 150


def test_sizes_without_a_solution_are_passed_over():
    assert set(draws(Shelves({5: ["a"], 7: ["b"]}), 8, 50)) == {"a", "b"}
    assert set(draws(Shelves({5: ["a"], 7: ["b"]}), 8, 50, largest_step=2)) == {"b"}


@pytest.mark.parametrize("solved", [Shelves(), Shelves({8: ["same"], 3: ["far"]})])
def test_without_a_solution_in_reach_there_is_no_start(solved):
    assert draws(solved, 8, 3) == [None] * 3


def turns(count, *, finished=lambda _: (), patience=2, sizes=(5, 6, 7)):
    turn, found = Turn(), []
    for number in range(count):
        turn = next_turn(turn, sizes=sizes, finished=finished(number), patience=patience)
        found.append(turn.size)
    return found


def test_open_sizes_take_turns_from_small_to_large_and_begin_again():
    assert turns(8) == [5, 5, 6, 6, 7, 7, 5, 5]


def test_a_finished_size_is_left_at_once_and_not_returned_to():
    assert turns(6, finished=lambda n: (5,) if n else ()) == [5, 6, 6, 7, 7, 6]


def test_when_all_are_finished_all_take_turns():
    assert turns(4, finished=lambda _: (5, 6, 7), patience=1) == [5, 6, 7, 5]
