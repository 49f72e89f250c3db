"""Latents edited while a model runs: turned off, fixed, scaled, pushed; text completed so.

An edit changes latents f = encode(x) to f'. What takes the place of the activation x is

    drop    decode(f')
    keep    decode(f') + (x - decode(f)), the dictionary's error kept as a constant

so that under `keep` a position where no edit changes a latent keeps its clean bits. The
gradient goes through the reconstruction in both cases, as in `parts.sae.splice`.
"""

# B sequences, T positions, D width of an activation, O width rebuilt, M latents, E edits,
# V vocabulary

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.parts.sae.hooks import watch
from tenfold.parts.sae.rows import Batch, keep_tokens
from tenfold.parts.sae.sites import name_sites
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.splice import splice
from tenfold.rooms.jumprelu.eval import check_width
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.scope.completion import complete, scores_of, seen_window, token_text
from tenfold.rooms.scope.suite import SavedSuite

__all__ = [
    "OPERATIONS", "Edit", "Edits", "NextToken", "apply_edits", "complete", "edited", "next_tokens",
    "place_edits", "spliced_loss", "steering",
]  # fmt: skip

Operation = Literal["ablate", "clamp", "scale", "add"]
OPERATIONS: tuple[str, ...] = get_args(Operation)
ErrorTerm = Literal["keep", "drop"]
Where = str | tuple[str, str]
"""A site; for a transcoder the site that it reads and the site that it replaces."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is done to one latent at every position."""

    latent: int
    operation: Operation
    """ablate: f = 0; clamp: f = value; scale: f = value f; add: f = f + value."""
    value: float = 0.0
    """In units of the latent; not used by `ablate`."""

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise unknown_name("operation of an edit", self.operation, OPERATIONS)
        if self.latent < 0:
            raise TenfoldError(f"latent {self.latent} does not exist; count from 0")
        if not math.isfinite(self.value):
            raise TenfoldError(f"value {self.value} of latent {self.latent} is not finite")


Edits = Mapping[Where, tuple[Dictionary, Sequence[Edit]]]
"""By the place of each dictionary: it, and what is done to its latents."""


def apply_edits(f_BM: Tensor, edits: Sequence[Edit]) -> Tensor:
    """Return latents [..., M] after the edits, in their order; the input stays as it is."""
    if not edits:
        return f_BM
    columns = dict.fromkeys(edit.latent for edit in edits)
    changed: dict[int, Tensor] = {latent: f_BM[..., latent] for latent in columns}
    for edit in edits:
        changed[edit.latent] = _operate(changed[edit.latent], edit)
    places = torch.tensor(list(columns), device=f_BM.device)
    return f_BM.index_copy(-1, places, torch.stack(list(changed.values()), dim=-1))


def _operate(f: Tensor, edit: Edit) -> Tensor:
    match edit.operation:
        case "ablate":
            return torch.zeros_like(f)
        case "clamp":
            return torch.full_like(f, edit.value)
        case "scale":
            return f * edit.value
        case "add":
            return f + edit.value


def edited(
    dictionary: Dictionary, edits: Sequence[Edit], *, error: ErrorTerm = "keep"
) -> Callable[[Tensor], Tensor]:
    """Return the function of activations that takes their place in `parts.sae.splice`.

    Args:
        dictionary: folded or not; values of edits are in the units of its latents.
        edits: done in their order.
        error: "keep" adds what the dictionary fails to rebuild; "drop" leaves it out.

    Returns:
        x [..., D] to [..., D] in the type of x. With "keep" and no edits its values are x.

    Raises:
        TenfoldError: if a latent does not exist, or "keep" is asked of a transcoder, whose
            error lies at another site (use `steering`); in the call, for another width.
    """
    _check(dictionary, edits)
    if dictionary.transcoder and error == "keep":
        raise TenfoldError(
            "the error of a transcoder lies at the site it replaces, not at the one it reads; "
            "use steering(...), or error='drop'"
        )

    def replace(x_BD: Tensor) -> Tensor:
        if error == "keep":
            return _kept(dictionary, edits, x_BD, x_BD)
        return _rebuilt(dictionary, edits, x_BD)

    return replace


def _check(dictionary: Dictionary, edits: Sequence[Edit]) -> None:
    for edit in edits:
        if edit.latent >= dictionary.width:
            raise TenfoldError(
                f"latent {edit.latent} does not exist: the dictionary has {dictionary.width}, "
                f"0 to {dictionary.width - 1}"
            )


def _rebuilt(dictionary: Dictionary, edits: Sequence[Edit], x_BD: Tensor) -> Tensor:
    check_width(dictionary, x_BD)
    changed_BM = apply_edits(dictionary.encode(x_BD), edits)
    return dictionary.decode(changed_BM, x_BD).to(x_BD.dtype)


def _kept(dictionary: Dictionary, edits: Sequence[Edit], x_BD: Tensor, target_BO: Tensor) -> Tensor:
    """Return the target moved by the edits: its own bits wherever they change nothing."""
    check_width(dictionary, x_BD)
    f_BM = dictionary.encode(x_BD)
    changed_BM = apply_edits(f_BM, edits)
    moved_BO = target_BO.detach()
    if edits:
        latents = list(dict.fromkeys(edit.latent for edit in edits))
        shift_BE = (changed_BM - f_BM)[..., latents].detach()
        shift_BO = (shift_BE @ dictionary.w_dec[latents] * dictionary.scale).detach()
        moved_BO = torch.where(shift_BO == 0, moved_BO, (moved_BO + shift_BO).to(moved_BO.dtype))
    if not torch.is_grad_enabled():
        return moved_BO
    hat_BO = dictionary.decode(changed_BM, x_BD)
    return moved_BO + (hat_BO - hat_BO.detach()).to(moved_BO.dtype)


@contextmanager
def steering(
    specimen: Specimen, edits: Edits, *, error: ErrorTerm = "keep", mask: Tensor | None = None
) -> Iterator[Mapping[str, int]]:
    """Run everything inside the `with` block with edited latents.

    The specimen's special tokens keep their clean values, because dictionaries never saw them.

    Args:
        specimen: whose module is run, by whichever of its functions.
        edits: by site, or by (site read, site replaced) for transcoders; a dictionary without
            edits is put in its place all the same, so with "drop" its error counts.
        error: as for `edited`; for transcoders the error is that of the site they replace.
        mask: True where to replace, [B, T] or [B]; may be longer than what the module is run
            on. None replaces at all but special tokens.

    Yields:
        How often each site was replaced so far.

    Raises:
        TenfoldError: if a latent or a site does not exist, or a dictionary does not fit its
            site or its key.
    """
    positions = _Positions(specimen, mask)
    with ExitStack() as hooks:
        hooks.enter_context(positions.followed())
        replaced = {}
        for where, (dictionary, changes) in edits.items():
            _check(dictionary, changes)
            if dictionary.transcoder != isinstance(where, tuple):
                wanted = "(site read, site replaced)" if dictionary.transcoder else "one site"
                raise TenfoldError(f"{where!r} does not fit a dictionary that wants {wanted}")
            if isinstance(where, str):
                replaced[where] = edited(dictionary, changes, error=error)
                continue
            across = _Across(dictionary, changes, error=error, source=where[0])
            (site,) = name_sites(specimen.module, where[0]).values()
            hooks.enter_context(watch(specimen.module, site, across.see))
            replaced[where[1]] = across
        spliced = splice(specimen.module, replaced, error="drop", mask=positions.mask)
        yield hooks.enter_context(spliced)


class _Across:
    """A transcoder in place: sees its input at one site, changes what passes another."""

    def __init__(
        self, dictionary: Dictionary, edits: Sequence[Edit], *, error: ErrorTerm, source: str
    ) -> None:
        self.dictionary, self.edits, self.error = dictionary, edits, error
        self.source = source
        self.seen: list[Tensor] = []

    def see(self, x_BD: Tensor) -> None:
        self.seen[:] = [x_BD]

    def __call__(self, y_BO: Tensor) -> Tensor:
        if not self.seen:
            raise TenfoldError(
                f"the site to replace was passed before {self.source!r}, which a transcoder "
                "reads; give the sites in the order of the forward pass"
            )
        x_BD = self.seen.pop()
        if self.error == "keep":
            return _kept(self.dictionary, self.edits, x_BD, y_BO)
        return _rebuilt(self.dictionary, self.edits, x_BD).to(y_BO.dtype)


class _Positions:
    """Which positions of the pass now running are replaced: the mask, less special tokens."""

    def __init__(self, specimen: Specimen, given: Tensor | None) -> None:
        self.module, self.special, self.given = specimen.module, specimen.special, given
        self.tokens: Tensor | None = None

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Look at what the module is called with while inside."""
        hook = self.module.register_forward_pre_hook(self._look, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _look(self, _module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.tokens = next(filter(_are_tokens, (*args, *kwargs.values())), None)

    def mask(self) -> Tensor | None:
        """Return the positions to replace, None for all of them."""
        given, tokens = self.given, self.tokens
        if tokens is None:
            return given
        if given is not None and given.dim() == 2:
            given = given[:, : tokens.shape[1]]
        if not len(self.special):
            return given
        plain = keep_tokens(tokens, drop=self.special)
        return plain if given is None else plain & given.to(plain.device)


def _are_tokens(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2 and value.dtype in _WHOLE


_WHOLE = (torch.int64, torch.int32, torch.int16, torch.uint8)


def place_edits(
    suite: SavedSuite,
    edits: Mapping[str, Sequence[Edit]],
    *,
    load: Callable[[str], Dictionary] | None = None,
) -> Edits:
    """Load dictionaries of a suite by name, each for the site it was trained at.

    Args:
        suite: where they are.
        edits: by the names of dictionaries.
        load: gives a dictionary by its name; None reads the suite's files.

    Raises:
        TenfoldError: if a name is unknown, or two of them replace one site.
    """
    placed: dict[Where, tuple[Dictionary, Sequence[Edit]]] = {}
    names: dict[str, str] = {}
    for name, changes in edits.items():
        entry = suite.entry(name)
        target = entry.site_out or entry.site
        if target in names:
            raise TenfoldError(
                f"{names[target]} and {name} both stand at {target}; choose one of them"
            )
        names[target] = name
        where: Where = (entry.site, entry.site_out) if entry.transcodes else entry.site
        placed[where] = ((load or suite.load)(name), changes)
    return placed


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """How likely a token follows, in [0, 1]."""

    token: int
    text: str
    plain: float
    """In the model as it is."""
    steered: float
    """With edited latents."""

    @property
    def change(self) -> float:
        """What steering adds."""
        return self.steered - self.plain


@torch.no_grad()
def next_tokens(
    specimen: Specimen,
    tokens: Tensor,
    edits: Edits,
    *,
    error: ErrorTerm = "keep",
    count: int = 10,
) -> list[NextToken]:
    """Return what follows a prompt with and without edits, the largest changes first.

    Args:
        specimen: a model that scores next tokens.
        tokens: the prompt [1, T].
        edits: as for `steering`.
        error: as for `steering`.
        count: likeliest tokens taken from each of the two.

    Raises:
        TenfoldError: as `steering` and `complete`.
    """
    scores, window = scores_of(specimen), seen_window(specimen, tokens)
    plain_V = torch.softmax(scores(window)[0, -1].double(), dim=-1).cpu()
    with steering(specimen, edits, error=error):
        steered_V = torch.softmax(scores(window)[0, -1].double(), dim=-1).cpu()
    most = min(count, len(plain_V))
    found = {*plain_V.topk(most).indices.tolist(), *steered_V.topk(most).indices.tolist()}
    rows = [
        NextToken(
            token=token,
            text=token_text(specimen, token),
            plain=float(plain_V[token]),
            steered=float(steered_V[token]),
        )
        for token in found
    ]
    return sorted(rows, key=lambda row: (-abs(row.change), -row.steered, row.token))


@torch.no_grad()
def spliced_loss(
    specimen: Specimen, edits: Edits, batch: Batch | Tensor, *, error: ErrorTerm = "drop"
) -> float:
    """Return the model's mean loss with several dictionaries in place at once.

    Masked positions keep their clean values and count in the mean as the specimen's loss says.

    Args:
        specimen: a model with a loss.
        edits: as for `steering`; none at all gives the clean loss.
        batch: what the loss takes; a tensor stands for tokens [B, T] without a mask.
        error: as for `steering`; "drop" makes it the delta loss's first term.

    Raises:
        TenfoldError: if the specimen has no loss, nothing is predicted, or as `steering`.
    """
    if specimen.loss is None:
        raise TenfoldError(f"{specimen.name} has no loss; give one in its Specimen")
    if isinstance(batch, Tensor):
        batch = Batch(inputs=(batch,), labels={"token": batch})
    if edits:
        with steering(specimen, edits, error=error, mask=batch.mask):
            losses = specimen.loss(batch)
    else:
        losses = specimen.loss(batch)
    mean = float(losses.double().nanmean())
    if math.isnan(mean):
        raise TenfoldError(f"nothing is predicted in a batch of losses {list(losses.shape)}")
    return mean
