"""A causal language model of Hugging Face transformers as a specimen.

From a local folder, or by owner/name if a download is allowed or was made before. Weights are
read from safetensors only, and no code of a repository is ever run. B windows, T tokens,
D width, V vocabulary.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.engine import files, hub
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, require
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen, Split
from tenfold.rooms.scope import config, texts
from tenfold.rooms.scope.anatomy import NORM, watch_modules
from tenfold.rooms.scope.card import read_licence
from tenfold.rooms.scope.digests import weights_digest
from tenfold.rooms.scope.language import next_token_loss, norm_gain, readable

CONTEXT = 128
"""Tokens of a window, unless said otherwise."""
FETCHED = ("*.safetensors", "*.json", "*.model", "*.txt", "README.md", "LICENSE*")
"""What a model needs of its repository; pickled weights are not among it."""
UNLIMITED = 1_000_000
"""Lengths above which a tokenizer means that it knows no limit."""


def is_model_folder(path: Path) -> bool:
    """Say whether a folder holds a model of transformers."""
    if not (path / "config.json").is_file():
        return False
    found = files.read_json(path / "config.json")
    return isinstance(found, Mapping) and bool({"model_type", "architectures"} & {*found})


def specimen_of_model(cfg: config.Subject, *, device: str = "cpu", quiet: bool = True) -> Specimen:
    """Open the causal language model that `cfg.source` names.

    Its text is `cfg.text`, or Python's own documentation and sources. Parameters are float32.

    Raises:
        TenfoldError: if it is not there, is no causal language model with safetensors weights
            and a tokenizer, the window is longer than its context, or the extra is missing.
    """
    require("transformers", extra="hf", purpose=f"the Hugging Face model {cfg.source}")
    folder = hub.find_folder(cfg.source, patterns=FETCHED, download=cfg.download)
    with _offline():
        module = _load_model(folder)
        tokenizer = _load_tokenizer(folder)
    module.to(device).eval().requires_grad_(False)
    reader = _Reader.of(module, tokenizer)
    context = cfg.context or min(CONTEXT, reader.most or CONTEXT)
    if reader.most and context > reader.most:
        raise TenfoldError(
            f"subject.context {context} exceeds the {reader.most} positions of {cfg.source}; "
            "lower it"
        )
    return _specimen(cfg, reader, context=context, folder=folder, quiet=quiet)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep transformers from the network and from drawing bars on our lines."""
    logging = require("transformers.utils.logging", extra="hf", purpose="loading a model")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _load_model(folder: Path) -> nn.Module:
    transformers = require("transformers", extra="hf", purpose=f"the model in {folder}")
    try:
        module: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError) as error:
        raise TenfoldError(
            f"{folder} could not be opened as a causal language model with safetensors weights: "
            f"{_first_line(error)}"
        ) from error
    return module


def _load_tokenizer(folder: Path) -> Any:
    transformers = require("transformers", extra="hf", purpose=f"the tokenizer in {folder}")
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise TenfoldError(
            f"{folder} has no tokenizer that can be read ({_first_line(error)}); put its "
            "tokenizer.json and tokenizer_config.json there"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reader:
    """A model with its tokenizer, and what was found out about them."""

    module: nn.Module
    tokenizer: Any
    takes: frozenset[str]
    """Names that the forward pass takes."""
    special: frozenset[int]
    begin: tuple[int, ...]
    """What the tokenizer puts before a text."""
    most: int
    """Positions of the model; 0 is any number."""

    @staticmethod
    def of(module: nn.Module, tokenizer: Any) -> _Reader:
        added = getattr(tokenizer, "added_tokens_decoder", {})
        special = {*tokenizer.all_special_ids} | {i for i, t in added.items() if t.special}
        most = getattr(module.config, "max_position_embeddings", None) or 0
        limit = tokenizer.model_max_length
        if isinstance(limit, int) and 0 < limit < UNLIMITED:
            most = min(most or limit, limit)
        return _Reader(
            module=module,
            tokenizer=tokenizer,
            takes=frozenset(inspect.signature(module.forward).parameters),
            special=frozenset(special),
            begin=_begin(tokenizer),
            most=int(most),
        )

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def packing(self, context: int) -> texts.Packing:
        tokenizer = self.tokenizer
        end = tokenizer.eos_token_id
        pad = next((i for i in (tokenizer.pad_token_id, end) if i is not None), 0)
        return texts.Packing(
            context=context,
            begin=self.begin,
            between=self.begin or (() if end is None else (end,)),
            pad=pad,
            side=tokenizer.padding_side,
        )

    def tokenize(self, documents: list[str]) -> list[list[int]]:
        # Not verbose: a document longer than the context is cut, which is no fault.
        given = self.tokenizer(documents, add_special_tokens=False, verbose=False)
        found: list[list[int]] = given["input_ids"]
        return found

    def keywords(self, real_BT: Tensor) -> dict[str, Any]:
        """Return what the model is told beside tokens, `real_BT` False where padded."""
        # Positions count from the first real token, on whichever side the padding is.
        places_BT = (real_BT.long().cumsum(dim=1) - 1).clamp_min(0)
        told = {"attention_mask": real_BT.long(), "position_ids": places_BT, "use_cache": False}
        return {name: value for name, value in told.items() if name in self.takes}

    def scores(self, tokens_BT: Tensor) -> Tensor:
        """Return the scores of each next token [B, T, V]."""
        tokens_BT = tokens_BT.to(self.device)
        keywords = self.keywords(torch.ones_like(tokens_BT, dtype=torch.bool))
        logits: Tensor = self.module(tokens_BT, **keywords).logits
        return logits

    def loss(self, batch: Batch) -> Tensor:
        """Return the nats of each next token [B, T], NaN where one of the two is special."""
        device = self.device
        keywords = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in batch.keywords.items()
        }
        tokens_BT = batch.inputs[0].to(device)
        logits_BTV = self.module(tokens_BT, **keywords).logits
        assert batch.mask is not None, "this specimen's batches have masks"
        return next_token_loss(logits_BTV, tokens_BT, batch.mask.to(device))


def _begin(tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that the tokenizer puts before a text, such as BOS; often none."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    fits = [i for i in range(len(whole)) if whole[i : i + len(plain)] == plain]
    return tuple(whole[: fits[0]]) if plain and fits else ()


def _specimen(
    cfg: config.Subject, reader: _Reader, *, context: int, folder: Path, quiet: bool
) -> Specimen:
    packing = reader.packing(context)
    tokenizer_digest = _tokenizer_digest(reader)
    windows = texts.load_windows(
        texts.read_texts(cfg.text, field=cfg.text_field),
        packing,
        reader.tokenize,
        tokenizer_digest=tokenizer_digest,
        quiet=quiet,
    )

    def batches(split: Split, start: int = 0) -> Iterator[Batch]:
        store = windows.splits[split]
        for row in range(start * cfg.batch, store.num_rows, cfg.batch):
            yield _batch(reader, windows, split, row, min(row + cfg.batch, store.num_rows))

    def encode(prompt: str) -> Tensor:
        return torch.tensor([reader.tokenizer(prompt)["input_ids"]], dtype=torch.int64)

    return Specimen(
        module=reader.module,
        batches=batches,
        identity={
            "weights": weights_digest(reader.module),
            "windows": windows.digest,
            "tokenizer": tokenizer_digest,
        },
        name=_name(cfg.source),
        shows="text",
        batch_size=cfg.batch,
        loss=reader.loss,
        vocabulary=_vocabulary(reader),
        kinds=texts.describe_kinds(windows.kinds),
        unembedding=_unembedding(reader),
        encode=encode,
        scores=reader.scores,
        context=reader.most,
        special=sorted(reader.special),
        licence=read_licence(folder),
    )


def _name(source: str) -> str:
    """Return owner/name, or the last part of a path: cards tell no folders of this machine."""
    return source if hub.is_repository(source) else Path(source).resolve().name


def _batch(reader: _Reader, windows: texts.Windows, split: Split, start: int, stop: int) -> Batch:
    store = windows.splits[split]
    tokens, document, kind = (
        store.read(name, start, stop).long() for name in ("token", "document", "kind")
    )
    real = document != texts.PADDING
    special = torch.tensor(sorted(reader.special), dtype=torch.int64)
    labels = {"token": tokens, "document": document}
    if len(windows.kinds) > 1:
        labels["kind"] = kind
    return Batch(
        inputs=(tokens,),
        keywords=reader.keywords(real),
        mask=real & ~torch.isin(tokens, special),
        labels=labels,
    )


def _tokenizer_digest(reader: _Reader) -> str:
    backend = getattr(reader.tokenizer, "backend_tokenizer", None)
    told = backend.to_str() if backend else json.dumps(sorted(reader.tokenizer.get_vocab().items()))
    facts: Json = {"begin": list(reader.begin), "special": sorted(reader.special)}
    return hashlib.sha256((json.dumps(facts) + told).encode()).hexdigest()[:16]


def _unembedding(reader: _Reader) -> Callable[[], Tensor] | None:
    get: Any = getattr(reader.module, "get_output_embeddings", lambda: None)
    head = get()
    if head is None:
        return None

    def unembedding() -> Tensor:
        matrix_DV: Tensor = head.weight.detach().float().T
        norm = _last_norm(reader)
        if norm is not None:
            matrix_DV = matrix_DV * norm_gain(norm, matrix_DV.shape[0])[:, None]
        return matrix_DV.cpu()

    return unembedding


def _last_norm(reader: _Reader) -> nn.Module | None:
    """Return the norm between the last block and the scores: the one that is called last."""
    token = torch.zeros(1, 1, dtype=torch.int64)
    visits = watch_modules(reader.module, lambda: reader.scores(token)).values()
    norms = [
        visit
        for visit in visits
        if NORM.search(type(visit.module).__name__) and visit.shape and visit.calls == 1
    ]
    last = max(norms, key=lambda visit: visit.order, default=None)
    return None if last is None else last.module


def _vocabulary(reader: _Reader) -> list[str]:
    """Return how each token reads; numbers in brackets where the model has more than that."""
    names: list[Any] = reader.tokenizer.convert_ids_to_tokens(list(range(len(reader.tokenizer))))
    by_bytes = "\u0120" in reader.tokenizer.get_vocab()
    words = [
        f"[{i}]"
        if name is None
        else name
        if i in reader.special
        else readable(name, by_bytes=by_bytes)
        for i, name in enumerate(names)
    ]
    embed: Any = reader.module.get_input_embeddings()  # type: ignore[operator]
    return words + [f"[{i}]" for i in range(len(words), len(embed.weight))]
