"""What prompt and steering pages are asked, read from forms and addresses, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name

if TYPE_CHECKING:
    from tenfold.rooms.scope.workbench import Opened, Workbench

OPERATIONS = ("ablate", "clamp", "scale", "add")
MOST_EDITS = 8
MOST_NEW_TOKENS = 128
SHADES = 9
"""Colours in which values are shown, beside none for zero."""
_EDIT = ("dictionary", "latent", "operation", "value")


@dataclass(frozen=True, kw_only=True, slots=True)
class EditAsked:
    """One edit as it was asked for."""

    latent: int
    operation: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptAsked:
    """A prompt to be read through one dictionary."""

    text: str = ""
    dictionary: str = ""
    latent: int = -1
    """Whose values are shown on each token; -1: the strongest."""

    @classmethod
    def read(cls, fields: Iterable[tuple[str, str]]) -> PromptAsked:
        """Read the fields of a form or an address; unknown ones are left out.

        Raises:
            TenfoldError: if a number is none.
        """
        found = dict(fields)
        return cls(
            text=_lines(found.get("text", "")),
            dictionary=found.get("dictionary", ""),
            latent=_whole(found, "latent", -1),
        )

    def fields(self) -> list[tuple[str, str]]:
        """Return the fields from which `read` makes the same."""
        latent = [("latent", str(self.latent))] if self.latent >= 0 else []
        return [("text", self.text), ("dictionary", self.dictionary), *latent]


@dataclass(frozen=True, kw_only=True, slots=True)
class SteerAsked:
    """A prompt to be completed with and without edits."""

    text: str = ""
    edits: tuple[tuple[str, EditAsked], ...] = ()
    """Pairs of a dictionary's name and an edit of one of its latents."""
    error: Literal["keep", "drop"] = "keep"
    count: int = 40
    """Tokens to add."""
    temperature: float = 0.0
    seed: int = 0
    dictionary: str = ""
    """Chosen beforehand in the form."""

    @classmethod
    def read(cls, fields: Iterable[tuple[str, str]]) -> SteerAsked:
        """Read the fields of a form or an address; edits without a latent are left out.

        Raises:
            TenfoldError: if a number is none, or is too large.
        """
        pairs = list(fields)
        found = dict(pairs)
        columns = {name: [v for n, v in pairs if n == name] for name in _EDIT}
        error = found.get("error", "keep")
        if error not in ("keep", "drop"):
            raise unknown_name("error term", error, ("keep", "drop"))
        return cls(
            text=_lines(found.get("text", "")),
            edits=_read_edits(columns),
            error="keep" if error == "keep" else "drop",
            count=_whole(found, "count", 40, most=MOST_NEW_TOKENS),
            temperature=_real(found, "temperature", 0.0, most=100.0),
            seed=_whole(found, "seed", 0, most=2**32),
            dictionary=(columns["dictionary"] or [""])[0],
        )

    def fields(self) -> list[tuple[str, str]]:
        """Return the fields from which `read` makes the same."""
        edits = [
            pair
            for name, edit in self.edits
            for pair in (
                ("dictionary", name),
                ("latent", str(edit.latent)),
                ("operation", edit.operation),
                ("value", f"{edit.value:g}"),
            )
        ]
        return [
            ("text", self.text),
            *edits,
            ("error", self.error),
            ("count", str(self.count)),
            ("temperature", f"{self.temperature:g}"),
            ("seed", str(self.seed)),
        ]


def _lines(text: str) -> str:
    """Return a text with the line ends of the model's own texts; forms send others."""
    return text.replace("\r\n", "\n")


def _read_edits(columns: dict[str, list[str]]) -> tuple[tuple[str, EditAsked], ...]:
    if len({len(values) for values in columns.values()}) > 1:
        if any(columns[name] for name in _EDIT[1:]):
            raise TenfoldError(
                "edits need as many of dictionary, latent, operation and value; found "
                + ", ".join(str(len(values)) for values in columns.values())
            )
        return ()  # a dictionary alone is only chosen beforehand
    edits = []
    for name, latent, operation, value in zip(*columns.values(), strict=True):
        if not latent.strip():
            continue
        if operation not in OPERATIONS:
            raise unknown_name("operation of an edit", operation, OPERATIONS)
        row = {"latent": latent, "value": value}
        edits.append(
            (
                name,
                EditAsked(
                    latent=_whole(row, "latent", 0),
                    operation=operation,
                    value=_real(row, "value", 0.0, least=-1e6, most=1e6),
                ),
            )
        )
    if len(edits) > MOST_EDITS:
        raise TenfoldError(f"{len(edits)} edits; {MOST_EDITS} can be made at once")
    return tuple(edits)


def _whole(found: dict[str, str], name: str, default: int, *, most: int = 2**31) -> int:
    text = found.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()) or int(text[:20]) > most:
        raise TenfoldError(f"{name} is {text[:40]!r}; give a whole number from 0 to {most}")
    return int(text)


def _real(
    found: dict[str, str], name: str, default: float, *, least: float = 0.0, most: float
) -> float:
    text = found.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise TenfoldError(f"{name} is {text[:40]!r}; give a number from {least:g} to {most:g}")
    return value


def answer_prompt(bench: Workbench, opened: Opened, asked: PromptAsked) -> Json:
    """Return what the page shows of a prompt: tokens, their latents, one latent's values.

    Raises:
        TenfoldError: if the dictionary or latent is unknown, or the prompt cannot be read.
    """
    from tenfold.rooms.scope.prompt import encode_prompt, read_prompt

    specimen = opened.specimen
    entry = opened.suite.entry(asked.dictionary)
    tokens = encode_prompt(specimen, asked.text)
    dictionary = bench.dictionary(opened, entry.name)
    reading = read_prompt(specimen, dictionary, entry.site, tokens)
    latent = asked.latent
    if latent < 0 and reading.strongest:
        latent = reading.strongest[0][0]
    values = reading.values(latent) if latent >= 0 else [0.0] * len(reading.texts)
    return {
        "entry": entry,
        "latent": latent if latent >= 0 else None,
        "largest": max(values),
        "l0": reading.l0,
        "strongest": reading.strongest,
        "tokens": [
            {"text": text, "tops": tops, "value": value, "shade": shade(value, max(values))}
            for text, tops, value in zip(reading.texts, reading.tops, values, strict=True)
        ],
        "notice": opened.notice,
    }


def shade(value: float, largest: float) -> int:
    """Return the colour of a value: 0 for none, up to `SHADES` for the largest.

    >>> shade(0.0, 2.0), shade(0.01, 2.0), shade(2.0, 2.0)
    (0, 1, 9)
    """
    if value <= 0 or largest <= 0:
        return 0
    return max(1, round(SHADES * min(1.0, value / largest)))


def answer_steering(
    bench: Workbench, opened: Opened, asked: SteerAsked, check: Callable[[], None]
) -> Json:
    """Return a prompt's completions with and without edits, and how the next token changes.

    Raises:
        TenfoldError: if a dictionary or latent is unknown, two dictionaries stand at one site,
            the prompt cannot be read, or it takes too long.
    """
    from tenfold.rooms.scope.completion import complete
    from tenfold.rooms.scope.prompt import encode_prompt
    from tenfold.rooms.scope.steer import next_tokens, place_edits, steering

    specimen = opened.specimen
    tokens = encode_prompt(specimen, asked.text)
    edits = place_edits(
        opened.suite, _edits_by_name(asked), load=lambda name: bench.dictionary(opened, name)
    )
    how: dict[str, Any] = {
        "count": asked.count,
        "temperature": asked.temperature,
        "seed": asked.seed,
        "check": check,
    }
    plain = steered = complete(specimen, tokens, **how)
    if asked.count:
        with steering(specimen, edits, error=asked.error):
            steered = complete(specimen, tokens, **how)
    start = tokens.shape[1]
    return {
        "plain": _pieces(specimen, plain[0, start:].tolist()),
        "steered": _pieces(specimen, steered[0, start:].tolist()),
        "next": next_tokens(specimen, tokens, edits, error=asked.error),
        "notice": opened.notice,
    }


def _edits_by_name(asked: SteerAsked) -> dict[str, list[Any]]:
    from tenfold.rooms.scope.steer import Edit

    edits: dict[str, list[Edit]] = {}
    for name, edit in asked.edits:
        operation: Any = edit.operation
        edits.setdefault(name, []).append(
            Edit(latent=edit.latent, operation=operation, value=edit.value)
        )
    return edits


def _pieces(specimen: Any, tokens: list[int]) -> list[str]:
    from tenfold.rooms.scope.completion import token_text

    return [token_text(specimen, token) for token in tokens]
