"""What a user gets wrong: one line with the value at fault and the remedy, exit code 2."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tenfold.cli import main
from tenfold.engine import lock
from tenfold.rooms.jumprelu import files
from tenfold.rooms.jumprelu.model import create

ROWS, WIDTH, LATENTS = 200, 6, 12


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A command line with `{here}` for the folder below, and what must be told."""

    line: str
    value: str
    """What is wrong, as a regular expression."""
    remedy: str
    """What to do, likewise."""


TRAIN = "jumprelu train tiny --data.path {here}/"
GOOD = f"{TRAIN}good.npy --width {LATENTS} "
MODEL = (
    "jumprelu train tiny --quiet data:model --data.subject.text {here}/text --data.subject.steps 2 "
    "--data.subject.decoder.context 16 --data.subject.decoder.depth 1 "
)

BAD = {
    "no data": Bad(line="jumprelu train tiny", value="no activations given", remedy="--data.path"),
    "missing file": Bad(
        line=TRAIN + "absent.npy", value=r"absent\.npy is not a file", remedy="give an .npy"
    ),
    "wrong suffix": Bad(
        line=TRAIN + "matrix.csv", value=r"'\.csv'", remedy=r"\.npy, \.npz, \.safetensors"
    ),
    "truncated npy": Bad(
        line=TRAIN + "cut.npy", value="cut.npy .* ends at byte 1000", remedy="write it again"
    ),
    "truncated npz": Bad(
        line=TRAIN + "cut.npz", value="cut.npz .* ends at byte 1000", remedy="write it again"
    ),
    "truncated safetensors": Bad(
        line=TRAIN + "cut.safetensors",
        value="cut.safetensors .* ends at byte 40",
        remedy="write it again",
    ),
    "text named npy": Bad(
        line=TRAIN + "text.npy", value="text.npy is no whole .npy file", remedy="write it again"
    ),
    "objects": Bad(
        line=TRAIN + "objects.npy", value="objects.npy", remedy="write it again|convert"
    ),
    "absent key": Bad(line=TRAIN + "two.npz --data.key left", value="'left'", remedy=r"\bright\b"),
    "key of one of several": Bad(
        line=TRAIN + "two.npz", value=r"two.npz holds \['other', 'right'\]", remedy="--data.key"
    ),
    "key of a single array": Bad(
        line=TRAIN + "good.npy --data.key x", value="key 'x'", remedy="leave it out"
    ),
    "NaN row": Bad(line=TRAIN + "nan.npy", value="row 7 holds NaN", remedy="remove such rows"),
    "constant columns": Bad(
        line=TRAIN + "constant.npy", value="all 6 columns are constant", remedy="nothing to learn"
    ),
    "integers": Bad(line=TRAIN + "int.npy", value="int.npy holds int64", remedy="convert it to"),
    "one dimension": Bad(
        line=TRAIN + "flat.npy", value=r"flat.npy has shape \[200\]", remedy=r"wanted \[N, D\]"
    ),
    "no rows": Bad(
        line=TRAIN + "empty.npy", value=r"empty.npy has shape \[0, 6\]", remedy=r"wanted \[N, D\]"
    ),
    "one row": Bad(line=TRAIN + "single.npy", value="1 row is too few", remedy="one to hold out"),
    "no shards": Bad(
        line="jumprelu train tiny data:shards --data.path {here}/absent",
        value="no shards at .*absent",
        remedy="was the path meant so",
    ),
    "unknown room": Bad(line="jumprelo train", value="'jumprelo'", remedy="jumprelu"),
    "unknown verb": Bad(line="jumprelu tran", value="'tran'", remedy=r"\btrain\b"),
    "unknown option": Bad(line=GOOD + "--wdth 3", value="'--wdth'", remedy="--width"),
    "unknown recipe": Bad(line="jumprelu train tinny", value="'tinny'", remedy=r"\btiny\b"),
    "unknown kind": Bad(line=GOOD + "method:topp", value="'method:topp'", remedy="method:topk"),
    "no number": Bad(line=GOOD + "--rows many", value="many", remedy="--rows.*--help"),
    "target above width": Bad(
        line=GOOD + "--target-l0 13", value=r"target_l0 \[13\.0\]", remedy=r"lie in \(0, 12\]"
    ),
    "target and price": Bad(
        line=GOOD + "--target-l0 3 --price 0.1",
        value=r"target_l0 \[3\.0\] and price \[0\.1\]",
        remedy="give exactly one",
    ),
    "price for TopK": Bad(
        line=GOOD + "method:topk --target-l0 --price 0.1",
        value="TopK has no price",
        remedy="give target_l0",
    ),
    "negative price": Bad(
        line=GOOD + "--target-l0 --price -1", value=r"price \[-1\.0\]", remedy="must be positive"
    ),
    "negative batch": Bad(
        line=GOOD + "--batch -4", value=r"batch \(-4\)", remedy="must be at least 1"
    ),
    "empty seeds": Bad(line=GOOD + "--seeds", value=r"seeds \[\]", remedy="at least one"),
    "equal seeds": Bad(line=GOOD + "--seeds 1 1", value=r"seeds \[1, 1\]", remedy="each once"),
    "all held out": Bad(
        line=GOOD + "--held-out 1", value=r"held_out \(1\.0\)", remedy=r"lie in \(0, 1\)"
    ),
    "prefixes that fall": Bad(
        line=GOOD + "method:matryoshka --method.prefixes 0.5 0.25 1",
        value=r"prefixes \[0\.5, 0\.25, 1\.0\]",
        remedy="must increase",
    ),
    "unknown device": Bad(
        line=GOOD + "--device gpu7", value="device 'gpu7'", remedy="use auto or cpu"
    ),
    "warm start of another shape": Bad(
        line=GOOD + "--warm-start {here}/wide",
        value=r"D 6 x M 24",
        remedy=r"D 6 x M 12; use a dictionary of that shape",
    ),
    "warm start that is absent": Bad(
        line=GOOD + "--warm-start {here}/absent",
        value="absent does not exist",
        remedy="give the folder of a dictionary",
    ),
    "unknown site": Bad(
        line=MODEL + "--data.site blocks.7", value="'blocks.7'", remedy=r"blocks\.0"
    ),
    "no text": Bad(
        line="jumprelu train tiny data:model --data.subject.text {here}/wide",
        value=r"wide: \d+ bytes|wide",
        remedy="name a folder",
    ),
    "dictionary of another width": Bad(
        line="jumprelu eval {here}/dictionary --data.path {here}/narrow.npy",
        value=r"width 5, the dictionary is D 6 x M 12",
        remedy="different sites",
    ),
    "eval without data": Bad(
        line="jumprelu eval {here}/dictionary", value="no activations given", remedy="--data.path"
    ),
    "eval at an unknown site": Bad(
        line="jumprelu eval {here}/dictionary data:model --data.site blocks.9",
        value="blocks.9",
        remedy="did you mean|known",
    ),
    "eval at several sites": Bad(
        line="jumprelu eval {here}/dictionary data:model --data.site blocks.*",
        value="names 4 sites",
        remedy="choose one",
    ),
    "folder without a dictionary": Bad(
        line="jumprelu info {here}/text", value="text", remedy="dictionary|format"
    ),
    "absent dictionary": Bad(
        line="jumprelu info {here}/absent",
        value="absent does not exist",
        remedy="give the folder of a dictionary",
    ),
    "broken dictionary": Bad(
        line="jumprelu info {here}/broken", value="broken", remedy="again|whole|broken"
    ),
    "format of another kind": Bad(
        line="jumprelu convert {here}/topk {here}/new --format gemma-scope",
        value="topk",
        remedy="sae-lens|sparsify",
    ),
    "unknown format": Bad(
        line="jumprelu convert {here}/topk {here}/new --format onnx",
        value="onnx",
        remedy="sae-lens",
    ),
    "folder in use by other files": Bad(
        line="jumprelu convert {here}/topk {here}/text",
        value="text is not empty",
        remedy="--overwrite",
    ),
    "sparse result of another type": Bad(
        line="jumprelu encode {here}/dictionary {here}/good.npy --out {here}/f.csv",
        value="f.csv",
        remedy=r"must end in \.npz",
    ),
    "no name for the sparse result": Bad(
        line="jumprelu encode {here}/dictionary {here}/good.npy", value="--out", remedy="--help"
    ),
    "report of an absent run": Bad(
        line="jumprelu report nothing", value="'nothing'", remedy="known|there are|one of"
    ),
    "changed config": Bad(
        line=GOOD + "--batch 32 --path {here}/stopped",
        value="batch: 64 -> 32",
        remedy="--accept-changes",
    ),
    "run in use": Bad(
        line="runs resume {here}/busy", value=r"in use by process \d+", remedy="wait until it ends"
    ),
    "encode with an unfinished run": Bad(
        line="jumprelu encode {here}/stopped {here}/good.npy --out {here}/f.npz",
        value="run stopped has no dictionary yet",
        remedy="resume it",
    ),
    "unknown scale": Bad(
        line="jumprelu claim --scale huge", value="huge", remedy="quick.*laptop.*full.*gpu"
    ),
    "no workers": Bad(
        line="jumprelu claim --workers 0", value=r"workers \(0\)", remedy="at least 1"
    ),
}


def matrices():
    good = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype("float32")
    bad = good.copy()
    bad[7, 3] = np.nan
    return {
        "good": good,
        "nan": bad,
        "constant": np.ones_like(good),
        "int": np.ones((ROWS, WIDTH), dtype=np.int64),
        "flat": good[:, 0],
        "narrow": good[:, :5],
        "empty": good[:0],
        "single": good[:1],
    }


def a_dictionary(kind, *, width):
    generator = torch.Generator().manual_seed(0)
    return create(kind, input_width=WIDTH, width=width, generator=generator, k=3)


def write_matrices(here):
    from safetensors.numpy import save_file

    for name, array in matrices().items():
        np.save(here / f"{name}.npy", array)
    good = matrices()["good"]
    np.save(here / "objects.npy", np.array([[{}, {}]], dtype=object), allow_pickle=True)
    np.savez(here / "two.npz", right=good, other=good)
    save_file({"x": good}, here / "whole.safetensors")
    for whole, cut, size in (
        ("good.npy", "cut.npy", 1000),
        ("two.npz", "cut.npz", 1000),
        ("whole.safetensors", "cut.safetensors", 40),
    ):
        (here / cut).write_bytes((here / whole).read_bytes()[:size])
    (here / "matrix.csv").write_text("1,2\n")
    (here / "text.npy").write_text("1,2\n" * 100)


def write_dictionaries(here):
    files.save(a_dictionary("jumprelu", width=LATENTS), here / "dictionary")
    files.save(a_dictionary("jumprelu", width=2 * LATENTS), here / "wide")
    files.save(a_dictionary("topk", width=LATENTS), here / "topk")
    (file,) = (here / "dictionary").glob("*.safetensors")
    (here / "broken").mkdir()
    (here / "broken" / file.name).write_bytes(file.read_bytes()[:-7])


@pytest.fixture(scope="module")
def here(tmp_path_factory, small_text):
    """Return a folder of files and runs, most of them of no use."""
    here = tmp_path_factory.mktemp("bad")
    write_matrices(here)
    write_dictionaries(here)
    (here / "text").symlink_to(small_text)
    for name in ("stopped", "busy"):
        line = GOOD + f"--batch 64 --quiet --stop-after 1 --path {{here}}/{name}"
        assert main(line.format(here=here).split()) == 130
    with lock.hold(here / "busy"):
        yield here


@pytest.mark.parametrize("name", BAD)
def test_a_bad_input_is_told_in_one_line_with_value_and_remedy(name, here, command):
    bad = BAD[name]
    code, out, err = command(*bad.line.format(here=here).split())
    assert code == 2
    assert not out
    assert err.startswith("tenfold: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert re.search(bad.value, err)
    assert re.search(bad.remedy, err)
