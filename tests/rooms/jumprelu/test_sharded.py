import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rooms.jumprelu.examples import dictionary
from rooms.jumprelu.sharded_run import CASES, GPU_CASES, M, train_alone, train_together, whole_stack
from tenfold.engine.dist import Place
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu.kernels.sharded import put_together, take_share

# Processes start slowly on a busy machine.
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]
SCRIPT = Path(__file__).with_name("sharded_run.py")


def run_processes(folder, names, *, count=2, **variables):
    """Train the cases in `count` processes that meet in `folder`."""
    path = os.pathsep.join(filter(None, [str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path} | variables
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(count), str(folder), *names],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        told = [process.communicate(timeout=200)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * count, "\n".join(told)[-4_000:]
    return folder


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    return run_processes(tmp_path_factory.mktemp("two"), CASES)


def assert_same_training(folder, name, case, *, tolerance):
    whole, terms = train_alone(case)
    first, second = (load_file(folder / f"{name}-{rank}.safetensors") for rank in range(2))
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(first[key], value, rtol=0, atol=tolerance, msg=key)
    for key in ("loss", "error", "l0"):
        wanted = torch.stack([getattr(term, key).detach() for term in terms])
        torch.testing.assert_close(first[f"terms/{key}"], wanted, rtol=1e-5, atol=1e-6)
        assert torch.equal(first[f"terms/{key}"], second[f"terms/{key}"])
    fired = torch.cat([first["terms/fired"], second["terms/fired"]], dim=-1)
    assert torch.equal(fired, torch.stack([term.fired for term in terms]))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_does(two_processes, name):
    assert_same_training(two_processes, name, CASES[name], tolerance=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_the_gpu_step_with_split_latents_trains_what_one_process_does(tmp_path):
    run_processes(tmp_path, GPU_CASES, TRITON_INTERPRET="1")
    for name, case in GPU_CASES.items():
        assert_same_training(tmp_path, name, case, tolerance=1e-6)


def test_a_process_alone_trains_all_latents():
    case = CASES["linear"]
    found, _ = train_together(case, Place())
    for key, value in train_alone(case)[0].state_dict().items():
        torch.testing.assert_close(found.state_dict()[key], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["quad_batch", "transcoder"])
def test_shares_together_are_the_whole(name):
    whole = whole_stack(CASES[name])
    shares = [take_share(whole, Place(rank=rank, count=4)) for rank in range(4)]
    x = torch.randn(2, 9, whole.input_width, generator=torch.Generator().manual_seed(0))
    parts = [share(x) - share.scale * share.offset(x / share.scale) for share in shares]
    total = sum(parts) + whole.scale * whole.offset(x / whole.scale)
    torch.testing.assert_close(total, whole(x))
    latents = torch.cat([share.encode(x) for share in shares], dim=-1)
    torch.testing.assert_close(latents, whole.encode(x))


@pytest.mark.parametrize("name", ["quad_batch", "transcoder"])
def test_a_share_of_one_is_put_together_bit_for_bit(name):
    whole = whole_stack(CASES[name])
    found = put_together(take_share(whole, Place()), Place())
    assert (found.scale, found.transcoder) == (whole.scale, whole.transcoder)
    for key, value in whole.state_dict().items():
        if not (key == "unit.raw" and whole.unit.as_log):
            assert torch.equal(found.state_dict()[key], value)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(TenfoldError, match="a topk dictionary cannot be split over processes"):
        take_share(dictionary("topk"), Place())
    with pytest.raises(TenfoldError, match=f"{M} latents cannot be split evenly over 3 processes"):
        take_share(whole_stack(CASES["linear"]), Place(count=3))
