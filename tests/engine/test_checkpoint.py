import json
import math
from types import SimpleNamespace

import pytest
import torch

from tenfold.engine import checkpoint
from tenfold.engine.checkpoint import Cadence, Keep
from tenfold.engine.errors import TenfoldError


def item(*, tensors=None, values=None):
    """A Checkpointable that holds whatever it is given."""
    held = SimpleNamespace(tensors=tensors or {"x": torch.arange(3.0)}, values=values or {})
    held.state = lambda: (held.tensors, held.values)
    held.load_state = lambda tensors, values: held.__dict__.update(tensors=tensors, values=values)
    return held


def numbers(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.is_dir())


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool],
)
def test_every_number_type_comes_back_bit_for_bit(tmp_path, dtype):
    tensor = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).mul(9).to(dtype)
    path = checkpoint.save(tmp_path, 12, item(tensors={"a/b": tensor, "s": tensor[0, 0]}))
    back = item()
    assert checkpoint.load(path, back) == 12
    assert back.tensors["a/b"].dtype == dtype
    assert torch.equal(back.tensors["a/b"], tensor)
    assert torch.equal(back.tensors["s"], tensor[0, 0])


def test_strided_shared_and_empty_tensors_come_back(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"t": whole.T, "row": whole[1], "again": whole, "none": torch.zeros(0, 7)}
    path = checkpoint.save(tmp_path, 1, item(tensors=tensors))
    back = checkpoint.read_tensors(path)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_loaded_tensors_own_their_memory(tmp_path):
    tensors = {"odd": torch.ones(3, dtype=torch.uint8), "x": torch.ones(8)}
    path = checkpoint.save(tmp_path, 1, item(tensors=tensors))
    first = checkpoint.read_tensors(path)
    first["x"].zero_()
    assert checkpoint.read_tensors(path)["x"].sum() == 8
    assert first["x"].untyped_storage().nbytes() == 32


def test_values_come_back_with_infinity_and_all_digits(tmp_path):
    values = {"best": math.inf, "worst": -math.inf, "third": 1 / 3, "deep": {"list": [1, None]}}
    back = item()
    checkpoint.load(checkpoint.save(tmp_path, 1, item(values=values)), back)
    assert back.values == values
    checkpoint.load(checkpoint.save(tmp_path, 2, item(values={"x": math.nan})), back)
    assert math.isnan(back.values["x"])


@pytest.mark.parametrize("values", [{"a": {1: 2}}, {"a": torch.ones(1)}, {"a": [{3, 4}]}])
def test_values_that_json_would_change_are_a_fault_of_the_room(tmp_path, values):
    with pytest.raises(AssertionError, match="plain JSON with text keys"):
        checkpoint.save(tmp_path, 1, item(values=values))
    assert checkpoint.latest(tmp_path) is None


def test_an_empty_folder_has_no_latest(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "nowhere") is None


def test_the_folder_holds_what_the_format_says(tmp_path):
    path = checkpoint.save(tmp_path, 1200, item(), extra={"rows": 7})
    assert path.name == "00001200"
    assert sorted(p.name for p in path.iterdir()) == ["DONE", "state.json", "tensors.safetensors"]
    assert set(json.loads((path / "DONE").read_text())) == {"state.json", "tensors.safetensors"}
    assert (tmp_path / "latest").read_text() == "00001200\n"
    assert checkpoint.read_extra(path) == {"rows": 7}


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_changed_byte_falls_back_to_the_one_before_with_one_warning(tmp_path, caplog, name):
    first = checkpoint.save(tmp_path, 1, item())
    second = checkpoint.save(tmp_path, 2, item())
    data = bytearray((second / name).read_bytes())
    data[-2] ^= 1
    (second / name).write_bytes(data)
    assert checkpoint.latest(tmp_path) == (1, first)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"the bytes of {name} changed" in caplog.text


@pytest.mark.parametrize("done", ["", "[]", "{}"])
def test_a_done_file_that_says_nothing_falls_back(tmp_path, caplog, done):
    first = checkpoint.save(tmp_path, 1, item())
    second = checkpoint.save(tmp_path, 2, item())
    (second / "DONE").write_text(done)
    assert checkpoint.latest(tmp_path) == (1, first)
    assert "is damaged" in caplog.text


def test_a_file_that_is_gone_falls_back(tmp_path):
    first = checkpoint.save(tmp_path, 1, item())
    (checkpoint.save(tmp_path, 2, item()) / "state.json").unlink()
    assert checkpoint.latest(tmp_path) == (1, first)


def test_a_folder_without_done_is_passed_over_in_silence_and_swept_later(tmp_path, caplog):
    first = checkpoint.save(tmp_path, 1, item())
    (checkpoint.save(tmp_path, 2, item()) / "DONE").unlink()
    (tmp_path / ".tmp-0000").mkdir()
    assert checkpoint.latest(tmp_path) == (1, first)
    assert caplog.text == ""
    checkpoint.save(tmp_path, 3, item())
    assert numbers(tmp_path) == [1, 3]


def test_damaged_ones_ahead_go_once_a_sound_one_is_written(tmp_path):
    checkpoint.save(tmp_path, 1, item())
    (checkpoint.save(tmp_path, 5, item()) / "state.json").write_text("")
    checkpoint.save(tmp_path, 3, item())
    assert numbers(tmp_path) == [1, 3]


def test_a_number_can_be_saved_again(tmp_path):
    checkpoint.save(tmp_path, 1, item(values={"take": 1}))
    back = item()
    checkpoint.load(checkpoint.save(tmp_path, 1, item(values={"take": 2})), back)
    assert back.values == {"take": 2}


def test_the_last_ones_and_each_nth_are_kept(tmp_path):
    for step in range(1, 10):
        checkpoint.save(tmp_path, step, item(), keep=Keep(last=2, every_steps=4))
    assert numbers(tmp_path) == [4, 8, 9]
    for step in range(10, 14):
        checkpoint.save(tmp_path, step, item(), keep=Keep(last=1))
    assert numbers(tmp_path) == [13]


def test_a_checkpoint_of_another_schema_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, 1, item())
    (path / "state.json").write_text('{"schema": 99}')
    with pytest.raises(TenfoldError, match="checkpoint schema 99, this version reads 1"):
        checkpoint.load(path, item())


@pytest.mark.parametrize(
    ("cadence", "step", "seconds", "due"),
    [
        (Cadence(every_steps=10, every_seconds=0), 20, 0.0, True),
        (Cadence(every_steps=10, every_seconds=0), 25, 1e9, False),
        (Cadence(every_seconds=60), 25, 59.9, False),
        (Cadence(every_seconds=60), 25, 60.0, True),
        (Cadence(every_seconds=0), 100, 1e9, False),
    ],
)
def test_a_checkpoint_is_due_by_steps_or_by_seconds(cadence, step, seconds, due):
    assert checkpoint.is_due(cadence, step=step, seconds=seconds) is due


@pytest.mark.parametrize("wrong", [{"every_steps": -1}, {"every_seconds": -0.5}])
def test_a_cadence_in_the_past_is_refused(wrong):
    with pytest.raises(ValueError, match=r"is in the past; give 0 \(never\) or more"):
        Cadence(**wrong)


@pytest.mark.parametrize("wrong", [{"last": 0}, {"every_steps": -4}])
def test_keeping_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="leaves nothing to resume from"):
        Keep(**wrong)


def model(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def adamw(net):
    first, last = net[0].parameters(), net[2].parameters()
    groups = [{"params": first, "lr": 0.1, "weight_decay": 0.01}, {"params": last}]
    return torch.optim.AdamW(groups, lr=0.02, betas=(0.7, 0.95), amsgrad=True)


def train(net, optimizer, steps):
    losses = []
    for step in steps:
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        loss = (net(x) - x.sum(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_adamw_goes_on_bit_for_bit_from_a_checkpoint(tmp_path):
    net, other = model(0), model(1)
    optimizer, fresh = adamw(net), adamw(other)
    train(net, optimizer, range(10))
    tensors, values = checkpoint.flatten_optimizer(optimizer)
    weights = {f"net/{name}": p for name, p in net.state_dict().items()}
    path = checkpoint.save(tmp_path, 10, item(tensors=weights | tensors, values=values))
    back = item()
    checkpoint.load(path, back)
    other.load_state_dict({name: back.tensors[f"net/{name}"] for name in net.state_dict()})
    checkpoint.restore_optimizer(fresh, back.tensors, back.values)
    assert train(other, fresh, range(10, 20)) == train(net, optimizer, range(10, 20))
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert fresh.param_groups[0]["betas"] == (0.7, 0.95)


def test_optimizer_tensors_are_named_by_parameter_and_slot():
    net = model(0)
    optimizer = adamw(net)
    train(net, optimizer, range(1))
    tensors, values = checkpoint.flatten_optimizer(optimizer, prefix="adam")
    assert torch.equal(tensors["adam/0/exp_avg"], optimizer.state[net[0].weight]["exp_avg"])
    assert values["adam/group0/lr"] == 0.1
    assert values["adam/group1/params"] == [2, 3]
    json.dumps(values)


def test_a_restored_optimizer_shares_no_memory_with_what_it_was_given():
    net, other = model(0), model(0)
    optimizer, fresh = adamw(net), adamw(other)
    train(net, optimizer, range(2))
    tensors, values = checkpoint.flatten_optimizer(optimizer)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    checkpoint.restore_optimizer(fresh, tensors, values)
    train(other, fresh, range(3))
    assert all(torch.equal(tensors[name], before[name]) for name in before)
