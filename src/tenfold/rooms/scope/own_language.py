"""A user's own language model with a folder of text, as a specimen in one call.

B windows, T tokens of a window, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tenfold.engine.config import digest
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen, Split
from tenfold.rooms.scope import texts
from tenfold.rooms.scope.digests import weights_digest
from tenfold.rooms.scope.language import escape, next_token_loss

BYTES = tuple(escape(bytes([value])) for value in range(256))
"""How the bytes read: the vocabulary of a model of bytes."""
SAMPLED_DOCUMENTS, SAMPLED_CHARACTERS = 64, 256
"""Documents, and characters of each, whose tokens tell one tokenizer from another."""


def bytes_of(text: str) -> list[int]:
    """Return the UTF-8 bytes of a text, the simplest tokenizer."""
    return list(text.encode(errors="surrogatepass"))


def language_model(
    module: nn.Module,
    text: str | Path,
    *,
    context: int,
    encode: Callable[[str], Sequence[int]] = bytes_of,
    vocabulary: Sequence[str] = BYTES,
    scores: Callable[[Tensor], Tensor] | None = None,
    begin: Sequence[int] = (),
    special: Sequence[int] = (),
    unembedding: Callable[[], Tensor] | None = None,
    batch: int = 32,
    text_field: str = "text",
    name: str = "my language model",
    licence: str = "",
) -> Specimen:
    """Return a causal language model with text as what suites are made of.

    Args:
        module: tokens [B, T] to scores [B, T, V] of each next token, or to something that
            `scores` makes them of.
        text: file or folder of .txt, .jsonl or .parquet.
        context: tokens of a window, at most what the module takes.
        encode: text to token numbers; bytes unless given.
        vocabulary: how each token reads, [V].
        scores: tokens [B, T] to scores [B, T, V]; None is the module itself.
        begin: tokens at the start of each window, such as BOS.
        special: tokens that stand for no text; they are masked out.
        unembedding: gives the matrix [D, V] from the last residual stream to scores.
        batch: windows of a forward pass.
        text_field: where the text stands in a .jsonl line or .parquet row.
        name: for titles.
        licence: terms of model and text.

    Raises:
        TenfoldError: if there is too little text, or a token is outside the vocabulary.
    """
    read_scores = scores or module

    def tokenize(several: list[str]) -> list[list[int]]:
        found = [list(encode(one)) for one in several]
        for tokens in found:
            _refuse_unknown(tokens, vocabulary, source="encode gave")
        return found

    _refuse_unknown(begin, vocabulary, source="begin has")
    packing = texts.Packing(context=context, begin=tuple(begin), between=tuple(begin), pad=0)
    documents = texts.read_texts(str(text), field=text_field)
    # Of the text itself: a tokenizer may know no other characters.
    sample = tokenize([d.text[:SAMPLED_CHARACTERS] for d in documents[:SAMPLED_DOCUMENTS]])
    windows = texts.load_windows(
        documents, packing, tokenize, tokenizer_digest=digest([sample, list(vocabulary)])
    )
    left_out = torch.tensor(sorted(special), dtype=torch.int64)

    def batches(split: Split, start: int = 0) -> Iterator[Batch]:
        store = windows.splits[split]
        for row in range(start * batch, store.num_rows, batch):
            stop = min(row + batch, store.num_rows)
            token, document, kind = (
                store.read(column, row, stop).long() for column in ("token", "document", "kind")
            )
            labels = {"token": token, "document": document}
            labels |= {"kind": kind} if len(windows.kinds) > 1 else {}
            keep = (document != texts.PADDING) & ~torch.isin(token, left_out)
            yield Batch(inputs=(token,), mask=keep, labels=labels)

    def on_device(tokens_BT: Tensor) -> Tensor:
        parameter = next(module.parameters(), None)
        return tokens_BT if parameter is None else tokens_BT.to(parameter.device)

    def loss(given: Batch) -> Tensor:
        tokens_BT = on_device(given.inputs[0])
        assert given.mask is not None, "this specimen's batches have masks"
        return next_token_loss(read_scores(tokens_BT), tokens_BT, given.mask.to(tokens_BT.device))

    def prompt(written: str) -> Tensor:
        return torch.tensor([[*begin, *encode(written)]], dtype=torch.int64)

    return Specimen(
        module=module.eval().requires_grad_(False),
        batches=batches,
        identity={"weights": weights_digest(module), "windows": windows.digest},
        name=name,
        shows="text",
        batch_size=batch,
        loss=loss,
        vocabulary=list(vocabulary),
        kinds=texts.describe_kinds(windows.kinds),
        unembedding=unembedding,
        encode=prompt,
        scores=lambda tokens_BT: read_scores(on_device(tokens_BT)),
        context=context,
        special=tuple(special),
        licence=licence,
    )


def _refuse_unknown(tokens: Sequence[int], vocabulary: Sequence[str], *, source: str) -> None:
    for token in (min(tokens, default=0), max(tokens, default=0)):
        if not 0 <= token < len(vocabulary):
            raise TenfoldError(
                f"{source} token {token}, the vocabulary has {len(vocabulary)}; give the whole "
                "vocabulary"
            )
