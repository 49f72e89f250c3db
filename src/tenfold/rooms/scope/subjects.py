"""What can be looked into: models trained here, Hugging Face models, own code, other runs."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tenfold.engine import files
from tenfold.engine.config import digest, encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.hub import is_repository
from tenfold.engine.run import Options
from tenfold.parts.sae import subject_config
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen, Split
from tenfold.parts.sae.subject import Subject, load_or_train
from tenfold.parts.text.packing import KINDS
from tenfold.parts.text.tokens import BOUNDARY
from tenfold.parts.text.tokens import encode as tokens_of
from tenfold.rooms.scope import config, hugging_face, own_code
from tenfold.rooms.scope.digests import weights_digest
from tenfold.rooms.scope.language import escape, next_token_loss
from tenfold.rooms.scope.proposals import SiteRow, describe_sites, propose_sites

__all__ = ["SiteRow", "Specimen", "describe_sites", "open_subject", "propose_sites"]

TRAINED_HERE = {
    "tiny": subject_config.tiny,
    "quick": subject_config.quick,
    "laptop": subject_config.laptop,
}
FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<function>\w+)")
BOUNDARY_SHOWN = "\u241e"
"""How the token before each document reads: the symbol of a record separator."""


def open_subject(
    cfg: config.Subject,
    *,
    options: Options = Options(),  # noqa: B008 frozen
    device: str = "cpu",
    trusted: bool = True,
) -> Specimen:
    """Open what `cfg.source` names: a network with its data, frozen and in evaluation mode.

    Args:
        cfg: the subject.
        options: how to carry the training of a model that is trained on the spot.
        device: where the network goes.
        trusted: whether the user named the source now. False, as when a saved run is opened
            again, does not run the code of FILE.py:FUNCTION.

    Raises:
        TenfoldError: if there is no such thing, it cannot be opened, or it is code that the
            user did not name.
    """
    source = cfg.source
    if source in TRAINED_HERE:
        return specimen_of_subject(_trained(cfg, options=options, device=device), cfg)
    if match := FUNCTION.fullmatch(source):
        if not trusted:
            raise TenfoldError(
                f"the subject of this run is code, {source}, which is not run unless you name it: "
                f"add --subject.source {source}, or --trust-code to `tenfold runs resume`"
            )
        path = Path(match["file"]).expanduser()
        return own_code.specimen_of_function(path, match["function"], device=device)
    path = Path(source).expanduser()
    if path.is_dir():
        return _of_folder(replace(cfg, source=str(path)), path, options=options, device=device)
    if is_repository(source):
        return hugging_face.specimen_of_model(cfg, device=device, quiet=options.quiet)
    raise TenfoldError(
        f"subject {source!r} is none of {', '.join(TRAINED_HERE)}, no FILE.py:FUNCTION, no folder "
        "and no owner/name of the Hugging Face hub; check how it is written"
    )


def _of_folder(cfg: config.Subject, path: Path, *, options: Options, device: str) -> Specimen:
    if hugging_face.is_model_folder(path):
        return hugging_face.specimen_of_model(cfg, device=device, quiet=options.quiet)
    found = files.read_json(path / "config.json") if (path / "config.json").is_file() else None
    if isinstance(found, dict) and isinstance(found.get("room"), str):
        specimen = specimen_of_run(path, room=found["room"])
        specimen.module.to(device).eval()
        return specimen
    raise TenfoldError(
        f"{path} is neither a Hugging Face model nor a run: its config.json has no model_type and "
        "no room; name another folder"
    )


def specimen_of_run(path: Path, *, room: str) -> Specimen:
    """Open the network of a run by its room's module `subject`.

    Raises:
        TenfoldError: if the room's runs have no network to look into.
    """
    name = f"tenfold.rooms.{room}.subject"
    if re.fullmatch(r"[a-z]+", room):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
        else:
            specimen: Specimen = module.load(path)
            return specimen
    raise TenfoldError(
        f"{path} is a run of {room!r}, whose runs hold no network to look into; name a run of "
        "another room, or the model that this run looked into"
    )


def _trained(cfg: config.Subject, *, options: Options, device: str) -> Subject:
    recipe = TRAINED_HERE[cfg.source](cfg.text)
    if cfg.context:
        recipe = replace(recipe, decoder=replace(recipe.decoder, context=cfg.context))
    # What stops a run after so many steps is not about the model inside it.
    return load_or_train(recipe, options=replace(options, stop_after=0), device=device)


def specimen_of_subject(subject: Subject, cfg: config.Subject) -> Specimen:
    """Return a language model of bytes that was trained here as a specimen."""

    def batches(split: Split, start: int = 0) -> Iterator[Batch]:
        return subject.batches(seed=0, split=split, start=start, batch=cfg.batch)

    def scores(tokens_BT: Tensor) -> Tensor:
        found: Tensor = subject.module(tokens_BT.to(subject.module.embed.weight.device))
        return found

    def loss(batch: Batch) -> Tensor:
        tokens_BT = batch.inputs[0].to(subject.module.embed.weight.device)
        keep_BT = tokens_BT != BOUNDARY
        return next_token_loss(scores(tokens_BT), tokens_BT, keep_BT)

    return Specimen(
        module=subject.module,
        batches=batches,
        identity={
            "config": digest(encode(replace(subject.config, text=""))),
            "weights": weights_digest(subject.module),
            "text": subject.corpus.digest,
        },
        name=cfg.source,
        shows="text",
        batch_size=cfg.batch,
        sites=subject.sites(),
        loss=loss,
        vocabulary=_byte_vocabulary(),
        kinds=KINDS,
        unembedding=lambda: _unembedding(subject),
        encode=_encode,
        scores=scores,
        context=subject.config.decoder.context,
        special=(BOUNDARY,),
        licence="" if cfg.text else "PSF-2.0 (text: Python's documentation and sources)",
    )


def _byte_vocabulary() -> list[str]:
    return [escape(bytes([i])) for i in range(BOUNDARY)] + [BOUNDARY_SHOWN]


def _encode(prompt: str) -> Tensor:
    tokens = torch.tensor([BOUNDARY, *tokens_of(prompt).tolist()], dtype=torch.int64)
    return tokens[None]


def _unembedding(subject: Subject) -> Tensor:
    module = subject.module
    matrix = module.embed.weight if module.unembed is None else module.unembed.weight
    gain_D = 1 + module.norm.weight
    return (matrix * gain_D).T.detach().float().cpu()
