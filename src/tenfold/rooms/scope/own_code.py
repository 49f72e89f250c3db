"""A user's own network and data, from a function in a file of theirs.

The function returns a `Specimen`, or a pair of a module and its data: a list, a DataLoader or
another iterable that gives the same batches each time it is walked through, or a function
`batches(split, start)`. B items of a batch, T tokens.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tenfold.engine.errors import TenfoldError
from tenfold.engine.own_code import importing_from, load_function
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Batches, Specimen, Split
from tenfold.rooms.scope.digests import batch_digest, weights_digest

HELD_OUT = 10
"""One batch in so many is held out: the last ones."""
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def specimen_of_function(path: Path, function: str, *, device: str = "cpu") -> Specimen:
    """Run a function of a Python file and return what it gives as a specimen.

    The file is run as it is, with this process's rights: name only files you trust.

    Raises:
        TenfoldError: if there is no such file or function, the file raises, or the function
            returns something else.
    """
    if not path.is_file():
        raise TenfoldError(f"{path} does not exist; name a file as FILE.py:FUNCTION")
    found = load_function(path, function)
    # A function may import its file's neighbours when it is called.
    with importing_from(path.parent):
        given = found()
    return specimen_of(given, name=f"{path.stem}.{function}", device=device)


def specimen_of(given: Any, *, name: str = "model", device: str = "cpu") -> Specimen:
    """Return a specimen of what a user has: itself, or a module with its data.

    Of a pair, arguments that the module does not take become labels; the last tenth of the
    batches is held out, at least one. Batches whose first input is whole numbers [B, T] that the
    module embeds are shown as texts, those of [B, 1 or 3, height, width] as pictures.

    Args:
        given: a `Specimen`, or (module, data).
        name: for titles.
        device: where the module goes.

    Raises:
        TenfoldError: if it is neither, or the data are not the same each time.
    """
    if isinstance(given, Specimen):
        given.module.to(device).eval()
        return given
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], nn.Module)):
        raise TenfoldError(
            f"{name} returned {_kind_of(given)}; return a tenfold.scope.Specimen, or the pair "
            "(module, data)"
        )
    module, data = given
    module.to(device).eval()
    batches = _batches_of(data, _Arguments.of(module), name=name)
    first = next(iter(batches("train", 0)), None)
    if first is None:
        raise TenfoldError(f"the data of {name} hold no batch; give at least one")
    return _with_views(module, batches, first, name=name)


def _kind_of(given: Any) -> str:
    if isinstance(given, tuple):
        return f"a tuple of {', '.join(type(entry).__name__ for entry in given) or 'nothing'}"
    return type(given).__name__


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arguments:
    """What the module's forward takes."""

    most: int
    """Arguments by place."""
    names: frozenset[str]
    takes_all: bool
    """Whether any name will do."""
    tokens: bool
    """Whether the module has a table of embeddings, so that whole numbers are tokens."""

    @staticmethod
    def of(module: nn.Module) -> _Arguments:
        parameters = inspect.signature(module.forward).parameters.values()
        kinds = {parameter.kind for parameter in parameters}
        placed = [parameter.name for parameter in parameters if parameter.kind in POSITIONAL]
        named = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        endless = inspect.Parameter.VAR_POSITIONAL in kinds
        return _Arguments(
            most=sys.maxsize if endless else len(placed),
            names=frozenset(placed + named),
            takes_all=inspect.Parameter.VAR_KEYWORD in kinds,
            tokens=any(isinstance(child, nn.Embedding) for child in module.modules()),
        )


def as_batch(given: Any, arguments: _Arguments) -> Batch:
    """Turn a tensor, a tuple or a dict of tensors into a batch."""
    if isinstance(given, Batch):
        return given
    if isinstance(given, Tensor):
        return _labelled((given,), {}, {}, arguments)
    if isinstance(given, Mapping):
        taken = {k: v for k, v in given.items() if arguments.takes_all or k in arguments.names}
        rest = {k: v for k, v in given.items() if k not in taken}
        return _labelled((), taken, rest, arguments)
    if isinstance(given, tuple | list):
        left = given[arguments.most :]
        names = ["label", *(f"label_{i}" for i in range(1, len(left)))]
        rest = dict(zip(names, left, strict=False))
        return _labelled(tuple(given[: arguments.most]), {}, rest, arguments)
    raise TenfoldError(
        f"a batch is {_kind_of(given)}; give tensors, tuples or dicts of tensors, or "
        "tenfold.parts.sae.rows.Batch"
    )


def _labelled(
    inputs: tuple[Any, ...],
    keywords: dict[str, Any],
    rest: Mapping[str, Any],
    arguments: _Arguments,
) -> Batch:
    """Keep what can be saved beside a row: numbers, one an item or one a position."""
    labels = {
        name: value.float() if value.is_floating_point() else value.long()
        for name, value in rest.items()
        if isinstance(value, Tensor) and 1 <= value.ndim <= 2 and not value.is_complex()
    }
    batch = Batch(inputs=inputs, keywords=keywords, labels=labels)
    tokens = _first_tensor(batch)
    if arguments.tokens and tokens is not None and _is_text(tokens):
        labels.setdefault("token", tokens)
    return batch


def _first_tensor(batch: Batch) -> Tensor | None:
    values = chain(batch.inputs, batch.keywords.values())
    return next((value for value in values if isinstance(value, Tensor)), None)


def _is_text(x: Tensor) -> bool:
    return x.ndim == 2 and x.dtype in (torch.int64, torch.int32)


def _batches_of(data: Any, arguments: _Arguments, *, name: str) -> Batches:
    if callable(data) and not isinstance(data, Iterable):

        def asked(split: Split, start: int = 0) -> Iterator[Batch]:
            return (as_batch(given, arguments) for given in data(split, start))

        return asked
    if isinstance(data, Iterator) or not isinstance(data, Iterable):
        raise TenfoldError(
            f"the data of {name} are {_kind_of(data)}, which can be walked through only once; "
            "give a list, a DataLoader or a function batches(split, start)"
        )
    total = len(data) if isinstance(data, Sized) else sum(1 for _ in data)
    if total < 2:
        raise TenfoldError(
            f"the data of {name} hold {total} batches; give at least 2, one to train on and one "
            "to hold out"
        )
    held_out = max(1, total // HELD_OUT)
    bounds: dict[Split, tuple[int, int]] = {
        "train": (0, total - held_out),
        "held_out": (total - held_out, total),
    }
    _refuse_changing(data, arguments, name=name)

    def walked(split: Split, start: int = 0) -> Iterator[Batch]:
        first, last = bounds[split]
        size = 0
        for number, given in enumerate(_slice(data, first + start, last), start):
            batch = as_batch(given, arguments)
            items = _num_items(batch)
            if size and number > start and items > size:
                raise TenfoldError(
                    f"batch {number} of {name} holds {items} items, those before it {size}; "
                    "make all batches but the last of one size"
                )
            size = items
            yield batch

    return walked


def _slice(data: Iterable[Any], first: int, last: int) -> Iterator[Any]:
    if isinstance(data, Sequence):
        return (data[i] for i in range(first, last))
    return islice(iter(data), first, last)


def _num_items(batch: Batch) -> int:
    tensor = _first_tensor(batch)
    return len(tensor) if tensor is not None and tensor.ndim else 0


def _refuse_changing(data: Iterable[Any], arguments: _Arguments, *, name: str) -> None:
    first, again = (batch_digest(as_batch(next(iter(data)), arguments)) for _ in range(2))
    if first != again:
        raise TenfoldError(
            f"the data of {name} come in another order each time (batch 0 is {first}, then "
            f"{again}); a harvest cannot go on exactly then: use shuffle=False and fixed "
            "augmentations"
        )


def _with_views(
    module: nn.Module,
    batches: Batches,
    first: Batch,
    *,
    name: str,
) -> Specimen:
    x = _first_tensor(first)
    is_text = "token" in first.labels
    is_picture = x is not None and x.ndim == 4 and x.shape[1] in (1, 3)
    table = next((m for m in module.modules() if isinstance(m, nn.Embedding)), None)
    shows: Literal["text", "picture", "row"]
    shows = "text" if is_text else "picture" if is_picture else "row"
    return Specimen(
        module=module,
        batches=batches,
        identity={"weights": weights_digest(module), "first_batch": batch_digest(first)},
        name=name,
        shows=shows,
        batch_size=max(1, _num_items(first)),
        vocabulary=[f"[{i}]" for i in range(table.num_embeddings)] if is_text and table else (),
        pictures=_pictures_of(x) if is_picture and x is not None else None,
    )


def _pictures_of(first: Tensor) -> Callable[[Batch], Tensor]:
    """Return what shows inputs as grey levels, from the range of the first batch."""
    low, high = float(first.min()), float(first.max())

    def pictures(batch: Batch) -> Tensor:
        x = _first_tensor(batch)
        assert x is not None, "the first batch had a picture"
        levels = (x.float() - low) / max(high - low, 1e-12) * 255
        return levels.clamp(0, 255).round().to(torch.uint8).movedim(1, -1).cpu()

    return pictures
