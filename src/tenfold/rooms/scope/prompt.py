"""A prompt read by a model and a dictionary: which latents fire on which tokens."""

# T tokens of the prompt, D width, M latents

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import keep_tokens
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.taps import capture
from tenfold.rooms.jumprelu.eval import check_width
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.scope.completion import scores_of, token_text

MOST_LETTERS = 8_000
MOST_TOKENS = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What a dictionary says of each token of a prompt."""

    texts: tuple[str, ...]
    """The tokens as they read, [T]."""
    tops: tuple[tuple[tuple[int, float], ...], ...]
    """For each token its strongest latents with their values, strongest first."""
    strongest: tuple[tuple[int, float], ...]
    """Latents of the whole prompt with their largest values, strongest first."""
    latents: Tensor
    """All latents [T, M]; zero on special tokens, which are not read."""

    @property
    def l0(self) -> float:
        """Mean number of active latents on a token."""
        return float((self.latents > 0).sum(dim=-1).double().mean())

    def values(self, latent: int) -> list[float]:
        """Return the value of one latent on each token.

        Raises:
            TenfoldError: if it does not exist.
        """
        if not 0 <= latent < self.latents.shape[1]:
            raise TenfoldError(f"latent {latent} does not exist; there are {self.latents.shape[1]}")
        found: list[float] = self.latents[:, latent].tolist()
        return found


def encode_prompt(specimen: Specimen, text: str) -> Tensor:
    """Return a prompt as tokens [1, T].

    Raises:
        TenfoldError: if the model reads no text, or the prompt is empty or too long.
    """
    if specimen.encode is None or specimen.scores is None:
        raise TenfoldError(f"{specimen.name} reads no text, so it takes no prompt")
    if not text:
        raise TenfoldError("the prompt is empty; write some text")
    if len(text) > MOST_LETTERS:
        raise TenfoldError(f"the prompt has {len(text):,} letters; {MOST_LETTERS:,} are read")
    tokens = specimen.encode(text)
    most = min(specimen.context or MOST_TOKENS, MOST_TOKENS)
    if tokens.shape[1] > most:
        raise TenfoldError(
            f"the prompt has {tokens.shape[1]} tokens; this model reads {most} here, shorten it"
        )
    return tokens


@torch.no_grad()
def read_prompt(
    specimen: Specimen, dictionary: Dictionary, site: str, tokens: Tensor, *, count: int = 5
) -> Reading:
    """Run a prompt through the model and the dictionary of one site.

    Args:
        specimen: a model of texts.
        dictionary: folded or not.
        site: where its inputs are read.
        tokens: the prompt [1, T].
        count: latents named for each token at most.

    Raises:
        TenfoldError: if the site gives no row for each token, or has another width.
    """
    scores = scores_of(specimen)
    (x_1TD,) = capture(specimen.module, site, lambda: scores(tokens), stop_early=True).values()
    check_width(dictionary, x_1TD)
    if x_1TD.shape[:-1] != tokens.shape:
        raise TenfoldError(
            f"site {site!r} has shape {tuple(x_1TD.shape)} on {tokens.shape[1]} tokens; a prompt "
            "can be shown only where there is one row for each token"
        )
    kept = keep_tokens(tokens[0], drop=specimen.special).to(x_1TD.device)
    f_TM = (dictionary.encode(x_1TD[0]) * kept.unsqueeze(-1)).float().cpu()
    return Reading(
        texts=tuple(token_text(specimen, token) for token in tokens[0].tolist()),
        tops=tuple(_strongest(f_M, count) for f_M in f_TM),
        strongest=_strongest(f_TM.amax(dim=0), 4 * count),
        latents=f_TM,
    )


def _strongest(f_M: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    values, places = f_M.topk(min(count, len(f_M)))
    pairs = zip(places.tolist(), values.tolist(), strict=True)
    return tuple((latent, value) for latent, value in pairs if value > 0)
