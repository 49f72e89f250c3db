"""The sites of a specimen: all that can be read, and those worth a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.sites import find_sites, parse_site
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.taps import capture
from tenfold.rooms.scope.anatomy import Visits, find_blocks, layer_sites, watch_modules


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRow:
    """One line of `scope sites`."""

    name: str
    """As sites are written."""
    shape: tuple[int, ...]
    """Of the activations of one batch, features last."""
    proposed: bool
    """Whether it is trained on when no sites are named."""

    @property
    def width(self) -> int:
        """Features D of one position."""
        return self.shape[-1]

    @property
    def float32_bytes(self) -> int:
        """Bytes one position takes as float32."""
        return 4 * self.width

    @property
    def bfloat16_bytes(self) -> int:
        """Bytes one position takes as bfloat16."""
        return 2 * self.width


def propose_sites(specimen: Specimen) -> dict[str, int]:
    """Return the sites worth a dictionary with their widths, block 2 before block 10.

    Those the specimen names itself; else, of each transformer block, the heads before the
    output projection, what the feed-forward layer adds and the residual stream (Gemma Scope,
    arXiv:2408.05147, 3.1); else what each layer with parameters gives, behind its norm and
    activation.

    Raises:
        TenfoldError: if nothing can be proposed.
    """
    if specimen.sites:
        return dict(specimen.sites)
    return {row.name: row.width for row in describe_sites(specimen) if row.proposed}


def describe_sites(specimen: Specimen) -> list[SiteRow]:
    """List the sites of a specimen, found by running its first training batch once.

    Modules that are called more than once are left out: they need `calls="all"`.

    Raises:
        TenfoldError: if there is no batch, or nothing can be proposed.
    """
    call = first_call(specimen)
    visits = watch_modules(specimen.module, call)
    proposed = list(specimen.sites) or _proposals(specimen, visits)
    if not proposed:
        raise TenfoldError(
            f"{specimen.name} calls no layer with parameters exactly once, so that no site can "
            "be proposed; name sites, as in --sites MODULE:out"
        )
    plain = [
        visit.site
        for visit in visits.values()
        if visit.calls == 1 and len(visit.shape) >= 2 and min(visit.shape) > 0
    ]
    shapes = _shapes(specimen, proposed, call)
    # A proposal may read another axis of the same result, or write its name in full.
    taken = {_plain(name) for name in proposed}
    for site in plain:
        if _plain(site) not in taken:
            shapes[site] = visits[parse_site(site).module].shape
    rows = [
        SiteRow(name=name, shape=shape, proposed=name in proposed) for name, shape in shapes.items()
    ]
    order = {str(site): i for i, site in enumerate(find_sites(specimen.module, shapes))}
    return sorted(rows, key=lambda row: order[str(parse_site(row.name))])


def _proposals(specimen: Specimen, visits: Visits) -> list[str]:
    blocks = find_blocks(specimen.module, visits)
    found = [site for b in blocks for site in (*b.attention, b.feed_forward, b.residual) if site]
    return list(dict.fromkeys(found)) or list(dict.fromkeys(layer_sites(visits).values()))


def _plain(name: str) -> str:
    site = parse_site(name)
    return f"{site.module}:{site.side}"


def _shapes(
    specimen: Specimen, sites: list[str], call: Callable[[], Any]
) -> dict[str, tuple[int, ...]]:
    taken = capture(specimen.module, sites, call)
    return {name: tuple(x.shape) for name, x in taken.items()}


def first_call(specimen: Specimen) -> Callable[[], Any]:
    """Return a function that runs the specimen on its first training batch.

    Raises:
        TenfoldError: if there is no batch.
    """
    batch = next(iter(specimen.batches("train", 0)), None)
    if batch is None:
        raise TenfoldError(f"{specimen.name} has no training batch; give it data to run on")
    moved = _moved(batch, specimen)
    if specimen.run is not None:
        run = specimen.run
        return lambda: run(moved)
    return lambda: specimen.module(*moved.inputs, **moved.keywords)


def _moved(batch: Batch, specimen: Specimen) -> Batch:
    parameter = next(specimen.module.parameters(), None)
    if parameter is None:
        return batch

    def move(value: Any) -> Any:
        return value.to(parameter.device) if isinstance(value, Tensor) else value

    keywords = {name: move(value) for name, value in batch.keywords.items()}
    return replace(batch, inputs=tuple(map(move, batch.inputs)), keywords=keywords)
