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
from tenfold.engine.run import Options
from tenfold.parts.sae.formats import read_arrays, reference_forward
from tenfold.parts.sae.harvest import stream
from tenfold.parts.sae.subject import load_or_train
from tenfold.rooms.jumprelu import config, files
from tenfold.rooms.jumprelu.activations import check_site, held_out_windows
from tenfold.rooms.jumprelu.eval import check_width, delta_loss, mean_loss, measure
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, JumpReLU, TopK
from tenfold.rooms.jumprelu.rows import Rows, checked, open_matrix, open_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenfold.rooms.jumprelu.cli import Convert, Encode, Evaluate, Info

BLOCK_LATENTS = 1 << 26
"""Latents of one block of rows, active or not: 256 MB."""
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
    for x_BD in _blocks(rows, dictionary, title="encode", quiet=quiet):
        check_width(dictionary, x_BD)
        f_BM = dictionary.encode(x_BD.to(device))
        at = f_BM.nonzero()
        counts.append(at[:, 0].bincount(minlength=len(x_BD)).cpu().numpy())
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


def _blocks(rows: Rows, dictionary: Dictionary, *, title: str, quiet: bool) -> Iterator[Tensor]:
    size = max(1, BLOCK_LATENTS // dictionary.width)
    with Progress(title, rows.num_rows, quiet=quiet) as progress:
        for start in range(0, rows.num_rows, size):
            stop = min(start + size, rows.num_rows)
            yield checked(rows.read(start, stop), np.arange(start, stop))
            progress.update(stop)


def evaluate(cfg: Evaluate, *, quiet: bool = False) -> Json:
    """Return a dictionary's metrics on all given rows; with a model, its delta loss too."""
    device = choose(cfg.device).device
    dictionary = files.load(cfg.dictionary, device=device)
    if dictionary.transcoder:
        raise TenfoldError(
            f"{cfg.dictionary} is a transcoder, which rebuilds another site's output; measure it "
            "in its suite with `tenfold scope eval`"
        )
    if isinstance(cfg.data, config.Model):
        return _evaluate_in_model(dictionary, cfg.data, device=device, quiet=quiet)
    rows = open_rows(cfg.data)
    assert rows is not None, "a config never stands for a stream"
    return measure(dictionary, _blocks(rows, dictionary, title="eval", quiet=quiet)).summary()


def _evaluate_in_model(
    dictionary: Dictionary, data: config.Model, *, device: str, quiet: bool
) -> Json:
    """Measure on held-out text of the model, on as many tokens as the config says."""
    check_site(data)
    subject = load_or_train(data.subject, options=Options(quiet=quiet), device=device)
    batches = held_out_windows(subject, tokens=data.tokens)
    activations = (rows[data.site] for rows in stream(subject.module, (data.site,), batches))
    found = measure(dictionary, activations)
    clean = mean_loss(subject.loss, batches)
    rise = delta_loss(
        subject.module, data.site, dictionary, loss=subject.loss, batches=batches, clean=clean
    )
    return found.summary() | {"delta_loss": rise, "clean_loss": clean}


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
        `active`: latents active on the rows compared; `active_sets_differ`: those active in
        one and not in the other, beyond rounding of their pre-activation; `output`: largest
        difference over the outputs' root mean square.

    Raises:
        TenfoldError: if no rows make the dictionary fire, so that nothing can be compared.
    """
    x_ND = _lively_rows(dictionary)
    f_NM, y_ND = dictionary.encode(x_ND).numpy(), dictionary(x_ND).numpy()
    other_f, other_y = reference_forward(read_arrays(folder), x_ND.numpy())
    z_NM = dictionary.preactivations(x_ND / dictionary.scale).abs().numpy()
    differ = (f_NM > 0) != (other_f > 0)
    # Where float32 sums in another order, a latent at its threshold may fall to either side.
    borderline = np.isclose(z_NM, _edges(dictionary, z_NM), rtol=1e-4, atol=1e-6)
    rows = ~(differ & borderline).any(axis=1)
    size = float(np.sqrt(np.mean(np.square(y_ND))))
    return {
        "active": int((f_NM > 0).sum()),
        "active_sets_differ": int((differ & ~borderline).sum()),
        "output": float(np.abs(y_ND - other_y)[rows].max()) / size,
    }


def _lively_rows(dictionary: Dictionary) -> Tensor:
    """Return rows on which latents fire: random ones, ever further out until they do."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(PARITY_ROWS, dictionary.input_width, generator=generator)
    # A transcoder's b_dec is the centre of another site.
    centre = 0.0 if dictionary.transcoder else dictionary.b_dec.detach()
    for power in range(-8, 24):
        x_ND = (centre + 2.0**power * noise) * dictionary.scale
        if (dictionary.encode(x_ND) > 0).float().sum(dim=-1).mean() >= 1:
            return x_ND
    raise TenfoldError(
        f"none of {dictionary.width} latents fires on any random row; the dictionary is dead"
    )


def _edges(dictionary: Dictionary, z_NM: np.ndarray) -> np.ndarray:
    """Return where each pre-activation's latent goes on or off, [N, M] or what broadcasts."""
    match dictionary.unit:
        case JumpReLU(threshold=threshold) | BatchTopK(threshold=threshold):
            edges: np.ndarray = threshold.detach().numpy()
        case TopK(k=k):
            edges = -np.sort(-z_NM, axis=1)[:, int(k) - 1 : int(k) + 1].mean(axis=1, keepdims=True)
        case _:
            edges = np.zeros(())
    return edges


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
