import numpy as np
import pytest
import torch
from scipy import sparse

from parts.mip.examples import random_mip
from rooms.diving.examples import cover, facilities, infeasible, integers
from tenfold.parts.mip.features import COLUMN_FEATURES, ROW_FEATURES, encode
from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.parts.mip.lp_state import from_relaxed
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.looks import OWN_COLUMNS, OWN_ROWS, graph_of, look_at, solve_root

pytest.importorskip("highspy")


def mixed():
    """Return rows with both sides, one side, none that matters, and one without a bound."""
    return from_rows(
        name="mixed",
        cost=np.array([1.0, -2.0, 0.0]),
        matrix=sparse.csr_array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0], [1.0, 1.0, 1.0]]),
        left=np.array([1.0, -np.inf, -2.0]),
        right=np.array([3.0, 4.0, np.inf]),
        lower=np.array([0.0, 0.0, 0.0]),
        upper=np.array([1.0, 2.0, np.inf]),
        kinds=np.array([Kind.BINARY, Kind.INTEGER, Kind.CONTINUOUS], dtype=np.uint8),
    )


def plain_places(mip):
    """Return where each side stands between least and most activity, one after the other."""
    dense = mip.matrix.toarray()
    told = []
    for i in range(len(mip.left)):
        least = most = 0.0
        for a, low, high in zip(dense[i], mip.lower, mip.upper, strict=True):
            if a:
                least += min(a * low, a * high)
                most += max(a * low, a * high)
        for side, turned in ((mip.right[i], False), (mip.left[i], True)):
            if not np.isfinite(side):
                continue
            if not (np.isfinite(least) and np.isfinite(most)):
                told.append(-1.0)
                continue
            above = most - side if turned else side - least
            told.append(min(max(above / max(most - least, 1e-9), -1.0), 2.0))
    return told


def own(graph):
    return graph.rows[:, len(ROW_FEATURES) :]


@pytest.mark.parametrize("mip", [mixed(), facilities(0), *(random_mip(s) for s in range(4))])
def test_the_place_of_a_side_is_what_a_plain_loop_says_row_after_row(mip):
    place = own(graph_of(mip, None))[:, OWN_ROWS.index("place of side in range")]
    assert place.tolist() == pytest.approx(plain_places(mip), abs=1e-6)


@pytest.mark.parametrize("mip", [mixed(), cover(), *(random_mip(s) for s in range(4))])
def test_rows_of_one_s_own_stand_beside_the_encoded_rows_of_the_same_side(mip):
    graph = graph_of(mip, None)
    encoded = encode(from_relaxed(mip, solve_root(mip)))
    assert len(graph.rows) == len(encoded.rows)
    entries = np.bincount(encoded.edge_rows, minlength=len(encoded.rows))
    told = own(graph)[:, OWN_ROWS.index("entries")].exp() - 1
    assert told.tolist() == pytest.approx(entries.tolist(), abs=1e-4)


def test_without_an_lp_nothing_is_told_that_only_an_lp_knows():
    mip = facilities(1)
    blind = graph_of(mip, None)
    seeing = graph_of(mip, solve_root(mip))
    lp_columns = [
        COLUMN_FEATURES.index(name)
        for name in ("at lower bound", "at upper bound", "fractionality", "basis: lower",
                     "basis: basic", "basis: upper", "basis: zero",
                     "reduced cost over norm of cost", "age", "LP value")
    ]  # fmt: skip
    lp_rows = [ROW_FEATURES.index(name) for name in ("is tight", "age", "dual over norms")]
    assert not blind.columns[:, lp_columns].any()
    assert not blind.rows[:, lp_rows].any()
    assert seeing.columns[:, lp_columns].any()
    assert seeing.rows[:, lp_rows].any()
    # What is known without an LP is the same in both.
    known = len(COLUMN_FEATURES) + OWN_COLUMNS.index("LP known")
    still = [j for j in range(blind.columns.shape[1]) if j not in (*lp_columns, known)]
    assert torch.equal(blind.columns[:, still], seeing.columns[:, still])
    assert torch.equal(blind.edges, seeing.edges)


def test_the_network_is_told_whether_an_lp_was_solved():
    mip = cover()
    place = len(COLUMN_FEATURES) + OWN_COLUMNS.index("LP known")
    assert graph_of(mip, None).columns[:, place].unique().tolist() == [0.0]
    assert graph_of(mip, solve_root(mip)).columns[:, place].unique().tolist() == [1.0]


def test_cost_and_width_and_rows_of_columns_are_told_in_units_of_the_instance():
    told = graph_of(mixed(), None).columns[:, len(COLUMN_FEATURES) :]
    spread = np.sqrt((1 + 4) / 2)
    assert told[:, 1].tolist() == pytest.approx([1 / spread, -2 / spread, 0.0])
    # A column without an upper bound has no width.
    assert told[:, 2].tolist() == pytest.approx([np.log(2), np.log(3), 0.0])
    assert told[:, 3].tolist() == pytest.approx(np.log1p([2, 3, 2]).tolist())


@pytest.mark.parametrize("mip", [mixed(), facilities(2), integers([0, -4], [1, 3])])
def test_a_look_has_no_nan_and_one_slot_for_each_bit(mip):
    look = look_at(mip, bits=6, hooks=Hooks(), graph=True)
    assert torch.isfinite(look.graph.columns).all()
    assert torch.isfinite(look.graph.rows).all()
    assert look.extra.shape == (len(look.slots), 0)


def test_features_of_a_hook_stand_at_every_slot_of_their_column():
    mip = integers([0, 0, 0], [1, 3, 1])
    hooks = Hooks(name="own", features=lambda _mip: ([1, 0], [[5.0], [7.0]]))
    look = look_at(mip, bits=6, hooks=hooks, graph=False)
    assert look.graph is None
    assert look.slots.column.tolist() == [0, 1, 1]
    assert look.extra[:, 0].tolist() == [7.0, 5.0, 5.0]


def test_an_lp_without_a_best_point_is_none():
    assert solve_root(infeasible()) is None
