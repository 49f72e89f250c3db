"""Each compiled loop beside a plain NumPy twin, and as plain Python."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tenfold.engine.rng import stream
from tenfold.rooms.jumprelu.kernels import cpu, entries, lane_arrays, largest, latents, workers
from tenfold.rooms.jumprelu.kernels.workers import Pool, Room, pool_of


def floats(*shape, seed=0):
    return stream(seed, "loops", *shape).normal(size=shape).astype(np.float32)


@given(width=st.integers(1, 70), seed=st.integers(0, 20), share=st.sampled_from([0, 0.05, 0.5, 1]))
def test_places_above_a_bound_are_those_of_a_plain_comparison(width, seed, share):
    values, low = floats(width, seed=seed), floats(width, seed=seed + 1)
    low -= np.float32(np.quantile(low - values, 1 - share)) if share else np.float32(-100)
    groups = -(-width // cpu.GROUP)
    flags, found = np.zeros(groups * cpu.GROUP, np.uint8), np.empty(width + 1, np.int32)
    for find in (cpu.find_above, cpu.find_above.py_func):
        number = find(values, low, flags, np.empty(groups + 1, np.int64), found)
        assert found[:number].tolist() == np.flatnonzero(values > low).tolist()


@pytest.mark.parametrize("width", [5, 1_100])
@pytest.mark.parametrize("half", [0.0, 0.25])
def test_entries_are_those_above_threshold_less_half_a_window(width, half):
    x, w_enc = floats(40, 6), floats(width, 6, seed=2)
    b_enc, theta = floats(width, seed=3), np.abs(floats(width, seed=4)) * 2
    block = entries.Block(0, 40)
    room = Room()
    columns, low = entries.columns_of(torch.from_numpy(w_enc)), np.empty(width, np.float32)
    cpu.lower_bounds(b_enc, theta, half, low)
    entries.choose_above(block, torch.from_numpy(x), columns, b_enc, low, room)
    z = x @ w_enc.T + b_enc
    # What is within a rounding of the bound may be there or not.
    clear = np.abs(z - theta + np.float32(half)) > 1e-5
    found = np.zeros_like(z)
    tiles = (len(block.starts) - 1) // 40
    for segment in range(40 * tiles):
        inside = slice(block.starts[segment], block.starts[segment + 1])
        assert (np.diff(block.latents[inside]) > 0).all()
        found[segment % 40, block.latents[inside]] = block.values[inside]
    np.testing.assert_allclose(
        np.where(clear, found, 0), np.where(clear & (z > theta - half), z, 0), rtol=1e-4, atol=1e-5
    )


def test_room_for_entries_grows_without_losing_any():
    x, w_enc = np.abs(floats(64, 4)), np.abs(floats(3_000, 4, seed=1))
    zero = np.zeros(3_000, np.float32)
    block = entries.Block(0, 64)
    columns = entries.columns_of(torch.from_numpy(w_enc))
    entries.choose_above(block, torch.from_numpy(x), columns, zero, zero, Room())
    assert block.number == 64 * 3_000  # all are positive


@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=40),
    share=st.floats(0, 1),
)
def test_the_kth_largest_is_that_of_a_sort(values, share):
    k = 1 + int(share * (len(values) - 1))
    array = np.array(values, np.float32)
    found = largest.find_kth_largest(array, k, np.empty_like(array))
    assert found == sorted(values, reverse=True)[k - 1]


@given(seed=st.integers(0, 30), k=st.integers(1, 12), levels=st.sampled_from([2, 5, 1_000]))
def test_the_largest_of_a_row_are_kept_ties_to_the_lower_latent(seed, k, levels):
    rows, width = 5, 90
    z = stream(seed, "ties").integers(-levels, levels, size=(rows, width)).astype(np.float32)
    # One input dimension a latent, so that products are exact.
    columns = entries.columns_of(torch.eye(width))
    block = entries.Block(0, rows)
    names = np.arange(width, dtype=np.int32)
    entries.choose_largest(
        block, torch.from_numpy(z), columns, np.zeros(width, np.float32), k, names, Room()
    )
    for row in range(rows):
        order = np.lexsort((names, -z[row]))[:k]
        expected = sorted(i for i in order if z[row, i] > 0)
        inside = slice(block.starts[row], block.starts[row + 1])
        assert block.latents[inside].tolist() == expected
        assert block.values[inside].tolist() == z[row, expected].tolist()


def test_dropping_keeps_what_is_above_and_the_first_of_those_equal():
    block_latents = np.array([0, 1, 2, 0, 2, 1], np.int32)
    values = np.array([3, 1, 2, 2, 5, 2], np.float32)
    starts = np.array([0, 3, 3, 6], np.int64)
    assert largest.count_equal(values, 6, 2.0) == 3
    assert largest.drop_below(block_latents, values, starts, 2.0, 2) == 4
    assert values[:4].tolist() == [3, 2, 2, 5]
    assert block_latents[:4].tolist() == [0, 2, 0, 2]
    assert starts.tolist() == [0, 2, 2, 4]


def test_kept_entries_sorted_by_latent_are_in_order_of_rows():
    rng = stream(0, "sorting")
    width, rows = 30, 50
    active = rng.random((2 * rows, width)) < 0.2
    values = rng.normal(size=active.shape).astype(np.float32)
    counts, begins = np.zeros((2, width), np.int32), np.zeros(width + 1, np.int64)
    kept = []
    for number in range(2):
        mine = slice(number * rows, (number + 1) * rows)
        row, latent = np.nonzero(active[mine])
        starts = np.concatenate([[0], np.cumsum(active[mine].sum(axis=1))])
        counts[number] = active[mine].sum(axis=0)
        z = values[mine][row, latent]
        kept.append(cpu.Kept(False, latent.astype(np.int32), z, 2 * z, starts, counts[number]))
    cpu.lay_out_latents(counts, begins)
    assert begins.tolist() == [0, *np.cumsum(active.sum(axis=0)).tolist()]
    total = int(active.sum())
    rows_out, values_out, slopes_out = (np.empty(total, t) for t in (np.int32, "f4", "f4"))
    for number in range(2):
        cpu.place_entries(
            kept[number], rows, number * rows, counts[number], rows_out, values_out, slopes_out
        )
    assert rows_out.tolist() == [b for i in range(width) for b in np.flatnonzero(active[:, i])]
    assert values_out.tolist() == values.T[active.T].tolist()
    assert (slopes_out == 2 * values_out).all()


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("by_row", [False, True])
def test_rebuilt_rows_slopes_and_windows_are_those_of_plain_products(everything, by_row):
    rows, width, outer, half, target = 12, 40, 17, 0.3, 2.0
    z = floats(rows, width) * (stream(0, "rebuild").random((rows, width)) < 0.3)
    theta = np.full(width, 0.4, np.float32)
    w_dec, goal, start = floats(width, outer, seed=1), floats(rows, outer, seed=2), floats(outer)
    row, latent = np.nonzero(z)
    starts = np.concatenate([[0], np.cumsum((z != 0).sum(axis=1))])
    slots = np.zeros(len(row), np.float32)
    chosen = cpu.Chosen(latent.astype(np.int32), z[row, latent], slots, starts)
    for rebuild in (cpu.rebuild_rows, cpu.rebuild_rows.py_func):
        e, l0, total = start - goal, np.zeros(rows, "f4"), np.zeros(outer, "f4")
        window = cpu.Window(half, by_row, target, np.ones((width, 3), np.float32))
        kept = cpu.Kept(
            everything,
            np.zeros(len(row) + 1, np.int32),
            np.zeros(len(row) + 1, np.float32),
            np.zeros(len(row) + 1, np.float32),
            np.zeros(rows + 1, np.int64),
            np.ones(width, np.int32),
        )
        squares = rebuild(chosen, theta, w_dec, e, window, kept, l0, total)
        active = z > theta
        expected = start + (z * active) @ w_dec - goal
        slopes = expected @ w_dec.T
        np.testing.assert_allclose(e, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(total, expected.sum(axis=0), rtol=1e-4, atol=1e-4)
        assert squares == pytest.approx(float((expected**2).sum()), rel=1e-5)
        assert l0.tolist() == active.sum(axis=1).tolist()
        stays = (z != 0) if everything else active
        assert kept.starts.tolist() == [0, *np.cumsum(stays.sum(axis=1))]
        assert kept.counts.tolist() == stays.sum(axis=0).tolist()
        number = int(stays.sum())
        assert kept.latents[:number].tolist() == np.nonzero(stays)[1].tolist()
        assert kept.values[:number].tolist() == z[stays].tolist()
        np.testing.assert_allclose(kept.slopes[:number], slopes[stays], rtol=1e-3, atol=1e-4)
        inside = (np.abs(z - theta) < half) & (z != 0)
        weights = (l0 - target if by_row else np.ones(rows))[:, None]
        sums = np.stack([inside, inside * weights, inside * slopes], axis=-1).sum(axis=0)
        np.testing.assert_allclose(window.sums, sums, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("own_goal", [True, False])
def test_rows_begin_as_centred_inputs_and_as_what_their_goal_lacks(own_goal):
    raw, shift = floats(7, 5), floats(5, seed=1)
    inputs = raw / np.float32(3) - shift
    for begin in (cpu.begin_rows, cpu.begin_rows.py_func):
        x = np.empty_like(raw)
        outer = 9 if own_goal else 5
        start, e = floats(outer, seed=2), np.empty((7, outer), np.float32)
        goal, scale = (floats(7, outer, seed=3), 2.0) if own_goal else (x, 1.0)
        begin(raw, 3.0, shift, x, goal, scale, start, e)
        np.testing.assert_allclose(x, inputs, rtol=1e-6)
        expected = start - (goal / np.float32(2) if own_goal else inputs)
        np.testing.assert_allclose(e, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("number", [0, 1, 4, 7])
def test_sums_over_chosen_rows_are_plain_products(number):
    rows, vector = floats(9, 5), floats(5, seed=1)
    names, weights = np.array([3, 3, 0, 8, 1, 2, 7], np.int32), floats(7)
    out, along = vector.copy(), np.zeros(7, np.float32)
    cpu.add_rows(names, weights, rows, number, out)
    expected = vector + weights[:number] @ rows[names[:number]]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    cpu.project_on_rows(names[:number], rows, vector, along)
    np.testing.assert_allclose(along[:number], rows[names[:number]] @ vector, rtol=1e-5, atol=1e-6)


def test_moments_left_alone_for_steps_decay_as_adam_would_have_done_step_by_step():
    weights = torch.nn.Parameter(torch.from_numpy(floats(9)))
    adam = torch.optim.Adam([weights], lr=0.01, betas=(0.0, 0.9))
    w, v = weights.detach().numpy().copy(), np.zeros(9, np.float32)
    touched = 0
    for step in range(1, 12):
        gradient = floats(9, seed=step) * (step in (1, 2, 6, 11))
        weights.grad = torch.from_numpy(gradient.copy())
        adam.step()
        if step in (1, 2, 6, 11):
            root = np.sqrt(1 - 0.9**step)
            pace = latents.Pace(0.01, 0.9, 0.9 ** (step - touched), root, 1e-8)
            latents._adam(w, v, gradient, pace)
            touched = step
            np.testing.assert_allclose(v, adam.state[weights]["exp_avg_sq"], rtol=1e-5)
    np.testing.assert_allclose(w, weights.detach(), rtol=1e-5, atol=1e-7)


# The pool


def test_every_task_runs_once_and_the_callers_threads_stay_as_they_were():
    before = torch.get_num_threads()
    pool, seen = Pool(3), []
    pool.run([lambda _, n=n: seen.append((n, torch.get_num_threads())) for n in range(50)])
    assert sorted(seen) == [(n, 1) for n in range(50)]
    assert torch.get_num_threads() == before


def test_a_task_that_fails_is_reported_and_the_pool_goes_on():
    def fail(_):
        raise ValueError("as asked")

    with pytest.raises(ValueError, match="as asked"):
        pool_of(2).run([fail, lambda _: None])
    seen = []
    pool_of(2).run([lambda room: seen.append(room)])
    assert len(seen) == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_failure_of_one_worker_leaves_the_other_tasks_to_the_rest(threads):
    seen = []

    def task(number, _):
        if number == 3:
            raise ValueError("as asked")
        seen.append(number)

    with pytest.raises(ValueError, match="as asked"):
        Pool(threads).run(functools.partial(task, number) for number in range(20))
    assert sorted(seen) == ([0, 1, 2] if threads == 1 else [n for n in range(20) if n != 3])


def test_a_workers_memory_is_reused_and_grows():
    room = Room()
    small = room.take("a", 3, 4)
    assert room.take("a", 3, 4) is small
    assert room.take("a", 2, 6).tensor.data_ptr() == small.tensor.data_ptr()
    small.tensor.fill_(7)
    assert (small.array == 7).all()
    large = room.take("a", 40)
    assert large.tensor.shape == large.array.shape == (40,)
    assert room.take("a", 3, 4).tensor.data_ptr() == large.tensor.data_ptr()
    assert room.take("b", 2, dtype=torch.int32).array.dtype == np.int32


def test_a_workers_memory_does_not_remember_every_shape_it_ever_had():
    room = Room()
    for size in range(1, 10 * workers.MOST_SHAPES):
        assert room.take("a", size).array.shape == (size,)
    assert len(room._shaped) <= workers.MOST_SHAPES


def test_blocks_of_rows_depend_on_batch_and_width_alone_and_stay_in_their_range():
    sizes = [entries.rows_of_block(batch) for batch in (1, 64, 700, 1_024, 2_048, 100_000)]
    assert sizes == [64, 64, 96, 128, 256, 256]
    narrow = [entries.rows_of_block(512, width) for width in (4, 256, 512, 1_024, 100_000)]
    assert narrow == [256, 256, 128, 64, 64]


@given(width=st.integers(1, 100_000))
@example(width=2_048)
def test_ranges_of_latents_are_few_and_hold_each_latent_once(width):
    ranges = lane_arrays.ranges_of(width)
    assert [first for first, _ in ranges[1:]] == [last for _, last in ranges[:-1]]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == width
    assert len(ranges) <= lane_arrays.RANGES
    assert all(last - first >= lane_arrays.LEAST_LATENTS for first, last in ranges[:-1])
