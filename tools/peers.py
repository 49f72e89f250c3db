"""Cross dictionaries with the libraries they come from, each in its own virtual environment.

    python tools/peers.py              install what is missing, cross, print a table
    python tools/peers.py --golden     also rewrite tests/golden/sae from what they wrote

A cell is one kind of dictionary in one format. "reads theirs": they write a file and compute a
forward pass, we read the file and compute ours. "they read ours": the other way round. A cell
passes if both have the same active latents and differ by at most 1e-5 everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tenfold.engine.rng import stream
from tenfold.parts.sae.formats import (
    FORMATS,
    Arrays,
    Kind,
    as_jumprelu,
    fold_scale,
    read_arrays,
    reference_forward,
    release_folder,
    write_arrays,
)
from tenfold.parts.sae.formats.tensors import read_safetensors, write_safetensors

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "sae"
TORCH = "torch==2.13.0"
TOLERANCE = 1e-5
D, M, N, K = 8, 24, 16, 4


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A library, and which of our formats it loads."""

    name: str
    script: str
    loads: tuple[str, ...]


PEERS = (
    Peer(
        name="sae-lens",
        script="cross_sae_lens.py",
        loads=("sae-lens", "gemma-scope", "gemma-scope-2"),
    ),
    Peer(name="sparsify", script="cross_sparsify.py", loads=("sparsify",)),
    Peer(name="dictionary-learning", script="cross_dictionary_learning.py", loads=()),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one crossing gave; `difference` is the largest over latents and outputs."""

    peer: str
    way: str
    format: str
    dictionary: str
    flipped: int
    difference: float

    @property
    def passes(self) -> bool:
        """Whether active latents agree and values lie within the tolerance."""
        return self.flipped == 0 and self.difference <= TOLERANCE


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--golden", action="store_true", help="rewrite tests/golden/sae")
    golden = parser.parse_args().golden
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory() as scratch:
        for peer in PEERS:
            install(peer.name)
            folder = Path(scratch) / peer.name
            cells += reads_theirs(peer, folder / "theirs")
            cells += they_read_ours(peer, folder / "ours")
            if golden:
                keep_golden(peer, folder / "theirs")
    print_table(cells)
    return 0 if all(cell.passes for cell in cells) else 1


def python_of(name: str) -> Path:
    """Return the interpreter of a library's environment."""
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return ROOT / f".venv-{name}" / inside


def install(name: str) -> None:
    """Make the environment of `name` from its pins, unless it is there and up to date."""
    pins = ROOT / "requirements" / "peers" / f"{name}.txt"
    folder, python = ROOT / f".venv-{name}", python_of(name)
    stamp, wanted = folder / ".ready", hashlib.sha256(pins.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {name} into {folder.name} ...", flush=True)
    venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # torch first and with what its build needs; everything else is pinned one by one
    subprocess.run([*pip, TORCH], check=True)
    subprocess.run([*pip, "--no-deps", "-r", str(pins)], check=True)
    stamp.write_text(wanted)


def run_peer(peer: Peer, action: str, folder: Path) -> None:
    """Run the library's script on `folder` in its own environment."""
    script = ROOT / "bench" / "peers" / peer.script
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    command = [str(python_of(peer.name)), str(script), action, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{peer.name} failed to {action}:\n{done.stdout}{done.stderr}")


def reads_theirs(peer: Peer, folder: Path) -> Iterator[Cell]:
    """Let the library write and compare what we make of its files."""
    folder.mkdir(parents=True)
    run_peer(peer, "write", folder)
    for made in sorted(folder.iterdir()):
        dictionary, probe = read_arrays(made), read_safetensors(made / "probe.safetensors")
        latents, output = reference_forward(dictionary, probe["x"])
        ours = {"latents": latents, "output": output}
        format = str(dictionary.values["format"])
        yield compare(ours, probe, peer=peer, way="reads theirs", format=format, name=made.name)


def they_read_ours(peer: Peer, folder: Path) -> Iterator[Cell]:
    """Write every kind that fits, let the library load it and compare."""
    expected = {}
    for format in peer.loads:
        for name, dictionary in dictionaries():
            if not fits(dictionary, format):
                continue
            target = folder / f"{format}.{name}"
            inner = target / release_folder(layer=3, num_latents=M, average_l0=K)
            write_arrays(inner if format == "gemma-scope" else target, dictionary, format=format)
            x = stream(1, "peers", format, name).normal(size=(N, D)).astype(np.float32)
            write_safetensors(target / "probe.safetensors", {"x": x})
            latents, output = reference_forward(fold_scale(as_jumprelu(dictionary)), x)
            expected[target] = {"latents": latents, "output": output}
    if not expected:
        return
    run_peer(peer, "load", folder)
    for target, ours in expected.items():
        theirs = read_safetensors(target / "theirs.safetensors")
        format, _, name = target.name.partition(".")
        yield compare(ours, theirs, peer=peer, way="they read ours", format=format, name=name)


def fits(dictionary: Arrays, format: str) -> bool:
    """Return whether `write_arrays` takes this dictionary in this format."""
    entry = FORMATS[format]
    transcoder = bool(dictionary.values.get("transcoder"))
    return dictionary.kind in entry.kinds and (entry.transcoders or not transcoder)


def dictionaries() -> Iterator[tuple[str, Arrays]]:
    """Yield one of each kind with a scale and a pre-bias to fold, and some without."""
    kinds: tuple[Kind, ...] = ("relu", "gated", "topk", "batchtopk", "matryoshka", "jumprelu")
    for kind in kinds:
        yield kind, random_dictionary(kind, pre_bias=True, scale=2.5)
        yield f"{kind}-folded", random_dictionary(kind, pre_bias=False, scale=1.0)
    transcoder = random_dictionary("topk", pre_bias=False, scale=1.0)
    transcoder.values["transcoder"] = True
    yield "transcoder", transcoder


def random_dictionary(kind: Kind, *, pre_bias: bool, scale: float) -> Arrays:
    """Return a dictionary with normal weights and thresholds in [0.1, 0.6]."""
    rng = stream(0, "peers", kind, str(pre_bias))
    shapes = {"w_enc": (D, M), "b_enc": (M,), "w_dec": (M, D), "b_dec": (D,)}
    if kind == "gated":
        shapes |= {"gain_log": (M,), "b_mag": (M,)}
    arrays = {n: rng.normal(scale=0.5, size=s).astype(np.float32) for n, s in shapes.items()}
    if kind == "jumprelu":
        arrays["threshold"] = rng.uniform(0.1, 0.6, size=M).astype(np.float32)
    elif kind in ("batchtopk", "matryoshka"):
        arrays["threshold"] = np.float32(0.4) * np.ones((), np.float32)
    values = {"pre_bias": pre_bias, "scale": scale, "k": K, "prefixes": [4, 12, M]}
    return Arrays(kind=kind, arrays=arrays, values=values)


def compare(
    ours: dict[str, np.ndarray],
    theirs: dict[str, np.ndarray],
    *,
    peer: Peer,
    way: str,
    format: str,
    name: str,
) -> Cell:
    """Count latents that are active in one only, and take the largest difference."""
    flipped = int(((ours["latents"] > 0) != (theirs["latents"] > 0)).sum())
    pairs = [(ours[key], theirs[key]) for key in ("latents", "output")]
    difference = max(float(np.abs(mine - other).max()) for mine, other in pairs)
    return Cell(
        peer=peer.name,
        way=way,
        format=format,
        dictionary=name,
        flipped=flipped,
        difference=difference,
    )


def keep_golden(peer: Peer, written: Path) -> None:
    """Replace the golden files of a library by what it has just written."""
    target = GOLDEN / peer.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(written, target)
    pins = (ROOT / "requirements" / "peers" / f"{peer.name}.txt").read_text().splitlines()
    made_by = " and ".join(line for line in pins[1:3])
    (target / "ORIGIN.md").write_text(
        f"Written by {made_by} with `bench/peers/{peer.script}` (random weights, seed 0), kept by\n"
        "`python tools/peers.py --golden`. Each folder is one dictionary as the library saves it;\n"
        "`probe.safetensors` holds inputs `x` and the library's own `latents` and `output`.\n"
    )


def print_table(cells: list[Cell]) -> None:
    """Print one line a cell and a closing line."""
    print(f"{'library':20} {'way':15} {'format':20} {'dictionary':22} flipped  difference")
    for cell in cells:
        print(
            f"{cell.peer:20} {cell.way:15} {cell.format:20} {cell.dictionary:22} "
            f"{cell.flipped:7d}  {cell.difference:.1e}{'' if cell.passes else '  FAILS'}"
        )
    failed = sum(not cell.passes for cell in cells)
    print(f"{len(cells) - failed} passed, {failed} failed")


if __name__ == "__main__":
    sys.exit(main())
