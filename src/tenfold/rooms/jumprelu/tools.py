"""What is done with a finished dictionary: encode, evaluate, convert, describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tenfold.engine.config import Json
from tenfold.engine.device import choose
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import replacing
from tenfold.engine.progress import Progress
from tenfold.parts.sae.formats import read_arrays, reference_forward
from tenfold.rooms.jumprelu import config, files
from tenfold.rooms.jumprelu.data import READ_ROWS
from tenfold.rooms.jumprelu.eval import check_width, measure
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.jumprelu.rows import Rows, open_matrix, open_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenfold.rooms.jumprelu.cli import Convert, Encode, Evaluate, Info

PARITY_ROWS = 64
PARITY_TOLERANCE = 1e-5
"""Largest difference of outputs after a conversion, as a share of their root mean square."""


@torch.no_grad()
def encode_matrix(cfg: Encode, *, quiet: bool = False) -> Json:
    """Write the latents of every row as a SciPy CSR file.

    Raises:
        TenfoldError: if dictionary, data or the name of the result are unusable.
    """
    out = Path(cfg.out)
    if out.suffix != ".npz":
        raise TenfoldError(f"the sparse result {out.name} must end in .npz; rename it")
    device = choose(cfg.device).device
    dictionary = files.load(cfg.dictionary, device=device)
    rows = open_matrix(cfg.data, key=cfg.key) if cfg.key else open_rows(cfg.data)
    assert rows is not None, "a path never stands for a stream"
    counts, places, values = [], [], []
    for x_BD in _blocks(rows, title="encode", quiet=quiet):
        check_width(dictionary, x_BD)
        f_BM = dictionary.encode(x_BD.to(device))
        at = f_BM.nonzero()
        counts.append((f_BM > 0).sum(dim=-1).cpu().numpy())
        places.append(at[:, 1].to(torch.int32).cpu().numpy())
        values.append(f_BM[at[:, 0], at[:, 1]].cpu().numpy())
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts), dtype=np.int64)])
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            format=b"csr",
            shape=np.array([rows.num_rows, dictionary.width]),
            indptr=indptr,
            indices=np.concatenate(places),
            data=np.concatenate(values),
        )
    return {"out": str(out), "rows": rows.num_rows, "l0": float(indptr[-1]) / rows.num_rows}


def _blocks(rows: Rows, *, title: str, quiet: bool) -> Iterator[Tensor]:
    with Progress(title, rows.num_rows, quiet=quiet) as progress:
        for start in range(0, rows.num_rows, READ_ROWS):
            stop = min(start + READ_ROWS, rows.num_rows)
            yield rows.read(start, stop)
            progress.update(stop)


def evaluate(cfg: Evaluate, *, quiet: bool = False) -> Json:
    """Return a dictionary's metrics on all rows of the given activations."""
    dictionary = files.load(cfg.dictionary, device=choose(cfg.device).device)
    if isinstance(cfg.data, config.Model):
        raise TenfoldError("eval takes a matrix or shards; harvest the model's activations first")
    rows = open_rows(cfg.data)
    assert rows is not None, "a config never stands for a stream"
    return measure(dictionary, _blocks(rows, title="eval", quiet=quiet)).summary()


def convert(cfg: Convert) -> Json:
    """Write a dictionary in another format, read it back and compare both on random rows.

    Raises:
        TenfoldError: if the format does not hold it, or what was written behaves differently.
    """
    dictionary = files.load(cfg.source)
    values = read_arrays(files.find_dictionary(Path(cfg.source))).values
    written = files.save(
        dictionary, cfg.out, format=cfg.format, values=values, overwrite=cfg.overwrite
    )
    differences = parity(dictionary, Path(cfg.out))
    if differences["active_sets_differ"] or differences["output"] > PARITY_TOLERANCE:
        raise TenfoldError(
            f"{written} behaves differently from {cfg.source}: {differences}; do not use it"
        )
    return {"written": str(written), "kind": dictionary.kind, "parity": differences}


@torch.no_grad()
def parity(dictionary: Dictionary, folder: Path) -> Json:
    """Compare a dictionary with a file of it, read without the code that trains.

    Returns:
        `active_sets_differ`: latents active in one and not in the other, none of them within
        rounding of its threshold; `output`: largest difference over the outputs' root mean
        square.
    """
    generator = torch.Generator().manual_seed(0)
    # Rows around the decoder's bias, as far out as its directions at typical strength.
    spread = dictionary.scale or 1.0
    x_ND = dictionary.b_dec.cpu() * dictionary.scale + spread * torch.randn(
        PARITY_ROWS, dictionary.input_width, generator=generator
    )
    f_NM = dictionary.encode(x_ND).numpy()
    y_ND = dictionary.decode(torch.from_numpy(f_NM)).numpy()
    other_f, other_y = reference_forward(read_arrays(folder), x_ND.numpy())
    differ = int((((f_NM > 0) != (other_f > 0)) & (np.abs(f_NM - other_f) > 1e-5 * spread)).sum())
    size = float(np.sqrt(np.mean(np.square(y_ND)))) or 1.0
    return {"active_sets_differ": differ, "output": float(np.abs(y_ND - other_y).max()) / size}


@torch.no_grad()
def describe(cfg: Info) -> Json:
    """Return what a dictionary file holds."""
    path = files.find_dictionary(Path(cfg.dictionary))
    given = read_arrays(path)
    dictionary = files.from_arrays(given)
    facts: Json = {
        "path": str(path),
        "kind": given.kind,
        "input_width": dictionary.input_width,
        "latents": dictionary.width,
        "decoder_norms": _span(dictionary.w_dec.norm(dim=-1)),
    }
    if "threshold" in given.arrays:
        facts["thresholds"] = _span(torch.as_tensor(given.arrays["threshold"]).reshape(-1))
    return facts | {name: value for name, value in given.values.items() if name != "format"}


def _span(values: Tensor) -> str:
    return f"{float(values.min()):.4g} to {float(values.max()):.4g}"
