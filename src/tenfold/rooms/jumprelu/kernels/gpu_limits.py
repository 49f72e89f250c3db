"""What the GPU step can train and how much memory it takes; imports no Triton.

A dense step keeps four numbers for each weight (itself, its gradient, two moments) and several
tensors of rows times latents. The sparse step keeps two numbers for each weight, because with
beta1 = 0 there is no first moment and gradients live in registers, and of rows times latents
only the entries.
"""

from __future__ import annotations

from importlib.util import find_spec

from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.model import Dictionary

PENALTIES = ("linear", "quad_batch", "quad_example")
"""Penalties of `method.jumprelu_penalty` that the GPU step has."""
WIDEST = 8_192
"""Widths of activations that a row in registers can have."""
NUMBER = 4
"""Bytes of a float32 or int32."""
COUNTER = 8
"""Bytes of an int64."""
DENSE_TENSORS = 4
"""Tensors of rows times latents of a dense step at its peak: z, f and their gradients."""


def find_gpu_obstacle(dictionary: Dictionary, chosen: config.Method) -> str:
    """Return why the GPU step cannot train this dictionary by this loss; empty if it can.

    What holds for all sparse steps (float32, beta1 = 0, a bandwidth) is not asked here.
    """
    if not isinstance(chosen, config.JumpReLU):
        return f"{type(chosen).__name__} has no sparse code for GPUs"
    if chosen.penalty not in PENALTIES:
        return f"the {chosen.penalty} penalty has a slope at every entry"
    widest = max(dictionary.input_width, dictionary.output_width)
    if widest > WIDEST:
        return f"activations are {widest} wide, they are for at most {WIDEST}"
    if find_spec("triton") is None:
        return "the package triton is not installed"
    return ""


def dense_bytes(
    *, width: int, input_width: int, output_width: int = 0, batch: int, num_lanes: int = 1
) -> int:
    """Return the bytes that a dense training step needs at least.

    Args:
        width: M.
        input_width: D.
        output_width: O; 0 is D.
        batch: B.
        num_lanes: S.
    """
    weights = _weights(width, input_width, output_width or input_width)
    return NUMBER * num_lanes * (4 * weights + DENSE_TENSORS * batch * width)


def sparse_bytes(
    *,
    width: int,
    input_width: int,
    output_width: int = 0,
    batch: int,
    entries_per_row: float,
    num_lanes: int = 1,
    room: float = 4.0,
    programs: int = 1_024,
) -> int:
    """Return the bytes that a sparse training step on a GPU needs.

    Args:
        width: M.
        input_width: D.
        output_width: O; 0 is D.
        batch: B.
        entries_per_row: active latents of a row and those in the window.
        num_lanes: S.
        room: for entries before they are packed, as a multiple of them.
        programs: of the last kernel; each leaves a vector of D.
    """
    output_width = output_width or input_width
    state = 2 * _weights(width, input_width, output_width) * NUMBER
    counters = width * (2 * COUNTER + 1)  # touched, begins, fired
    rows = batch * (input_width + 2 * output_width + 3) * NUMBER
    # Latent and value unpacked; latent, row, value and slope packed, and twice the sorting keys
    # with their places.
    entries = batch * entries_per_row * (2 * room * NUMBER + 4 * NUMBER + 2 * (NUMBER + COUNTER))
    vectors = programs * input_width * NUMBER
    return int(num_lanes * (state + counters + rows + entries)) + vectors


def _weights(width: int, input_width: int, output_width: int) -> int:
    """Return the parameters of one JumpReLU dictionary without a skip connection."""
    return width * (input_width + output_width + 2) + output_width
