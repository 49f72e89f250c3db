import numpy as np
import pytest

from rooms.diving.examples import cover, integers, linear
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.diving.commitment import hooks as commitment
from tenfold.rooms.diving.dive.hooks import Hooks, load_hooks


def looking(columns, values):
    return Hooks(name="own.py", features=lambda _mip: (columns, values))


def deciding(lower, upper):
    return Hooks(name="own.py", decode=lambda _mip, _likely, _coverage: (lower, upper))


def test_features_are_returned_as_the_hook_gives_them():
    columns, values = looking([2, 0], [[1, 2], [3, 4]]).look(cover())
    assert columns.tolist() == [2, 0]
    assert values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert values.dtype == np.float64


@pytest.mark.parametrize(
    ("columns", "values"),
    [([0, 1], np.zeros((3, 2))), ([0, 1], np.zeros(2)), ([[0, 1]], np.zeros((1, 2)))],
)
def test_features_of_shapes_that_do_not_fit_are_refused_with_both_shapes(columns, values):
    with pytest.raises(TenfoldError, match=r"own\.py gave shapes .* give \[k\] and \[k, F\]"):
        looking(columns, values).look(cover())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    with pytest.raises(TenfoldError, match=r"own\.py gave NaN or infinity"):
        looking([0], [[bad]]).look(cover())


@pytest.mark.parametrize("column", [-1, 50, 0])
def test_columns_that_are_not_whole_ones_of_the_instance_are_refused(column):
    mip = linear() if column == 0 else cover()
    with pytest.raises(TenfoldError, match=f"own.py named columns .* of {mip.name}"):
        looking([column], [[1.0]]).look(mip)


def test_a_hook_that_raises_is_named_with_what_it_raised():
    def features(_mip):
        raise KeyError("power")

    with pytest.raises(TenfoldError, match=r"features of own\.py raised KeyError: 'power'"):
        Hooks(name="own.py", features=features).look(cover())


def test_what_a_hook_itself_says_to_the_user_is_passed_on():
    def features(_mip):
        raise TenfoldError("no plant here; give another file")

    with pytest.raises(TenfoldError, match=r"^no plant here; give another file$"):
        Hooks(name="own.py", features=features).look(cover())


def test_decoded_bounds_are_kept_within_those_of_the_instance():
    mip = integers([0, 2, -1], [1, 9, 1])
    hooks = deciding(np.array([-5.0, 3.0, 0.0]), np.array([7.0, 4.0, 0.5]))
    lower, upper = hooks.bounds(mip, np.zeros(3), 0.5)
    assert lower.tolist() == [0.0, 3.0, 0.0]
    assert upper.tolist() == [1.0, 4.0, 0.5]


def test_decoded_bounds_of_another_length_are_refused():
    mip = integers([0, 0], [1, 1])
    with pytest.raises(TenfoldError, match=r"decode of own\.py gave bounds .* give \[2\] each"):
        deciding(np.zeros(3), np.ones(2)).bounds(mip, np.zeros(2), 0.5)


def test_a_decoder_is_given_the_likelihoods_and_the_coverage():
    heard = []

    def decode(mip, likely, coverage):
        heard.append((mip, likely, coverage))
        return mip.lower, mip.upper

    mip, likely = integers([0], [1]), np.array([0.25])
    Hooks(name="own.py", decode=decode).bounds(mip, likely, 0.75)
    assert heard == [(mip, likely, 0.75)]


def test_hooks_are_loaded_from_a_file_of_one_s_own_with_what_it_has(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def features(mip):\n    return [0], [[2.0]]\n")
    hooks = load_hooks(str(file))
    assert hooks.name == str(file)
    assert hooks.decode is None
    assert hooks.look(cover())[1].tolist() == [[2.0]]


def test_hooks_of_the_room_are_loaded_by_name():
    hooks = load_hooks("commitment")
    assert hooks.features is commitment.features
    assert hooks.decode is commitment.decode


def test_no_name_means_no_hooks():
    hooks = load_hooks("")
    assert hooks.features is None
    assert hooks.decode is None


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(TenfoldError, match=r"(?s)commitmen.*commitment"):
        load_hooks("commitmen")


def test_a_file_with_neither_function_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("x = 1\n")
    with pytest.raises(TenfoldError, match="neither features nor decode"):
        load_hooks(str(file))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="does not exist"):
        load_hooks(str(tmp_path / "none.py"))


def test_a_file_that_only_a_saved_run_names_is_not_run(tmp_path):
    file, ran = tmp_path / "mine.py", tmp_path / "ran"
    file.write_text(f"open({str(ran)!r}, 'w')\ndef features(mip):\n    return [0], [[1.0]]\n")
    with pytest.raises(TenfoldError, match="which is not run unless you name it"):
        load_hooks(str(file), trusted=False)
    assert not ran.exists()
