"""Sparse dictionaries in the files of other libraries and our own, to and from plain arrays.

The table `FORMATS` says which kind of dictionary fits which format; whatever does not fit is
refused by name. Sizes come from the arrays, never from folder names.
"""

from tenfold.parts.sae.formats.arrays import (
    Arrays,
    Kind,
    as_jumprelu,
    check,
    fold_scale,
    reference_forward,
    with_pre_bias,
)
from tenfold.parts.sae.formats.gemma_scope import release_folder
from tenfold.parts.sae.formats.table import FORMATS, Format, read_arrays, write_arrays

__all__ = [
    "FORMATS",
    "Arrays",
    "Format",
    "Kind",
    "as_jumprelu",
    "check",
    "fold_scale",
    "read_arrays",
    "reference_forward",
    "release_folder",
    "with_pre_bias",
    "write_arrays",
]
