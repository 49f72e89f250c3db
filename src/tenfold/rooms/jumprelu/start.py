"""Where a training run starts: scale, centre, thresholds, or another dictionary's function."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu import config, files
from tenfold.rooms.jumprelu.data import Source
from tenfold.rooms.jumprelu.model import (
    BatchTopK,
    Dictionary,
    Gated,
    JumpReLU,
    Kind,
    ReLU,
    TopK,
    create,
    jumprelu_of_gated,
    row_norms,
    stack,
)

KINDS: dict[type, Kind] = {
    config.JumpReLU: "jumprelu",
    config.ReLU: "relu",
    config.Gated: "gated",
    config.TopK: "topk",
    config.BatchTopK: "batchtopk",
    config.Matryoshka: "matryoshka",
}
QUANTILE_ROWS = 4_096
CENTRE_ROWS = 16_384


def first_dictionary(
    cfg: config.Train,
    schedule: config.Schedule,
    *,
    sample: Tensor,
    scale: float,
    target: Tensor | None = None,
    skip: bool = False,
) -> Dictionary:
    """Return the stack of dictionaries at step 0, in training form.

    Args:
        cfg: what is trained.
        schedule: its resolved constants.
        sample: training rows [n, D], divided by `scale`.
        scale: C, the root of the mean squared norm of raw rows.
        target: for transcoders, the other site's rows [n, O] that belong to them, divided by
            the same `scale`; b_dec starts at their centre.
        skip: give transcoders a skip connection.

    Raises:
        TenfoldError: if a skip connection is asked for without a target, or the dictionary to
            start from does not fit.
    """
    if target is None and skip:
        raise TenfoldError("a skip connection needs pairs of sites; leave it out or give a target")
    if cfg.warm_start:
        dictionary = _warm(cfg, schedule, scale, sample=sample, target=target, skip=skip)
    else:
        dictionary = _cold(cfg, schedule, sample, target=target, skip=skip)
    dictionary.scale = scale
    return dictionary


def first_rows(source: Source, count: int) -> Tensor:
    """Return the first `count` held-out rows, or all if there are fewer."""

    def pieces() -> Iterator[Tensor]:
        left = count
        for rows in source.held_out():
            yield rows[:left]
            left -= len(rows)
            if left <= 0:
                return

    return torch.cat(list(pieces()))


def _cold(
    cfg: config.Train,
    schedule: config.Schedule,
    sample: Tensor,
    *,
    target: Tensor | None,
    skip: bool,
) -> Dictionary:
    centre = _centre(sample if target is None else target, schedule.centre).cpu()
    dictionaries = []
    for lane in cfg.lanes:
        dictionary = _blank(cfg, schedule, lane, sample=sample, target=target, skip=skip)
        dictionary.b_dec.data.copy_(centre)
        if isinstance(dictionary.unit, JumpReLU) and not schedule.threshold_start:
            _set_threshold(
                dictionary.unit, quantile_thresholds(dictionary, sample.cpu(), lane.target_l0)
            )
        dictionaries.append(dictionary)
    return stack(dictionaries)


def _blank(
    cfg: config.Train,
    schedule: config.Schedule,
    lane: config.Lane,
    *,
    sample: Tensor,
    target: Tensor | None,
    skip: bool,
) -> Dictionary:
    return create(
        KINDS[type(cfg.method)],
        input_width=sample.shape[-1],
        width=cfg.width,
        generator=rng.torch_stream(lane.seed, "jumprelu", "start"),
        k=max(1, round(lane.target_l0)),
        threshold=schedule.threshold_start or 1.0,
        threshold_as_log=schedule.threshold_as_log,
        prefixes=_prefixes(cfg),
        transcoder=target is not None,
        output_width=0 if target is None else target.shape[-1],
        skip=skip,
    )


def _prefixes(cfg: config.Train) -> tuple[int, ...]:
    if not isinstance(cfg.method, config.Matryoshka):
        return ()
    sizes = [max(1, round(share * cfg.width)) for share in cfg.method.prefixes]
    return tuple(sorted(set(sizes)))


def _centre(sample: Tensor, kind: str) -> Tensor:
    if kind == "zero":
        return torch.zeros_like(sample[0])
    return sample.mean(dim=0) if kind == "mean" else geometric_median(sample[:CENTRE_ROWS])


def geometric_median(x_ND: Tensor, *, rounds: int = 100, tolerance: float = 1e-6) -> Tensor:
    """Return the point of least mean distance to the rows (Weiszfeld's algorithm), [D]."""
    point = x_ND.mean(dim=0)
    for _ in range(rounds):
        weights = 1 / (x_ND - point).norm(dim=-1).clamp_min(1e-12)
        moved: Tensor = (weights @ x_ND) / weights.sum()
        if (moved - point).norm() <= tolerance * point.norm():
            return moved
        point = moved
    return point


def quantile_thresholds(dictionary: Dictionary, sample: Tensor, target_l0: float) -> Tensor:
    """Return the thresholds [M] at which each latent fires on its share of the target L0."""
    share = (target_l0 or min(32.0, dictionary.width / 8)) / dictionary.width
    z_MB = dictionary.preactivations(sample[:QUANTILE_ROWS]).detach().mT.contiguous()
    above = max(1, round(min(0.5, share) * z_MB.shape[-1]))
    return z_MB.topk(above, dim=-1, sorted=False).values.amin(dim=-1).clamp_min(1e-4)


def _set_threshold(unit: JumpReLU, threshold: Tensor) -> None:
    unit.raw.data.copy_(threshold.log() if unit.as_log else threshold)


def _warm(
    cfg: config.Train,
    schedule: config.Schedule,
    scale: float,
    *,
    sample: Tensor,
    target: Tensor | None,
    skip: bool,
) -> Dictionary:
    """Return every lane's start from one dictionary file, in training form."""
    given = files.load(cfg.warm_start).fold()
    lanes = []
    for lane in cfg.lanes:
        blank = _blank(cfg, schedule, lane, sample=sample, target=target, skip=skip)
        _check_fits(cfg, blank, given)
        lanes.append(_take_over(blank, given, scale))
    return stack(lanes)


def _check_fits(cfg: config.Train, blank: Dictionary, given: Dictionary) -> None:
    """Refuse a dictionary to start from whose shape or sites differ from the run's."""
    if (given.input_width, given.width, given.output_width) != (
        blank.input_width,
        blank.width,
        blank.output_width,
    ):
        raise TenfoldError(
            f"warm start {cfg.warm_start} has shape {_shape(given)}, the run {_shape(blank)}; "
            "use a dictionary of that shape"
        )
    if given.transcoder != blank.transcoder:
        names = {True: "a transcoder", False: "an autoencoder"}
        raise TenfoldError(
            f"warm start {cfg.warm_start} is {names[given.transcoder]}, the run trains "
            f"{names[blank.transcoder]}; use a dictionary of the same sites"
        )
    if given.w_skip is not None and blank.w_skip is None:
        raise TenfoldError(
            f"warm start {cfg.warm_start} has a skip connection, the run has none; train with one"
        )


def _shape(dictionary: Dictionary) -> str:
    shape = f"D {dictionary.input_width} x M {dictionary.width}"
    return f"{shape} x O {dictionary.output_width}" if dictionary.transcoder else shape


def _take_over(blank: Dictionary, given: Dictionary, scale: float) -> Dictionary:
    """Put a folded dictionary's function into a training form with scale and pre-bias.

    A transcoder's training form has no pre-bias; a skip connection knows no scale.

    Raises:
        TenfoldError: if `given` is of a kind that the kind of `blank` cannot start from.
    """
    if isinstance(given.unit, Gated) and isinstance(blank.unit, JumpReLU):
        given = jumprelu_of_gated(given)
    norms = row_norms(given.w_dec).clamp_min(1e-12)
    b_dec = given.b_dec / scale
    shift = b_dec @ given.w_enc if blank.pre_bias else torch.zeros_like(given.b_enc)
    blank.w_enc.data.copy_(given.w_enc * norms)
    blank.w_dec.data.copy_(given.w_dec / norms[:, None])
    blank.b_dec.data.copy_(b_dec)
    blank.b_enc.data.copy_((given.b_enc / scale + shift) * norms)
    if blank.w_skip is not None and given.w_skip is not None:
        blank.w_skip.data.copy_(given.w_skip)
    match blank.unit, given.unit:
        case JumpReLU(), JumpReLU(threshold=threshold) | BatchTopK(threshold=threshold):
            _set_threshold(blank.unit, (threshold / scale * norms).clamp_min(1e-6))
        case JumpReLU(), ReLU():
            _set_threshold(blank.unit, torch.full_like(norms, 1e-6))
        case Gated(), Gated(gain_log=gain_log, b_mag=b_mag):
            blank.unit.gain_log.data.copy_(gain_log)
            blank.unit.b_mag.data.copy_((b_mag / scale + shift * gain_log.exp()) * norms)
        case BatchTopK(), BatchTopK(threshold=threshold):
            # One threshold serves all latents, so it can only be kept for rows of norm 1.
            blank.unit.threshold.copy_(threshold / scale * norms.mean())
        case (ReLU(), ReLU()) | (TopK(), TopK()):
            pass
        case _:
            raise TenfoldError(
                f"a {blank.kind} dictionary cannot start from a {given.kind} one; "
                f"warm-start it from {blank.kind}, or train jumprelu"
            )
    return blank
