"""One step of training, for a stack of dictionaries side by side (GS section 3.2).

Loss, decoder gradients without their parallel part, Adam, decoder rows back to norm 1.
"""

# S stack of dictionaries, B rows of a batch, D width of an activation, M latents

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from tenfold.engine import device
from tenfold.engine.config import Json
from tenfold.rooms.jumprelu import config, kernels, method
from tenfold.rooms.jumprelu.data import Source
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, JumpReLU, row_norms
from tenfold.rooms.jumprelu.start import first_dictionary, first_rows, quantile_thresholds

UNITS = {
    "loss": "squared norm of the scaled input, training rows",
    "l0": "active latents a row, held out",
    "fvu": "share of the variance, held out",
    "dead": "latents without a firing for long, training rows",
    "price": "squared error an active latent",
    "benefit": "squared error that a latent at its threshold saves, held out",
    "window": "share of entries inside the window, held out",
}
MONITOR_ROWS = 2_048
"""Held-out rows looked at while training."""
SATURATED = 10.0
"""A price so many times the benefit of staying on no longer moves the thresholds."""


def metric_units(cfg: config.Train, lanes: tuple[config.Lane, ...] | None = None) -> dict[str, str]:
    """Return the unit of each metric that a run of `cfg` logs, for its own or other lanes."""
    lanes = cfg.lanes if lanes is None else lanes
    return {f"{name}/{lane.name}": unit for name, unit in UNITS.items() for lane in lanes}


def start(cfg: config.Train, source: Source, *, torch_device: str = "cpu") -> Trainer:
    """Return a trainer at step 0."""
    schedule = config.resolve_schedule(cfg, input_width=source.width)
    sample = source.sample().cpu()
    scale = math.sqrt(float(sample.square().sum(dtype=torch.float64)) / len(sample))
    sample = sample / scale
    dictionary = first_dictionary(cfg, schedule, sample=sample, scale=scale)
    # Before the dictionary moves to its device: the sample stays on the CPU.
    price = first_price(cfg, dictionary, sample)
    return Trainer(
        cfg,
        schedule=schedule,
        dictionary=dictionary.to(torch_device),
        first_price=price.to(torch_device),
        monitor=(first_rows(source, MONITOR_ROWS) / scale).to(torch_device),
    )


def first_price(cfg: config.Train, dictionary: Dictionary, sample: Tensor) -> Tensor:
    """Return a price [S] near which each dictionary's target L0 should be in equilibrium.

    A latent just at its threshold theta saves about theta^2 of error by staying on, and an L1
    price of 2 theta shrinks it to nothing. `quad_batch` prices the share by which the target is
    missed, not a latent, and is used at 1.
    """
    if getattr(cfg.method, "penalty", "") == "quad_batch":
        return torch.ones(len(cfg.lanes))
    prices = []
    for index, lane in enumerate(cfg.lanes):
        theta = quantile_thresholds(dictionary.lane(index), sample, lane.target_l0).mean()
        prices.append(theta.square() if isinstance(cfg.method, config.JumpReLU) else theta)
    return torch.stack(prices)


class Trainer:
    """The state of a run between two steps; `Checkpointable`.

    Made by `start`. Prices follow the L0 where a target is given and the loss has a price:
    log lambda moves by `_price_gain` times the log of L0 over its target each step.
    """

    def __init__(
        self,
        cfg: config.Train,
        *,
        schedule: config.Schedule,
        dictionary: Dictionary,
        first_price: Tensor,
        monitor: Tensor,
        lanes: tuple[config.Lane, ...] | None = None,
        monitor_target: Tensor | None = None,
    ) -> None:
        self.cfg = cfg
        self.schedule = schedule
        self.dictionary = dictionary
        self.monitor = monitor
        self.monitor_target = monitor if monitor_target is None else monitor_target
        self.lanes = cfg.lanes if lanes is None else lanes
        assert len(self.lanes) == len(dictionary.b_enc), "a stack has one dictionary for each lane"
        self.method = _with_defaults(cfg.method, schedule)
        self.target_l0 = _per_lane(self.lanes, "target_l0", monitor)
        fixed = _per_lane(self.lanes, "price", monitor)
        self.log_price = torch.where(fixed > 0, fixed, first_price).log()
        self.controlled = _has_price(self.method) and not bool((fixed > 0).any())
        self._told: set[str] = set()
        self.silent_rows = torch.zeros_like(dictionary.b_enc, dtype=torch.int64)
        self.moments = Moments(
            dictionary,
            learning_rate=schedule.learning_rate,
            betas=(schedule.beta1, schedule.beta2),
            threshold_rate=schedule.threshold_rate,
        )
        self.kernel = kernels.choose(cfg.kernel, dictionary, self.method, schedule)
        self.sparse_step = kernels.build(
            self.kernel,
            dictionary,
            self.method,
            self.moments,
            threads=device.choose("cpu", threads=cfg.threads).threads,
        )

    @property
    def unit_rows(self) -> bool:
        """Whether decoder rows are kept at norm 1: unless the loss weighs them by it."""
        return not getattr(self.method, "norm_weighted", False)

    def update(self, x_SBD: Tensor, step: int, y_SBO: Tensor | None = None) -> method.Terms:
        """Take one step on raw activations and return what was measured before it.

        Args:
            x_SBD: inputs of each dictionary.
            step: its number, from 0.
            y_SBO: what transcoders are to rebuild; None is their inputs.
        """
        place = self.monitor.device
        x_SBD = x_SBD.to(place)
        y_SBO = None if y_SBO is None else y_SBO.to(place)
        rate = learning_rate(step, steps=self.cfg.steps, schedule=self.schedule)
        setting = self._setting(step)
        terms = None
        if self.sparse_step is not None and kernels.still_fits(self.dictionary):
            densest = math.inf if self.cfg.kernel == "sparse" else kernels.DENSEST
            terms = self.sparse_step(x_SBD, y_SBO, setting, rate=rate, densest=densest)
        if terms is None:
            terms = self._dense_step(x_SBD, y_SBO, setting, rate=rate)
        with torch.no_grad():
            self._follow(terms, rows=x_SBD.shape[1])
        return terms

    def _dense_step(
        self, x_SBD: Tensor, y_SBO: Tensor | None, setting: method.Setting, *, rate: float
    ) -> method.Terms:
        """Take a step by autograd and torch's Adam."""
        dictionary = self.dictionary
        target = None if y_SBO is None else y_SBO / dictionary.scale
        terms = method.loss(dictionary, x_SBD / dictionary.scale, setting, self.method, target)
        dictionary.zero_grad()
        terms.loss.sum().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            if self.unit_rows:
                grad = dictionary.w_dec.grad
                assert grad is not None, "the loss does not reach the decoder"
                grad.copy_(method.remove_parallel(grad, dictionary.w_dec))
            self.moments.dense_step(rate)
            if self.unit_rows:
                # A row of zeros, from a file of another library, stays one.
                dictionary.w_dec.div_(row_norms(dictionary.w_dec).clamp_min(1e-12).unsqueeze(-1))
        return terms

    def _setting(self, step: int) -> method.Setting:
        warm = min(1.0, (step + 1) / self.schedule.price_warmup_steps)
        return method.Setting(
            price=self.log_price.exp() * warm,
            target_l0=self.target_l0,
            bandwidth=self._bandwidth,
            dead=self.dead,
        )

    @property
    def _bandwidth(self) -> float:
        return getattr(self.method, "bandwidth", 0.0)

    @property
    def dead(self) -> Tensor:
        """Latents [S, M] that have not fired on the last `dead_after_rows` rows."""
        return self.silent_rows > self.schedule.dead_after_rows

    def _follow(self, terms: method.Terms, *, rows: int) -> None:
        """Bring thresholds, prices and counts up to date with the step."""
        unit = self.dictionary.unit
        if isinstance(unit, JumpReLU) and not unit.as_log:
            unit.raw.clamp_(min=1e-6)
        if isinstance(unit, BatchTopK):
            memory = self.schedule.threshold_decay
            moved = torch.lerp(terms.extra["smallest"], unit.threshold, memory)
            fresh = torch.where(unit.threshold > 0, moved, terms.extra["smallest"])
            unit.threshold.copy_(torch.where(fresh.isfinite(), fresh, unit.threshold))
        if self.controlled:
            off = (terms.l0.clamp_min(1e-3) / self.target_l0).log().clamp(-1, 1)
            self.log_price += self._price_gain * off
        self.silent_rows += rows
        self.silent_rows.masked_fill_(terms.fired, 0)

    @property
    def _price_gain(self) -> float:
        # Slow enough for Adam to follow, fast enough to cross two decades in a short run.
        return min(0.05, 20 / self.cfg.steps)

    @torch.no_grad()
    def watch(self, terms: method.Terms, step: int) -> tuple[dict[str, Tensor], list[str]]:
        """Measure every dictionary on held-out rows.

        Args:
            terms: of the step just taken.
            step: its number.

        Returns:
            Metrics named `metric/lane`, and what is going wrong, each warning once.
        """
        dictionary, x_BD, y_BO = self.dictionary, self.monitor, self.monitor_target
        f_BM = dictionary.activate(dictionary.preactivations(x_BD))
        variance = method.squared_error(y_BO, y_BO.mean(dim=-2, keepdim=True))
        values = {
            "loss": terms.loss.detach(),
            "l0": (f_BM > 0).sum(dim=-1).float().mean(dim=-1),
            "fvu": method.squared_error(y_BO, dictionary.reconstruct(f_BM, x_BD)) / variance,
            "dead": self.dead.sum(dim=-1),
        }
        if _has_price(self.method):
            values["price"] = self.log_price.exp()
        if isinstance(dictionary.unit, JumpReLU):
            values["benefit"], values["window"] = method.benefit_at_threshold(
                dictionary, x_BD, bandwidth=self._bandwidth, target_BD=y_BO
            )
        warm = step >= self.schedule.price_warmup_steps
        return {
            f"{name}/{lane.name}": value[index]
            for name, value in values.items()
            for index, lane in enumerate(self.lanes)
        }, self._new_warnings(values) if warm and "benefit" in values else []

    def _new_warnings(self, values: dict[str, Tensor]) -> list[str]:
        price = self.log_price.exp()
        found = [
            sparsity_warning(
                lane,
                float(values["l0"][index]),
                width=self.cfg.width,
                price=float(price[index]),
                benefit=float(values["benefit"][index]),
            )
            for index, lane in enumerate(self.lanes)
        ]
        new = [warning for warning in found if warning and warning.split(",")[0] not in self._told]
        self._told |= {warning.split(",")[0] for warning in new}
        return new

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything the next step depends on."""
        tensors, values = self.moments.state()
        tensors |= {f"dictionary/{n}": t for n, t in self.dictionary.state_dict().items()}
        tensors |= {"log_price": self.log_price, "silent_rows": self.silent_rows}
        return tensors, {"optimizer": values, "scale": self.dictionary.scale}

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Put back what `state` returned."""
        prefix = "dictionary/"
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        self.dictionary.load_state_dict(own)
        self.dictionary.scale = float(values["scale"])
        self.moments.load_state(tensors, values["optimizer"])
        self.log_price.copy_(tensors["log_price"])
        self.silent_rows.copy_(tensors["silent_rows"])


def sparsity_warning(
    lane: config.Lane, l0: float, *, width: int, price: float, benefit: float
) -> str:
    """Return what is wrong with a JumpReLU dictionary's sparsity, or nothing.

    Args:
        lane: which dictionary.
        l0: its L0 on held-out rows.
        width: its latents.
        price: its lambda.
        benefit: the error that a latent at its threshold saves by staying on.
    """
    if l0 > width / 4:
        return (
            f"warning: {lane.name} is not sparsifying, L0 is {l0:.0f} of {width}; "
            "raise the bandwidth or use --schedule short"
        )
    missed = not lane.target_l0 or l0 > 1.5 * lane.target_l0
    if missed and price > SATURATED * max(benefit, 0.0):
        return (
            f"warning: {lane.name} has a saturated price, {price:.3g} where staying on saves "
            f"{benefit:.3g}; raising it will not lower L0 from {l0:.0f}"
        )
    return ""


def learning_rate(step: int, *, steps: int, schedule: config.Schedule) -> float:
    """Return Adam's step size: cosine rise from a tenth, constant, linear fall at the end."""
    rate = schedule.learning_rate
    if step < schedule.warmup_steps:
        risen = 0.5 * (1 - math.cos(math.pi * step / schedule.warmup_steps))
        rate *= 0.1 + 0.9 * risen
    falling = schedule.decay_share * steps
    left = steps - step
    return rate * left / falling if left < falling else rate


def _with_defaults(chosen: config.Method, schedule: config.Schedule) -> config.Method:
    if not isinstance(chosen, config.JumpReLU):
        return chosen
    if chosen.penalty == "auto":
        chosen = replace(chosen, penalty=schedule.penalty)
    if not chosen.bandwidth:
        chosen = replace(chosen, bandwidth=schedule.bandwidth)
    return chosen


def _has_price(chosen: config.Method) -> bool:
    """Whether L0 follows a price, so that a target can be reached by moving it."""
    if isinstance(chosen, config.JumpReLU):
        return chosen.penalty in ("linear", "tanh")
    return isinstance(chosen, config.ReLU | config.Gated)


def _per_lane(lanes: tuple[config.Lane, ...], name: str, like: Tensor) -> Tensor:
    values = [getattr(lane, name) for lane in lanes]
    return torch.tensor(values, dtype=torch.float32, device=like.device)
