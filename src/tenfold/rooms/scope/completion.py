"""Text completed token by token, whatever is spliced into the model meanwhile."""

# B sequences, T positions, V vocabulary

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import torch_stream
from tenfold.parts.sae.specimen import Specimen


@torch.no_grad()
def complete(
    specimen: Specimen,
    tokens: Tensor,
    *,
    count: int,
    temperature: float = 0.0,
    seed: int = 0,
    check: Callable[[], None] | None = None,
) -> Tensor:
    """Return tokens [B, T + count]: the given ones and what the model says next.

    Beyond its context the model sees the last tokens only. Inside `steering` the completion
    is steered.

    Args:
        specimen: a model that scores next tokens.
        tokens: the prompt [B, T], T at least 1.
        count: tokens to add.
        temperature: scores are divided by it and drawn from; 0 takes the best one.
        seed: of the draws; the same for the same place in the completion.
        check: called before each token; raises to stop.

    Raises:
        TenfoldError: if the model scores no tokens, the prompt is empty, or a number is
            negative.
    """
    scores = scores_of(specimen)
    if not tokens.shape[-1]:
        raise TenfoldError("the prompt has 0 tokens; give at least one")
    if count < 0 or temperature < 0:
        raise TenfoldError(f"count ({count}) and temperature ({temperature}) must be at least 0")
    for step in range(count):
        if check is not None:
            check()
        last_BV = scores(seen_window(specimen, tokens))[:, -1].double().cpu()
        if temperature > 0:
            draw = torch_stream(seed, "complete", step)
            chances_BV = torch.softmax(last_BV / temperature, dim=-1)
            chosen = torch.multinomial(chances_BV, 1, generator=draw)
        else:
            chosen = last_BV.argmax(dim=-1, keepdim=True)
        tokens = torch.cat([tokens, chosen.to(tokens)], dim=1)
    return tokens


def token_text(specimen: Specimen, token: int) -> str:
    """Return how a token reads; its number where the vocabulary does not say."""
    known = 0 <= token < len(specimen.vocabulary)
    return specimen.vocabulary[token] if known else f"<{token}>"


def scores_of(specimen: Specimen) -> Callable[[Tensor], Tensor]:
    """Return the function from tokens [B, T] to scores [B, T, V].

    Raises:
        TenfoldError: if the specimen has none.
    """
    if specimen.scores is None:
        raise TenfoldError(f"{specimen.name} scores no next tokens, so it completes no text")
    return specimen.scores


def seen_window(specimen: Specimen, tokens_BT: Tensor) -> Tensor:
    """Return the last tokens, as many as the model's context takes."""
    return tokens_BT[:, -specimen.context :] if specimen.context else tokens_BT
