import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch, Reading, keep_tokens, read_rows


def read(module, batch, name=":out", **reading):
    rows = read_rows(module, [name], batch, number=3, reading=Reading(**reading), whole=True)
    return rows[name]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.sets(st.integers(0, 5)))
def test_a_token_mask_leaves_out_exactly_the_tokens_named(tokens, drop):
    mask = keep_tokens(torch.tensor([tokens]), drop=drop)
    assert mask.tolist() == [[token not in drop for token in tokens]]


def test_a_token_mask_leaves_out_the_first_positions():
    mask = keep_tokens(torch.zeros(2, 4, dtype=torch.long), first=2)
    assert mask.tolist() == [[False, False, True, True]] * 2


def test_rows_are_the_kept_positions_in_order():
    x = torch.arange(24.0).reshape(2, 3, 4)
    mask = torch.tensor([[True, False, True], [False, False, True]])
    assert torch.equal(read(nn.Identity(), Batch(inputs=(x,), mask=mask)).x, x[mask])


def test_labels_stay_with_their_rows():
    x = torch.arange(6.0).reshape(2, 3, 1)
    batch = Batch(
        inputs=(x,),
        mask=torch.tensor([[True, False, True], [False, True, True]]),
        labels={"token": x[..., 0].long() * 10, "document": torch.tensor([7, 8])},
    )
    rows = read(nn.Identity(), batch)
    assert rows.labels["token"].tolist() == (rows.x[:, 0] * 10).tolist()
    assert rows.labels["document"].tolist() == [7, 7, 8, 8]


def test_a_mask_of_images_keeps_all_their_pixels():
    image = torch.randn(2, 3, 4, 5)
    batch = Batch(inputs=(image,), mask=torch.tensor([False, True]))
    expected = image[1].permute(1, 2, 0).reshape(20, 3)
    assert torch.equal(read(nn.Identity(), batch, ":out@1").x, expected)


def test_a_mask_of_sequences_fits_activations_that_were_flattened():
    x = torch.randn(2, 3, 4)
    mask = torch.tensor([[True, False, True], [False, True, True]])
    rows = read(nn.Flatten(0, 1), Batch(inputs=(x,), mask=mask))
    assert torch.equal(rows.x, x[mask])


def test_a_lone_vector_is_one_row():
    assert read(nn.Identity(), Batch(inputs=(torch.arange(3.0),))).x.tolist() == [[0, 1, 2]]


def test_arguments_by_name_reach_the_module():
    module = nn.Linear(2, 2)
    x = torch.randn(5, 2)
    assert torch.equal(read(module, Batch(keywords={"input": x})).x, module(x).detach())


def test_another_way_to_run_the_module_may_be_given():
    module = nn.Sequential(nn.Linear(2, 2))
    rows = read(
        module,
        Batch(inputs=(torch.ones(1, 2),)),
        "0:in",
        forward=lambda batch: module[0](batch.inputs[0] * 3),
    )
    assert rows.x.tolist() == [[3, 3]]


def test_tensors_go_to_the_device_of_the_module():
    module = nn.Linear(2, 2, device="meta")
    seen = []

    def forward(batch):
        seen.extend([batch.inputs[0].device.type, batch.keywords["k"].device.type, batch.inputs[1]])
        raise InterruptedError

    batch = Batch(inputs=(torch.ones(1, 2), "text"), keywords={"k": torch.ones(1)})
    with pytest.raises(InterruptedError):
        read(module, batch, forward=forward)
    assert seen == ["meta", "meta", "text"]


def test_rows_far_above_the_median_norm_are_left_out_and_counted():
    x = torch.ones(1, 5, 2)
    x[0, 2] *= 1000
    rows = read(
        nn.Identity(), Batch(inputs=(x,), labels={"i": torch.arange(5)[None]}), norm_limit=10.0
    )
    assert rows.outliers == 1
    assert rows.labels["i"].tolist() == [0, 1, 3, 4]


def test_a_batch_without_kept_positions_gives_no_rows():
    batch = Batch(inputs=(torch.ones(2, 3, 4),), mask=torch.zeros(2, 3, dtype=torch.bool))
    assert read(nn.Identity(), batch, norm_limit=2.0).x.shape == (0, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_told_with_site_batch_and_position(value):
    x = torch.zeros(2, 3, 4)
    x[1, 2, 3] = value
    with pytest.raises(
        TenfoldError, match=rf"':out' at batch 3, position \(1, 2\).*value {value};"
    ):
        read(nn.Identity(), Batch(inputs=(x,)))


def test_a_value_that_is_masked_out_may_be_anything():
    x = torch.zeros(1, 2, 4)
    x[0, 0] = float("nan")
    rows = read(nn.Identity(), Batch(inputs=(x,), mask=torch.tensor([[False, True]])))
    assert rows.x.tolist() == [[0, 0, 0, 0]]


def test_a_label_that_does_not_fit_is_an_error_with_both_shapes():
    batch = Batch(inputs=(torch.zeros(2, 3, 4),), labels={"token": torch.zeros(3, 2)})
    with pytest.raises(TenfoldError, match=r"label 'token' has shape \(3, 2\).*\(2, 3\)"):
        read(nn.Identity(), batch)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(TenfoldError, match=r"mask is torch\.int64; make it bool"):
        read(nn.Identity(), Batch(inputs=(torch.zeros(2, 4),), mask=torch.ones(2).long()))


def test_all_calls_of_a_recurrent_cell_become_rows():
    cell = nn.RNNCell(2, 3)
    model = nn.ModuleDict({"cell": cell})
    x = torch.randn(4, 5, 2)

    def forward(batch):
        state = None
        for step in batch.inputs[0]:
            state = cell(step, state)

    batch = Batch(inputs=(x,), labels={"time": torch.arange(4)})
    rows = read(model, batch, "cell", forward=forward, calls="all")
    assert rows.x.shape == (20, 3)
    assert rows.labels["time"].tolist() == [time for time in range(4) for _ in range(5)]
