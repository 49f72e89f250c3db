"""How language models are read: the loss of each token, vocabularies, the gain of norms.

B windows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def next_token_loss(logits_BTV: Tensor, tokens_BT: Tensor, keep_BT: Tensor) -> Tensor:
    """Return the nats of each next token [B, T]; NaN unless both tokens are kept."""
    nats = F.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), tokens_BT[:, 1:].flatten(), reduction="none"
    ).view(tokens_BT[:, 1:].shape)
    known = keep_BT[:, :-1] & keep_BT[:, 1:]
    return F.pad(nats.masked_fill(~known, float("nan")), (0, 1), value=float("nan"))


@torch.no_grad()
def norm_gain(norm: nn.Module, width: int) -> Tensor:
    """Return by what a norm multiplies each normalised feature [D], measured.

    Asking it works for every way of writing the gain: `weight`, `1 + weight`, with or without
    a bias. The probes have mean zero, so that layer norms and RMS norms agree.
    """
    parameter = next(norm.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    gain = torch.zeros(width, device=device)
    for skipped in (0, 1) if width % 2 else (None,):
        kept = torch.tensor([i for i in range(width) if i != skipped], device=device)
        x = torch.zeros(width, device=device)
        x[kept] = torch.tensor([1.0, -1.0], device=device).repeat(len(kept) // 2)
        # The probe is large so that the norm's epsilon does not count.
        x *= 1_000
        step = (norm(x[None])[0] - norm(-x[None])[0]) / 2
        gain[kept] = step[kept] * x.square().mean().sqrt() / x[kept]
    return gain


_BYTE_LEVEL = {
    **{chr(i): i for i in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))},
    **{chr(0x100 + n): i for n, i in enumerate([*range(0x21), *range(0x7F, 0xA1), 0xAD])},
}
"""How byte-level tokenizers write bytes as visible letters (GPT-2)."""


def readable(token: str, *, by_bytes: bool) -> str:
    r"""Return a token of a vocabulary as it reads in text, control characters escaped.

    >>> readable("\u2581cat", by_bytes=False), readable("\u0120cat\u010a", by_bytes=True)
    (' cat', ' cat\\n')
    """
    if by_bytes and all(letter in _BYTE_LEVEL for letter in token):
        return escape(bytes(_BYTE_LEVEL[letter] for letter in token))
    if re.fullmatch(r"<0x[0-9A-F]{2}>", token):
        return escape(bytes([int(token[3:5], 16)]))
    return escape(token.replace("\u2581", " ").encode(errors="surrogatepass"))


def escape(data: bytes) -> str:
    r"""Return bytes as text in which everything can be seen.

    >>> escape("a\té".encode()), escape(b"\xc3")
    ('a\\té', '\\xc3')
    """
    text = data.decode(errors="backslashreplace")
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return "".join(
        short.get(letter, letter if letter.isprintable() else f"\\u{ord(letter):04x}")
        for letter in text
    )
