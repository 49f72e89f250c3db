"""Model cards: the README.md of what is published, and the licence in that of others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.engine.config import Json
from tenfold.rooms.scope.suite import Entry, Manifest

HEAD = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
COLUMNS = {"l0": "L0", "fvu": "FVU", "delta_loss": "delta loss", "dead": "dead latents"}
LIMITS = """\
- Dictionaries describe the activations of the model and text above; other text may be explained
  worse. The loss they cost is in the table, where it was measured.
- A latent is a direction with a threshold, not a concept; what it stands for is an interpretation.
- Beginnings of texts and other special tokens were left out in training: leave them out in use.
"""
PAPERS = """\
Rajamanoharan et al. 2024, JumpReLU dictionaries (arXiv:2407.14435); Lieberum et al. 2024, Gemma
Scope (arXiv:2408.05147), whose layout of folders is used where the format says so.
"""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a suite cannot say of itself."""

    title: str = ""
    """Empty: from the model's name."""
    licence: str = ""
    """Of the dictionaries, an identifier of the Hub such as apache-2.0; empty: stated as other."""
    base_model: str = ""
    """Repository of the model, owner/name; empty: the subject's, if it is one."""
    datasets: tuple[str, ...] = ()
    """Repositories of the text, owner/name."""
    terms: str = ""
    """Licence terms of model and data in words; empty: what the subject says."""
    notes: str = ""
    """A paragraph of your own."""


def read_licence(folder: Path) -> str:
    """Return the licence in the head of a folder's README.md; "" if there is none."""
    path = folder / "README.md"
    if not path.is_file():
        return ""
    head = HEAD.match(path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n"))
    fields = (
        dict(re.findall(r"^(license|license_name|license_link): *(.+)$", head[1], re.M))
        if head
        else {}
    )
    parts = [
        fields[name].strip("\"' ")
        for name in ("license", "license_name", "license_link")
        if name in fields
    ]
    return ", ".join(parts)


def write_card(
    manifest: Manifest,
    card: Card,
    *,
    evaluation: Json | None = None,
    renamed: Sequence[str] = (),
    format: str = "tenfold",
    folders: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a suite's card.

    Args:
        manifest: what is published, with the paths it has there.
        card: what the manifest does not know.
        evaluation: content of `evaluation.json`.
        renamed: sentences about folders that could not be called as the layout says.
        format: of the dictionaries.
        folders: sites by the folder they were put in, to be told.
    """
    title = card.title or f"Sparse dictionaries of {manifest.model}"
    parts = [
        _head(manifest, card),
        f"# {title}\n",
        f"{card.notes}\n" if card.notes else "",
        _what(manifest, format=format),
        _use(manifest),
        _table(manifest, evaluation),
        _layout(renamed, folders or {}),
        "## Limits\n\n" + LIMITS,
        _terms(manifest, card),
        "## Papers\n\n" + PAPERS,
    ]
    return "\n".join(part for part in parts if part)


def _head(manifest: Manifest, card: Card) -> str:
    base = card.base_model or (manifest.model if "/" in manifest.model else "")
    fields: dict[str, Any] = {
        "library_name": "tenfold",
        "tags": ["tenfold", "scope", "sparse-autoencoder", "interpretability"],
        "license": card.licence or "other",
        "license_name": "" if card.licence else "not-stated",
        "base_model": base,
        "datasets": list(card.datasets),
    }
    # JSON is YAML, so that nothing in a name can break out of its field.
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items() if value]
    return "\n".join(["---", *lines, "---", ""])


def _what(manifest: Manifest, *, format: str) -> str:
    entries = manifest.entries
    kinds = ", ".join(sorted({entry.kind for entry in entries}))
    widths = ", ".join(f"{width:,}" for width in sorted({entry.width for entry in entries}))
    seeds = ", ".join(map(str, sorted({entry.seed for entry in entries})))
    schedules = ", ".join(sorted({entry.schedule for entry in entries}))
    rows = sorted({entry.rows for entry in entries})
    shown = f"{rows[0]:,}" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,}"
    return (
        f"{len(entries)} dictionaries of {len({entry.site for entry in entries})} sites of "
        f"`{_code(manifest.model)}`, made with tenfold.\n\n"
        f"- kinds: {kinds}\n- widths: {widths} latents\n- seeds: {seeds}\n"
        f"- trained on {shown} activations each\n- schedule: {schedules}\n"
        f"- files: format `{format}`, folded: raw activations in, raw reconstructions out\n"
    )


def _use(manifest: Manifest) -> str:
    name = manifest.entries[0].name if manifest.entries else "NAME"
    return (
        "## Use\n\n```python\nfrom tenfold import scope\n\n"
        'suite = scope.open_suite("THIS FOLDER")\n'
        f"dictionary = suite.load({name!r})\n"
        "latents = dictionary.encode(activations)\n```\n"
    )


def _table(manifest: Manifest, evaluation: Json | None) -> str:
    measured = (evaluation or {}).get("entries", {})
    rows = [
        (entry, {**entry.metrics, **measured.get(entry.name, {})}) for entry in manifest.entries
    ]
    names = [name for name in COLUMNS if any(_is_number(found.get(name)) for _, found in rows)]
    head = ["dictionary", "site", "width", "target L0", "seed", *(COLUMNS[n] for n in names)]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for entry, found in rows:
        facts = [f"`{_code(entry.name)}`", f"`{_code(_place(entry))}`", str(entry.width)]
        facts += [f"{entry.target_l0:g}", str(entry.seed)]
        facts += [_number(found.get(name)) for name in names]
        lines.append("| " + " | ".join(facts) + " |")
    tokens = (evaluation or {}).get("tokens")
    source = (
        f"Measured on {tokens:,} held-out tokens or items; delta loss in nats."
        if isinstance(tokens, int)
        else "Measured on held-out rows of the harvest."
    )
    return "## Dictionaries\n\n" + source + "\n\n" + "\n".join(lines) + "\n"


def _place(entry: Entry) -> str:
    return f"{entry.site} -> {entry.site_out}" if entry.transcodes else entry.site


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    return f"{value:.4g}" if _is_number(value) else "-"


def _code(text: str) -> str:
    """Return text that cannot end its code span or table cell."""
    return text.replace("`", "'").replace("|", "/").replace("\n", " ")


def _layout(renamed: Sequence[str], folders: Mapping[str, str]) -> str:
    lines = [f"- `{_code(path)}`: site `{_code(site)}`" for path, site in folders.items()]
    lines += [f"- {sentence}" for sentence in renamed]
    return "## Folders\n\n" + "\n".join(lines) + "\n" if lines else ""


def _terms(manifest: Manifest, card: Card) -> str:
    own = card.licence or "not stated by whoever published them; ask before use"
    terms = card.terms or manifest.licence or "not stated; see the model's and the data's own pages"
    return f"## Licence\n\n- these dictionaries: {own}\n- model and data: {terms}\n"
