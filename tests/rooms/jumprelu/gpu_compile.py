"""Compile every kernel for one kind of GPU and print its name; no GPU is needed for that."""

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tenfold.rooms.jumprelu.kernels import triton_loops as loops

HOPPER = GPUTarget("cuda", 90, 32)
WHOLE = {"fired": "*i1", "touched": "*i64", "order": "*i64"}
COUNTS = ("latents", "counts", "packed_latents", "packed_rows", "entry_rows", "num_active")
NUMBERS = ("half_window", "factor", "frequency_weight", "frequency_scale", "rate", "threshold_rate")
NUMBERS += ("beta2", "log2_beta2", "root_correction")
SIZES = ("num_rows", "width", "width_in", "width_out", "per_group", "per_program", "capacity")
SIZES += ("step", "x_lane", "x_row", "offset_lane", "offset_row", "target_lane", "target_row")
CONSTANTS = {
    "select_entries": {
        "PRE_BIAS": True,
        "PRECISION": "tf32",
        "BLOCK_B": 64,
        "BLOCK_M": 64,
        "BLOCK_D": 32,
    },
    "pack_entries": {"GROUPS": 8, "BLOCK": 64},
    "decode_rows": {"BLOCK_O": 4_096, "BLOCK_J": 2},
    "project_errors": {"BLOCK_O": 4_096, "BLOCK_J": 2},
    "update_latents": {
        "PRE_BIAS": True,
        "AS_LOG": True,
        "STEP_TO_Z": True,
        "BLOCK_D": 1_024,
        "BLOCK_O": 1_024,
        "BLOCK_J": 32,
    },
}


def kind_of(name):
    """Return the type with which the step passes an argument."""
    if name in WHOLE:
        return WHOLE[name]
    if name in SIZES:
        return "i32"
    if name in NUMBERS:
        return "fp32"
    if name.endswith("starts"):
        return "*i64"
    return "*i32" if name in COUNTS else "*fp32"


if __name__ == "__main__":
    for kernel, constants in CONSTANTS.items():
        function = getattr(loops, kernel)
        names = [parameter.name for parameter in function.params]
        signature = {n: "constexpr" if n in constants else kind_of(n) for n in names}
        places = {(names.index(name),): value for name, value in constants.items()}
        source = ASTSource(function, signature=signature, constexprs=places)
        options = {"num_warps": 8, "enable_fp_fusion": True}
        assert triton.compile(source, target=HOPPER, options=options).asm["cubin"]
        sys.stdout.write(f"{kernel}\n")
