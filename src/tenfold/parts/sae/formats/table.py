"""Which dictionary fits which format, and the two doors: `read_arrays` and `write_arrays`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.parts.sae.formats import dictionary_learning, gemma_scope, own, sae_lens, sparsify
from tenfold.parts.sae.formats.arrays import Arrays, Kind, check


@dataclass(frozen=True, kw_only=True)
class Format:
    """One library's files.

    Attributes:
        marker: the file that holds the arrays and by which a folder is recognised.
        kinds: what can be written in it, or read from it where it is only read.
        read: from the marker's path.
        write: to the marker's path; None where the format is only read.
        transcoders: whether it can say that a dictionary maps one site to another, and hold
            the skip connection from one to the other.
    """

    marker: str
    kinds: tuple[Kind, ...]
    read: Callable[[Path], Arrays]
    write: Callable[[Path, Arrays], None] | None
    transcoders: bool = False


FORMATS: dict[str, Format] = {
    "gemma-scope": Format(
        marker="params.npz",
        kinds=("jumprelu", "batchtopk", "matryoshka"),
        read=gemma_scope.read_first,
        write=gemma_scope.write_first,
    ),
    "gemma-scope-2": Format(
        marker="params.safetensors",
        kinds=("jumprelu", "batchtopk", "matryoshka"),
        read=gemma_scope.read_second,
        write=gemma_scope.write_second,
        transcoders=True,
    ),
    "sae-lens": Format(
        marker="sae_weights.safetensors",
        kinds=("relu", "gated", "topk", "jumprelu", "batchtopk", "matryoshka"),
        read=sae_lens.read,
        write=sae_lens.write,
    ),
    "sparsify": Format(
        marker="sae.safetensors",
        kinds=("topk",),
        read=sparsify.read,
        write=sparsify.write,
        transcoders=True,
    ),
    "dictionary-learning": Format(
        marker="ae.pt",
        kinds=("relu", "gated", "topk", "jumprelu", "batchtopk", "matryoshka"),
        read=dictionary_learning.read,
        write=None,
    ),
    "tenfold": Format(
        marker="dictionary.safetensors",
        kinds=get_args(Kind),
        read=own.read,
        write=own.write,
        transcoders=True,
    ),
}


def read_arrays(path: Path) -> Arrays:
    """Read a dictionary from a folder or from the file in it that holds the arrays.

    Raises:
        TenfoldError: if no format is recognised, or the files are broken or hold something
            that has no place here.
    """
    for entry in FORMATS.values():
        if path.name == entry.marker:
            return entry.read(path)
    found = [entry for entry in FORMATS.values() if (path / entry.marker).is_file()]
    if len(found) == 1:
        return found[0].read(path / found[0].marker)
    markers = ", ".join(entry.marker for entry in found or FORMATS.values())
    if found:
        raise TenfoldError(f"{path} holds several dictionaries: {markers}; name one of the files")
    raise TenfoldError(f"{path} holds no dictionary; a folder must hold one of {markers}")


def write_arrays(path: Path, dictionary: Arrays, *, format: str) -> Path:
    """Write a dictionary into a folder, or to the named file; return where its arrays are.

    What the format has no place for is converted where that is exact: the scale and the
    pre-encoder bias are folded, BatchTopK becomes the JumpReLU that it is at inference.

    Raises:
        TenfoldError: if the format does not hold this kind of dictionary, or its demands
            (positive thresholds) are not met.
    """
    if format not in FORMATS:
        raise unknown_name("dictionary format", format, FORMATS)
    entry = FORMATS[format]
    if entry.write is None:
        raise TenfoldError(
            f"format {format!r} is only read (its files are pickles){_use(dictionary)}"
        )
    if dictionary.kind not in entry.kinds:
        held = _list(entry.kinds, "and")
        raise TenfoldError(
            f"format {format!r} holds {held}, not {dictionary.kind}{_use(dictionary)}"
        )
    if not entry.transcoders and dictionary.transcoder:
        raise TenfoldError(
            f"format {format!r} holds autoencoders, not transcoders{_use(dictionary)}"
        )
    if not entry.transcoders and "w_skip" in dictionary.arrays:
        raise TenfoldError(f"format {format!r} holds no skip connections{_use(dictionary)}")
    target = path if path.name == entry.marker else path / entry.marker
    entry.write(target, check(dictionary, where=f"writing {target}"))
    return target


def _use(dictionary: Arrays) -> str:
    fitting = [
        name
        for name, entry in FORMATS.items()
        if entry.write is not None
        and dictionary.kind in entry.kinds
        and (entry.transcoders or not (dictionary.transcoder or "w_skip" in dictionary.arrays))
    ]
    return f"; use {_list(fitting, 'or')}"


def _list(names: Sequence[str], word: str) -> str:
    """Return "a, b or c"."""
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
