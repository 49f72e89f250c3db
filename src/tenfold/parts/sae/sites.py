"""Addresses of activations in any torch module (rooms jumprelu, scope).

A site names one tensor that goes into or comes out of one module:

    blocks.3                     the output of blocks.3, the same as blocks.3:out
    blocks.3.attn.out:in         its first argument, given by place or by name
    decoder:in[hidden]           the argument called hidden
    lstm:out[1][0]               an entry of a tuple, list, dict or dataclass, to any depth;
                                 the only entry need not be named
    stem.conv:out@1              features on axis 1, as in images [B, C, H, W]; else the last axis
    attn.z:out@-2,-1             several axes read as one, for instance heads and their widths
    blocks.*:in                  every block: `*` and `?` stay between two dots, `**` crosses them
    :out                         the output of the whole module

Whatever the axes, a site is read as [..., D]: features last, the other axes are positions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

from tenfold.engine.errors import TenfoldError, unknown_name

Key = str | int

_SITE = re.compile(
    r"(?P<module>[^:@]*)(:(?P<side>in|out)(?P<entry>(\[[^\[\]]+\])*))?(@(?P<axes>-?\d+(,-?\d+)*))?"
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where one activation is found; `str` gives the text that `parse_site` reads."""

    module: str
    """Dotted name below the module looked into; empty for that module itself."""
    side: Literal["in", "out"] = "out"
    """Whether it is among the arguments or the results."""
    entry: tuple[Key, ...] = ()
    """Path into nested arguments or results; numbers are places, text is names."""
    axes: tuple[int, ...] = (-1,)
    """The feature axes; several are read as one."""

    def __str__(self) -> str:
        entry = "".join(f"[{key}]" for key in self.entry)
        axes = "" if self.axes == (-1,) else "@" + ",".join(map(str, self.axes))
        return f"{self.module}:{self.side}{entry}{axes}"


def parse_site(text: str) -> Site:
    """Read a site such as `blocks.3.attn.out:in`; the forms are listed above.

    Raises:
        TenfoldError: if the text has another form.
    """
    match = _SITE.fullmatch(text)
    if match is None:
        raise TenfoldError(
            f"site {text!r} cannot be read; write MODULE:in or MODULE:out, then [ENTRY] and @AXIS "
            "if wanted, for instance blocks.3.attn:out[0]"
        )
    keys = re.findall(r"\[([^\[\]]+)\]", match["entry"] or "")
    axes = (match["axes"] or "-1").split(",")
    return Site(
        module=match["module"],
        side="in" if match["side"] == "in" else "out",
        entry=tuple(int(key) if re.fullmatch(r"-?\d+", key) else key for key in keys),
        axes=tuple(int(axis) for axis in axes),
    )


def find_sites(module: nn.Module, patterns: str | Site | Iterable[str | Site]) -> list[Site]:
    """List the sites of `module` that match, each once, block 2 before block 10.

    Raises:
        TenfoldError: for a pattern that matches no module, with the nearest names.
    """
    found = {site for written in _each(patterns) for site in _matching(module, written)}
    return sorted(found, key=_natural_order)


def name_sites(module: nn.Module, sites: str | Site | Iterable[str | Site]) -> dict[str, Site]:
    """Map names to sites: a text without wildcards names itself, all others by `str`.

    Raises:
        TenfoldError: as `find_sites`.
    """
    named: dict[str, Site] = {}
    for written in _each(sites):
        plain = isinstance(written, str) and not _is_pattern(parse_site(written).module)
        for site in sorted(_matching(module, written), key=_natural_order):
            named[written if isinstance(written, str) and plain else str(site)] = site
    return named


def _each(sites: str | Site | Iterable[str | Site]) -> Iterable[str | Site]:
    return (sites,) if isinstance(sites, str | Site) else sites


def _matching(module: nn.Module, written: str | Site) -> list[Site]:
    site = parse_site(written) if isinstance(written, str) else written
    if not _is_pattern(site.module) and _has(module, site.module):
        return [site]
    # Duplicates kept: a module shared by two parents can be named through either.
    known = [name for name, _ in module.named_modules(remove_duplicate=False)]
    names = [name for name in known if _fits(_words(name), _words(site.module))]
    if not names:
        raise unknown_name("module", site.module, filter(None, known))
    return [dataclasses.replace(site, module=name) for name in names]


def _has(module: nn.Module, name: str) -> bool:
    try:
        module.get_submodule(name)
    except AttributeError:
        return False
    return True


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def _words(name: str) -> list[str]:
    return name.split(".") if name else []


def _fits(words: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "**":
        return _fits(words, pattern[1:]) or (bool(words) and _fits(words[1:], pattern))
    return bool(words) and fnmatchcase(words[0], pattern[0]) and _fits(words[1:], pattern[1:])


def _natural_order(site: Site) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", str(site))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
