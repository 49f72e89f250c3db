"""Runs that SIGKILL ends anywhere, gone on with by `tenfold runs resume`, lose no bit.

The contract of all rooms has kills in a later step and while saving.
"""

import json

import numpy as np
import pytest

from deadly import KILLED, Life, bits_of, live
from tenfold.engine.files import sha256

pytestmark = pytest.mark.long
SMALL = ("--width", "24", "--batch", "64", "--rows", "640", "--log-every", "1")
OFTEN = ("--checkpoint-steps", "3", "--quiet")
IN_A_STEP = "tenfold.rooms.jumprelu.trainer:learning_rate"
"""Called once a step, between the gradients and the update that they are for."""


def resume(path, **more):
    return Life(args=("runs", "resume", str(path), "--quiet"), **more)


# A matrix, four dictionaries side by side


@pytest.fixture(scope="module")
def of_a_matrix(tmp_path_factory):
    """Return the folder of an undisturbed run and of one that was killed."""
    root = tmp_path_factory.mktemp("matrix")
    np.save(root / "x.npy", np.random.default_rng(0).standard_normal((400, 8)).astype("float32"))

    def train(name, **more):
        words = ("jumprelu", "train", "tiny", *SMALL, *OFTEN, "--path", str(root / name))
        words += ("--data.path", str(root / "x.npy"), "--seeds", "0", "1", "--target-l0", "3", "6")
        return Life(args=words, **more)

    codes = live(
        train("whole"),
        train("early", at_call=IN_A_STEP, number=2),
        resume(root / "early"),
    )
    assert codes == [0, KILLED, 0]
    return root


def test_a_run_killed_before_its_first_checkpoint_ends_with_the_same_bits(of_a_matrix):
    bits = bits_of(of_a_matrix / "early")
    assert bits == bits_of(of_a_matrix / "whole")
    assert sum(name.startswith("out/") for name in bits) == 4


# A language model that the run trains itself

MODEL = {
    "steps": 8,
    "batch": 4,
    "held-out-tokens": 512,
    "decoder.context": 8,
    "decoder.width": 16,
    "decoder.depth": 1,
    "decoder.heads": 1,
    "decoder.kv-heads": 1,
    "decoder.head-width": 8,
    "decoder.hidden": 32,
}
BATCHES = 8  # of 32 windows of 8 tokens, two to a shard
SHARDS = {"tenfold.rooms.jumprelu.activations:ROWS_PER_SHARD": 512}
IN_A_LESSON = "tenfold.parts.sae.subject_training:cross_entropy"
IN_A_HARVEST = "tenfold.parts.sae.harvest:read_rows"
"""Called once for the columns, then once a batch."""


@pytest.fixture(scope="module")
def of_a_model(tmp_path_factory, small_text):
    """Return the folder of an undisturbed run and of those that were killed."""
    root = tmp_path_factory.mktemp("model")
    source = [("text", small_text), *MODEL.items()]
    data = [str(word) for name, value in source for word in (f"--data.subject.{name}", value)]
    data += ["--data.tokens", "2000", "--data.site", "blocks.0"]

    def train(name, *, cache, **more):
        words = ("jumprelu", "train", "tiny", *SMALL, *OFTEN, "--path", str(root / name))
        return in_cache(cache, args=(*words, "data:model", *data), **more)

    def resume(name, *, cache, **more):
        return in_cache(cache, args=("runs", "resume", str(root / name), "--quiet"), **more)

    def in_cache(cache, **more):
        return Life(constants=SHARDS, env={"TENFOLD_CACHE": str(root / cache)}, **more)

    codes = live(
        train("whole", cache="one"),
        train("harvest", cache="one", at_call=IN_A_HARVEST, number=1 + 6),
        # Two shards of two batches each are kept.
        resume("harvest", cache="one", at_call=IN_A_HARVEST, number=1 + BATCHES - 4 + 1),
        train("lesson", cache="two", at_call=IN_A_LESSON, number=5),
        resume("lesson", cache="two"),
    )
    assert codes == [0, KILLED, 0, KILLED, 0]
    return root


def harvest_of(run):
    return {file.name: sha256(file) for file in run.glob("harvest/*/*.bin")}


@pytest.mark.parametrize("moment", ["harvest", "lesson"])
def test_a_run_killed_before_its_first_step_ends_with_the_same_bits(of_a_model, moment):
    assert bits_of(of_a_model / moment) == bits_of(of_a_model / "whole")
    assert harvest_of(of_a_model / moment) == harvest_of(of_a_model / "whole")
    assert len({name.partition(".")[0] for name in harvest_of(of_a_model / "whole")}) == 4


def test_a_model_killed_in_a_step_of_its_training_is_the_same_model(of_a_model):
    whole, killed = (next((of_a_model / cache / "subjects").iterdir()) for cache in ("one", "two"))
    assert bits_of(killed) == bits_of(whole)
    assert [line["event"] for line in history(killed)] == ["created", "resumed"]


def history(run):
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
