"""A user's texts as windows of tokens, for models with a tokenizer of their own.

Documents are told apart by the hash of what they say: one in ten is held out, and equal
documents fall on the same side (near-duplicates may not). In the order of their hashes they are
put one behind another, each behind the tokens with which the tokenizer begins a text, and cut
into windows of `context` tokens that begin so too. Only the last window of a split is padded.
A window may hold the end of one document and the start of another, as in pre-training.

N documents, W windows, T tokens of a window.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import files
from tenfold.engine.config import digest, encode
from tenfold.engine.errors import TenfoldError, require
from tenfold.engine.progress import Progress
from tenfold.engine.shards import Column, Shards, open_shards, open_writer
from tenfold.parts.sae.specimen import Split
from tenfold.parts.text.corpus import load_corpus
from tenfold.parts.text.packing import KINDS
from tenfold.parts.text.tokens import decode as decode_bytes

RULES = 1
"""Raised when reading, splitting or packing changes, so that caches are made anew."""
HELD_OUT = 0.1
"""Share of the documents that is held out."""
LONGEST = 50_000
"""Characters above which a .txt file is cut into several documents, at ends of lines."""
SUFFIXES = (".txt", ".jsonl", ".parquet")
DOCUMENTS_AT_ONCE = 256
WINDOWS_AT_ONCE = 1024
PADDING = -1
"""Document of a position that is padded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A document that is trained on or held out as a whole."""

    text: str
    kind: str = ""
    """The folder below the one that was named, or the field `kind` of a .jsonl line."""

    @property
    def hash(self) -> bytes:
        """What tells it from others, and says where it goes."""
        return hashlib.sha256(self.text.encode(errors="surrogatepass")).digest()


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How token numbers become windows."""

    context: int
    """T."""
    begin: tuple[int, ...]
    """Tokens at the start of each window; those the tokenizer puts before a text."""
    between: tuple[int, ...]
    """Tokens before each further document of a window."""
    pad: int
    side: str = "right"
    """Where the last window of a split is padded: left or right."""

    def __post_init__(self) -> None:
        if self.context <= len(self.begin):
            raise TenfoldError(
                f"windows of {self.context} tokens hold no text behind the {len(self.begin)} with "
                f"which they begin; raise subject.context to {len(self.begin) + 2} or more"
            )


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Tokens of both splits, on disk."""

    splits: Mapping[Split, Shards]
    """Columns `token`, `document` (-1 is padding) and `kind`, each [T]."""
    kinds: tuple[str, ...]
    digest: str
    """Identifies text, tokenizer and windows."""


Tokenize = Callable[[list[str]], list[list[int]]]


def read_texts(source: str, *, field: str = "text") -> list[Text]:
    """Read the documents of a file or folder; "" is Python's own documentation and sources.

    Files of other kinds are left out, hidden ones too. A .txt file is a document, or several if
    it is long; a line of .jsonl and a row of .parquet are one each.

    Raises:
        TenfoldError: if there is no text, a line is broken or lacks the field.
    """
    if not source:
        return list(_library())
    root = Path(source).expanduser()
    if not root.exists():
        raise TenfoldError(f"text {source!r} does not exist; give a file or folder by --text")
    paths = [root] if root.is_file() else sorted(root.rglob("*"))
    found: list[Text] = []
    for path in paths:
        inner = path.relative_to(root).parts
        if path.is_file() and path.suffix in SUFFIXES and not any(p.startswith(".") for p in inner):
            found += _read_file(path, kind=inner[0] if len(inner) > 1 else "", field=field)
    found = [text for text in found if text.text.strip()]
    if not found:
        raise TenfoldError(f"{source} holds no text; give files of {', '.join(SUFFIXES)}")
    return found


def _library() -> Iterator[Text]:
    """Yield the documents of the corpus from which models are trained here."""
    # Not the library itself: the corpus is cached, and has no near-duplicates.
    for packed in load_corpus().splits.values():
        ends = np.append(packed.starts[1:], len(packed.tokens))
        for start, end, kind in zip(packed.starts, ends, packed.kinds, strict=True):
            yield Text(text=decode_bytes(packed.tokens[start + 1 : end]), kind=KINDS[kind])


def _read_file(path: Path, *, kind: str, field: str) -> Iterator[Text]:
    match path.suffix:
        case ".txt":
            return (Text(text=piece, kind=kind) for piece in _pieces(_decoded(path)))
        case ".jsonl":
            return _json_lines(path, kind=kind, field=field)
        case _:
            return _parquet_rows(path, kind=kind, field=field)


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise TenfoldError(
            f"{path} is not UTF-8 at byte {error.start}; convert it or take it out of the folder"
        ) from None


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text at ends of lines into pieces of `LONGEST` characters or a little more."""
    start = 0
    while len(text) - start > 2 * LONGEST:
        end = text.find("\n", start + LONGEST) + 1 or start + LONGEST
        yield text[start:end]
        start = end
    yield text[start:]


def _json_lines(path: Path, *, kind: str, field: str) -> Iterator[Text]:
    for number, line in enumerate(_decoded(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TenfoldError(f"{path}, line {number}, is no JSON: {error}; mend it") from None
        text = row.get(field) if isinstance(row, dict) else None
        if not isinstance(text, str):
            names = sorted(row) if isinstance(row, dict) else type(row).__name__
            raise TenfoldError(
                f"{path}, line {number}, has no text under {field!r} but {names}; name the field "
                "by --subject.text-field"
            )
        yield Text(text=text, kind=str(row.get("kind", kind)))


def _parquet_rows(path: Path, *, kind: str, field: str) -> Iterator[Text]:
    parquet = require("pyarrow.parquet", extra="parquet", purpose=f"reading {path.name}")
    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if field not in names:
            raise TenfoldError(
                f"{path} has no column {field!r} but {names}; name one by --subject.text-field"
            )
        columns = [field, *({"kind"} & {*names})]
        for batch in file.iter_batches(columns=columns):
            rows = batch.to_pylist()
            yield from (
                Text(text=row[field] or "", kind=str(row.get("kind", kind))) for row in rows
            )


def split_texts(texts: Sequence[Text]) -> dict[Split, list[Text]]:
    """Put documents into two splits by their hashes, in the order of these.

    Raises:
        TenfoldError: if all documents are one.
    """
    ordered = sorted(texts, key=lambda text: text.hash)
    hashes = [text.hash for text in ordered]
    limit = int(HELD_OUT * 2**64)
    # In a small corpus all may lie above the limit, or below it.
    first, last = hashes[0][:8], hashes[-1][:8]
    if first == last:
        raise TenfoldError(
            f"all {len(texts)} documents say the same; at least two are needed, one to hold out"
        )
    held_out = {h for h in hashes if int.from_bytes(h[:8]) < limit and h[:8] != last}
    held_out = held_out or {h for h in hashes if h[:8] == first}
    return {
        "train": [text for text in ordered if text.hash not in held_out],
        "held_out": [text for text in ordered if text.hash in held_out],
    }


def pack(documents: Iterable[NDArray[np.int32]], packing: Packing) -> Iterator[NDArray[np.int32]]:
    """Cut documents of tokens into windows, as rows of tokens and of document numbers.

    Yields:
        [2, T]: tokens, and the number of the document each belongs to.
    """
    tokens: list[int] = []
    owners: list[int] = []

    def add(values: Sequence[int], number: int) -> None:
        tokens.extend(values)
        owners.extend([number] * len(values))

    for number, document in enumerate(map(list, documents)):
        place = 0
        while place < len(document):
            add(packing.between if tokens else packing.begin, number)
            room = max(0, packing.context - len(tokens))
            add(document[place : place + room], number)
            place += room
            if len(tokens) >= packing.context:
                yield _window(tokens[: packing.context], owners[: packing.context], packing)
                tokens, owners = [], []
    if tokens:
        yield _window(tokens, owners, packing)


def _window(tokens: Sequence[int], owners: Sequence[int], packing: Packing) -> NDArray[np.int32]:
    rows = np.array([tokens, owners], dtype=np.int32)
    missing = packing.context - rows.shape[1]
    before = missing if packing.side == "left" else 0
    blank = np.repeat(np.array([[packing.pad], [PADDING]], np.int32), missing, axis=1)
    return np.concatenate([blank[:, :before], rows, blank[:, before:]], axis=1)


def load_windows(
    texts: Sequence[Text],
    packing: Packing,
    tokenize: Tokenize,
    *,
    tokenizer_digest: str,
    quiet: bool = True,
) -> Windows:
    """Return the windows of texts, from the cache or made now.

    The cache lies under the cache root, named by what it was made from.

    Args:
        texts: the documents.
        packing: how windows are cut.
        tokenize: texts to token numbers, without any before or behind them.
        tokenizer_digest: identifies the tokenizer.
        quiet: show no progress.

    Raises:
        TenfoldError: if the documents are all one, or hold no token.
    """
    splits = split_texts(texts)
    kinds = tuple(sorted({text.kind for text in texts}))
    contents = [[text.hash.hex(), text.kind] for split in splits.values() for text in split]
    name = digest([RULES, contents, encode(vars(packing)), tokenizer_digest])
    folder = files.cache_root() / "windows" / name
    if not folder.exists():
        # In a folder of its own first: several processes may want the same windows at once.
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=files.TEMPORARY) as temporary:
            made = Path(temporary) / name
            for split, documents in splits.items():
                tokens = _tokens_of(documents, tokenize, label=split, quiet=quiet)
                _write(made / split, documents, pack(tokens, packing), kinds, packing)
            # Whoever comes second finds the same and leaves it.
            with contextlib.suppress(OSError):
                made.replace(folder)
    stores: dict[Split, Shards] = {split: open_shards(folder / split) for split in splits}
    return Windows(splits=stores, kinds=kinds, digest=name)


def _tokens_of(
    documents: Sequence[Text], tokenize: Tokenize, *, label: str, quiet: bool
) -> list[NDArray[np.int32]]:
    found: list[NDArray[np.int32]] = []
    with Progress(f"tokens, {label}", len(documents), quiet=quiet) as progress:
        for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
            texts = [document.text for document in documents[start : start + DOCUMENTS_AT_ONCE]]
            found += [np.array(ids, dtype=np.int32) for ids in tokenize(texts)]
            progress.update(len(found))
    return found


def _write(
    folder: Path,
    documents: Sequence[Text],
    windows: Iterator[NDArray[np.int32]],
    kinds: tuple[str, ...],
    packing: Packing,
) -> None:
    kind_of = np.array([kinds.index(document.kind) for document in documents], dtype=np.int32)
    columns = [
        Column(name=name, dtype="int32", shape=(packing.context,))
        for name in ("token", "document", "kind")
    ]
    writer = open_writer(folder, columns)
    for several in batched(windows, WINDOWS_AT_ONCE):
        token, document = np.stack(several, axis=1)
        kind = np.where(document == PADDING, np.int32(PADDING), kind_of[document])
        writer.append(token=token, document=document, kind=kind)
    if not writer.num_rows:
        raise TenfoldError(f"{len(documents)} documents hold no token; give more text")
    writer.finish()


def batched(windows: Iterator[NDArray[np.int32]], count: int) -> Iterator[list[NDArray[np.int32]]]:
    """Yield lists of up to `count` windows."""
    while several := list(islice(windows, count)):
        yield several


def describe_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return how kinds are called, () if there is only one."""
    return tuple(kind or "other" for kind in kinds) if len(kinds) > 1 else ()
