import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from rooms.jumprelu.examples import dictionary
from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.kernels.gpu_limits import (
    dense_bytes,
    find_gpu_obstacle,
    sparse_bytes,
)
from tenfold.rooms.jumprelu.model import create

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


def run_python(*words, folder, **variables):
    """Run Python as another process, for variables that are read too early for this one."""
    environment = os.environ | {"TRITON_CACHE_DIR": str(folder)} | variables
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4_000:]
    return done.stdout


def run_checks(folder, *, only="", **variables):
    words = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(HERE / "gpu_checks.py"))
    words += ("-k", only) if only else ()
    return run_python(*words, folder=folder, **variables)


@needs_triton
@pytest.mark.timeout(300)
def test_kernels_and_a_step_equal_the_dense_ones_in_tritons_interpreter(tmp_path):
    """The kernels one by one, and the step with most in it; the slow test has all."""
    only = "threshold or products or sorting or prices or transcoder"
    assert " passed" in run_checks(tmp_path, only=only, TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_gpu_step_equals_the_dense_one_in_tritons_interpreter(tmp_path):
    assert " passed" in run_checks(tmp_path, TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.gpu
@pytest.mark.timeout(300)
def test_the_gpu_step_equals_the_dense_one_on_a_gpu(tmp_path):
    assert torch.cuda.is_available(), "this test is for a machine with a GPU"
    assert " passed" in run_checks(tmp_path, TRITON_INTERPRET="0")


@needs_triton
@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_that_is_not_there(tmp_path):
    told = run_python(str(HERE / "gpu_compile.py"), folder=tmp_path, TRITON_INTERPRET="0")
    assert told.split() == [
        "select_entries",
        "pack_entries",
        "decode_rows",
        "project_errors",
        "update_latents",
    ]


# What it can train


def test_obstacles_are_named():
    jump = dictionary("jumprelu")
    found = find_gpu_obstacle(jump, config.JumpReLU(penalty="linear"))
    assert found == ("" if find_spec("triton") else "the package triton is not installed")
    assert "TopK has no sparse code for GPUs" in find_gpu_obstacle(jump, config.TopK())
    assert "the tanh penalty" in find_gpu_obstacle(jump, config.JumpReLU(penalty="tanh"))
    generator = torch.Generator().manual_seed(0)
    wide = create("jumprelu", input_width=8_193, width=4, generator=generator)
    found = find_gpu_obstacle(wide, config.JumpReLU(penalty="linear"))
    assert found == "activations are 8193 wide, they are for at most 8192"


# Memory

MILLION = 1 << 20
G3 = {"width": MILLION, "input_width": 3_584, "batch": 4_096}
GIB = 1 << 30


def test_a_million_latents_fit_one_gpu_only_with_the_sparse_step():
    weights = 2 * MILLION * 3_584 * 4
    assert weights == pytest.approx(30e9, rel=0.01)
    sparse = sparse_bytes(**G3, entries_per_row=200)
    # Weights and second moments, and little beside them.
    assert 2 * weights < sparse < 2.02 * weights
    assert sparse < 78 * GIB
    dense = dense_bytes(**G3)
    assert dense > 4 * weights + 4 * 4_096 * MILLION * 4
    assert dense > 139 * GIB


def test_memory_grows_with_the_stack_and_with_entries():
    one = {"width": 16_384, "input_width": 768, "batch": 4_096}
    vectors = 1_024 * 768 * 4
    single = sparse_bytes(**one, entries_per_row=100) - vectors
    assert sparse_bytes(**one, entries_per_row=100, num_lanes=24) - vectors == 24 * single
    assert dense_bytes(**one, num_lanes=24) == 24 * dense_bytes(**one)
    # Two int32 or float32 with room for four, four packed, and sorting keys with places, twice.
    assert sparse_bytes(**one, entries_per_row=101) - vectors - single == 4_096 * (32 + 16 + 24)


def test_a_tensor_of_all_parameters_is_what_the_formula_counts():
    generator = torch.Generator().manual_seed(0)
    whole = create(
        "jumprelu",
        input_width=7,
        width=20,
        generator=generator,
        transcoder=True,
        output_width=5,
    )
    numbers = sum(parameter.numel() for parameter in whole.parameters())
    assert dense_bytes(width=20, input_width=7, output_width=5, batch=0) == 4 * 4 * numbers
