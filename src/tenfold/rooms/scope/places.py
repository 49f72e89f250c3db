"""Where the dictionaries of a suite stand: sites of a module, or pairs of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.harvest import folder_name
from tenfold.parts.sae.sites import Site, name_sites, parse_site
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope.proposals import propose_sites

ARROW = "->"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One site, or the two ends of transcoders."""

    site: str
    """Where inputs are read."""
    site_out: str = ""
    """Where outputs belong, for transcoders; empty: at `site`."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites whose activations are needed, input first."""
        return (self.site, self.site_out) if self.site_out else (self.site,)

    @property
    def target(self) -> str:
        """The site that is rebuilt."""
        return self.site_out or self.site

    @property
    def folder(self) -> str:
        """A name for folders and metrics; different places never share one.

        >>> Place(site="blocks.0.mlp:in", site_out="blocks.0.mlp").folder
        'blocks.0.mlp+in++blocks.0.mlp'
        """
        # No part of a folder's name is empty, so two plus signs stand between sites only.
        return "++".join(map(folder_name, self.sites))

    def __str__(self) -> str:
        return ARROW.join(self.sites)


def plain_name(site: str | Site) -> str:
    """Return the shortest text of a site: every way to write it has the same one.

    >>> plain_name("blocks.0:out"), plain_name("blocks.0:in")
    ('blocks.0', 'blocks.0:in')
    >>> plain_name("conv:out@1"), plain_name(":out")
    ('conv@1', ':out')
    """
    text = str(parse_site(site) if isinstance(site, str) else site)
    return re.sub(r"(?<=.):out(?=@|$)", "", text)


def find_places(specimen: Specimen, written: Sequence[str]) -> tuple[Place, ...]:
    """Return the places that sites stand for, each once; `IN->OUT` is a pair.

    Wildcards on both sides of an arrow are paired in order.

    Args:
        specimen: whose module has the sites.
        written: sites, wildcards allowed; none: those that are proposed.

    Raises:
        TenfoldError: for an unknown site, with the nearest names; for ends of a pair that stand
            for different numbers of sites.
    """
    places = [place for text in written for place in _matching(specimen, text)]
    if not written:
        places = [Place(site=site) for site in proposed_sites(specimen)]
    return tuple(dict.fromkeys(places))


def _matching(specimen: Specimen, text: str) -> Iterable[Place]:
    ends = [find_names(specimen, (end.strip(),)) for end in text.split(ARROW)]
    if len(ends) > 2:
        raise TenfoldError(f"{text!r} has {len(ends) - 1} arrows; write IN->OUT with one")
    if len({len(end) for end in ends}) > 1:
        raise TenfoldError(
            f"{text!r} pairs {len(ends[0])} sites with {len(ends[1])}; name as many on both sides"
        )
    return [Place(site=pair[0], site_out="".join(pair[1:])) for pair in zip(*ends, strict=True)]


def find_names(specimen: Specimen, sites: Iterable[str]) -> tuple[str, ...]:
    """Return the plain names of the sites that match, each once.

    Raises:
        TenfoldError: for a pattern that matches no module, with the nearest names.
    """
    named = name_sites(specimen.module, sites)
    return tuple(dict.fromkeys(map(plain_name, named.values())))


def proposed_sites(specimen: Specimen) -> tuple[str, ...]:
    """Return the sites worth looking at: those of the specimen, or found in its module."""
    return find_names(specimen, specimen.sites or propose_sites(specimen))
