"""Suites as others expect them: in the release layout, with a card, on the hub and back.

Gemma Scope (arXiv:2408.05147) has one repository for each kind of site and in it
`layer_{N}/width_{w}/average_l0_{X}/params.npz`; Gemma Scope 2 has folders
`resid_post/layer_{N}_width_{w}_l0_{X}` with `params.safetensors` and `config.json`. Every release
carries tenfold's manifest too, so that `open_suite` reads it back by site and target.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tenfold.engine import files, hub, origin
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.parts.sae.formats import FORMATS, write_arrays
from tenfold.parts.sae.formats.gemma_scope import release_folder, width_name
from tenfold.parts.sae.sites import parse_site
from tenfold.rooms.jumprelu.files import load, save
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.scope.card import Card, write_card
from tenfold.rooms.scope.gemma import attach
from tenfold.rooms.scope.places import Place
from tenfold.rooms.scope.suite import Entry, Manifest, SavedSuite, open_suite, write_manifest

__all__ = [
    "Card",
    "attach",
    "fetch_dictionary",
    "fetch_suite",
    "publish",
    "push_suite",
    "save_dictionary",
    "site_of_release",
]

BLOCKS = {"layers", "blocks", "block", "layer", "h"}
"""How the lists of blocks of transformers are called."""
SECOND_NAMES = {
    "res": "resid_post",
    "mlp": "mlp_out",
    "att": "attn_out",
    "transcoders": "transcoder",
}
README, CONFIG, EVALUATION = "README.md", "config.json", "evaluation.json"


@dataclass(frozen=True, kw_only=True)
class _Release:
    """What a release will look like; folders are below its root."""

    format: str
    slug: str
    measured: Mapping[str, Json] = field(default_factory=dict)
    """Metrics by name of a dictionary, from its evaluation."""

    def folder(self, entry: Entry) -> str:
        if self.format not in ("gemma-scope", "gemma-scope-2"):
            return f"saes/{entry.name}"
        kind, layer = site_of_release(entry)
        l0 = self.average_l0(entry)
        if layer is None:
            place = Place(site=entry.site, site_out=entry.site_out if entry.transcodes else "")
            other = f"{self.slug}-other" if self.format == "gemma-scope" else "other"
            return f"{other}/{place.folder}/width_{width_name(entry.width)}/average_l0_{l0:.0f}"
        if self.format == "gemma-scope":
            inner = release_folder(layer=layer, num_latents=entry.width, average_l0=l0)
            return f"{self.slug}-{kind}/{inner}"
        inner = f"layer_{layer}_width_{width_name(entry.width)}_l0_{l0:.0f}"
        return f"{SECOND_NAMES[kind]}/{inner}"

    def average_l0(self, entry: Entry) -> float:
        """Return the L0 that was measured, by the evaluation if there is one."""
        for found in (self.measured.get(entry.name, {}), entry.metrics):
            if isinstance(found.get("l0"), int | float):
                return float(found["l0"])
        return entry.target_l0


def site_of_release(entry: Entry) -> tuple[str, int | None]:
    """Return which kind of site a dictionary is of, and its layer: ("res", 3).

    The layer is None for sites that the release layout has no name for: those outside of a
    list of blocks, and other places in a block. Known by the site's words, since a suite may
    be published without its model.
    """
    layer, rest = _layer(entry.site)
    if layer is None:
        return "other", None
    if entry.transcodes:
        to, inner = _layer(entry.site_out)
        is_feed_forward = to == layer and _kind_in_block(inner, "out") == "mlp"
        return ("transcoders", layer) if is_feed_forward else ("other", None)
    kind = _kind_in_block(rest, parse_site(entry.site).side)
    return (kind, layer) if kind else ("other", None)


def _layer(site: str) -> tuple[int | None, str]:
    """Return the number of the block a site lies in, and the module below the block."""
    parsed = parse_site(site)
    words = parsed.module.split(".")
    numbers = [i for i, word in enumerate(words) if word.isdigit() and words[i - 1] in BLOCKS]
    if not numbers or numbers[0] == 0 or parsed.axes != (-1,):
        return None, ""
    return int(words[numbers[0]]), ".".join(words[numbers[0] + 1 :])


def _kind_in_block(module: str, side: str) -> str:
    if not module:
        return "res" if side == "out" else ""
    if side == "in":
        is_projection = re.fullmatch(
            r"\w*(attn|attention)\w*\.(\w*out\w*|o_proj|c_proj|wo|dense)", module
        )
        return "att" if is_projection else ""
    feed_forward = r"(mlp|feed_?forward|ffn|fc2|linear2|\w*post_(mlp|feedforward)\w*|mlp_post\w*)"
    return "mlp" if re.fullmatch(feed_forward, module) else ""


def publish(
    suite: SavedSuite | str | Path,
    out: str | Path,
    *,
    card: Card | None = None,
    format: str = "gemma-scope",
    overwrite: bool = False,
) -> Path:
    """Write a whole suite as a release into the folder `out`, with manifest and card.

    All or nothing: the folder appears once everything is written. Sites without a layer get a
    folder of their own, and folders that would be called alike (seeds, equal rounded L0) a
    number behind their names; the card says both. No path of this machine goes along.

    Args:
        suite: it, its folder, or the run that has it.
        out: a new folder.
        card: what the suite does not know of itself, such as its licence.
        format: a name of `tenfold.parts.sae.formats.FORMATS`.
        overwrite: replace an earlier release that is there.

    Raises:
        TenfoldError: if the format does not hold one of the dictionaries, or something else is
            in the way.
    """
    suite = suite if isinstance(suite, SavedSuite) else open_suite(suite)
    if format not in FORMATS:
        raise unknown_name("dictionary format", format, FORMATS)
    out = Path(out)
    evaluation = find_evaluation(suite.path)
    measured = (evaluation or {}).get("entries", {})
    release = _Release(format=format, slug=_slug(suite.manifest.model), measured=measured)
    folders, renamed = _folders(suite, release)

    def write(root: Path) -> None:
        entries = tuple(
            _write_entry(suite, entry, root, folders[entry.name], release)
            for entry in suite.entries
        )
        manifest = replace(suite.manifest, entries=entries, subject=_scrubbed(suite.manifest))
        others = {folders[e.name]: _told(e) for e in entries if site_of_release(e)[1] is None}
        text = write_card(
            manifest,
            card or Card(),
            evaluation=evaluation,
            renamed=renamed,
            format=format,
            folders=others if format.startswith("gemma-scope") else None,
        )
        _finish(root, manifest, text, evaluation, format=format)

    _in_one_piece(out, write, overwrite=overwrite)
    return out


def _slug(model: str) -> str:
    return re.sub(r"[^\w.-]+", "-", model.rpartition("/")[2]).strip("-.") or "model"


def _told(entry: Entry) -> str:
    return f"{entry.site} -> {entry.site_out}" if entry.transcodes else entry.site


def _folders(suite: SavedSuite, release: _Release) -> tuple[dict[str, str], list[str]]:
    """Return each dictionary's folder, and sentences about those that had to be renamed."""
    taken: dict[str, str] = {}
    renamed = []
    for entry in suite.entries:
        wanted = release.folder(entry)
        folder, number = wanted, 1
        while folder in taken:
            number += 1
            folder = f"{wanted}_{number}"
        if number > 1:
            renamed.append(
                f"`{folder}` is {entry.name} (seed {entry.seed}, target L0 {entry.target_l0:g}): "
                f"`{wanted}` is {taken[wanted]}"
            )
        taken[folder] = entry.name
    return {name: folder for folder, name in taken.items()}, renamed


def _write_entry(
    suite: SavedSuite, entry: Entry, root: Path, folder: str, release: _Release
) -> Entry:
    arrays = suite.read(entry)
    site, site_out = entry.site, entry.site_out
    if release.format == "gemma-scope-2":
        site, site_out = _hook_point(site), _hook_point(site_out)
    facts: Json = {"model": suite.manifest.model, "site": site}
    facts |= {"average_l0": release.average_l0(entry)}
    if entry.transcodes:
        facts |= {"site_out": site_out, "transcoder": True}
    written = replace(arrays, values=arrays.values | facts)
    file = write_arrays(root / folder, written, format=release.format)
    kind = arrays.kind
    if release.format.startswith("gemma-scope"):
        kind = "jumprelu"
    return replace(entry, path=folder, sha256=files.sha256(file), kind=kind)


def _hook_point(site: str) -> str:
    """Return a site as Gemma Scope 2 names it, such as `model.layers.3.output`."""
    parsed = parse_site(site)
    if not parsed.module or parsed.entry or parsed.axes != (-1,):
        return site
    return f"{parsed.module}.{'input' if parsed.side == 'in' else 'output'}"


def _scrubbed(manifest: Manifest) -> Json:
    """Return the subject's config without paths of this machine."""

    def scrubbed(name: str, value: object) -> object:
        if name not in ("source", "text") or not isinstance(value, str) or not value:
            return value
        if name == "source" and hub.is_repository(value):
            return value
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]

    return {name: scrubbed(name, value) for name, value in manifest.subject.items()}


def _finish(
    root: Path, manifest: Manifest, card: str, evaluation: Json | None, *, format: str
) -> None:
    facts = {
        "library_name": "tenfold",
        "version": origin.version(),
        "room": "scope",
        "schema": 1,
        "format": format,
        "model": manifest.model,
        "dictionaries": len(manifest.entries),
    }
    files.write_json(root / CONFIG, facts)
    files.write_text(root / README, card)
    if evaluation is not None:
        files.write_json(root / EVALUATION, evaluation)
    write_manifest(root, manifest)


def find_evaluation(suite: Path) -> Json | None:
    """Return the evaluation of the suite in this folder, None if there is none."""
    for path in (suite / EVALUATION, suite.parent / "evaluation" / EVALUATION):
        if path.is_file():
            found: Json = files.read_json(path)
            return found
    return None


def _in_one_piece(out: Path, write: Callable[[Path], None], *, overwrite: bool) -> None:
    """Let `write` fill a folder beside `out`, and put it in its place."""
    in_the_way = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if in_the_way and not overwrite:
        raise TenfoldError(f"{out} is not empty; choose another folder or say --overwrite")
    if in_the_way and not _is_release(out):
        raise TenfoldError(
            f"{out} was not written by tenfold: it has no {CONFIG} of it; it is not overwritten, "
            "choose another folder"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=files.TEMPORARY) as temporary:
        made = Path(temporary) / "release"
        made.mkdir()
        write(made)
        if out.exists():
            shutil.move(out, Path(temporary) / "before")
        made.replace(out)


def _is_release(folder: Path) -> bool:
    path = folder / CONFIG
    if not folder.is_dir() or not path.is_file():
        return False
    found = files.read_json(path)
    return isinstance(found, dict) and found.get("library_name") == "tenfold"


def fetch_suite(
    name: str | Path, *, revision: str | None = None, token: str | None = None
) -> SavedSuite:
    """Open the suite in a folder, a run, or a repository of the Hugging Face hub.

    Raises:
        TenfoldError: if there is none.
    """
    return open_suite(hub.find_folder(name, revision=revision, token=token))


def push_suite(
    suite: SavedSuite,
    repository: str,
    *,
    card: Card | None = None,
    private: bool = True,
    token: str | None = None,
) -> str:
    """Push a suite in tenfold's own format, or a release as it is; return its address.

    Raises:
        TenfoldError: as `hub.push_folder`.
    """
    if _is_release(suite.path):
        return hub.push_folder(suite.path, repository, private=private, token=token)
    with tempfile.TemporaryDirectory() as folder:
        saved = publish(suite, Path(folder) / "suite", card=card, format="tenfold")
        return hub.push_folder(saved, repository, private=private, token=token)


def save_dictionary(
    dictionary: Dictionary,
    folder: str | Path,
    *,
    values: Json | None = None,
    card: Card | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one dictionary with a card, ready for `hub.push_folder`; return the folder.

    Args:
        dictionary: one, not a stack.
        folder: a new folder.
        values: facts to keep beside it, such as `model` and `site`.
        card: for its README.md.
        overwrite: replace one that is there.
    """
    folder, facts = Path(folder), dict(values or {})

    def write(root: Path) -> None:
        file = save(dictionary, root, values=facts)
        entry = Entry(
            name=str(facts.get("site", "dictionary")),
            site=str(facts.get("site", "unknown")),
            site_out=str(facts.get("site_out", "")),
            kind=dictionary.kind,
            width=dictionary.width,
            input_width=dictionary.input_width,
            output_width=dictionary.output_width,
            target_l0=float(facts.get("target_l0", 0)),
            seed=int(facts.get("seed", 0)),
            rows=int(facts.get("rows", 0)),
            scale=dictionary.scale,
            schedule=str(facts.get("schedule", "not stated")),
            path=".",
            sha256=files.sha256(file),
        )
        model = str(facts.get("model", "unknown model"))
        manifest = Manifest(subject={}, model=model, identity={}, entries=(entry,))
        text = write_card(manifest, card or Card())
        _finish(root, manifest, text, None, format="tenfold")

    _in_one_piece(folder, write, overwrite=overwrite)
    return folder


def fetch_dictionary(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    device: str = "cpu",
) -> Dictionary:
    """Load one dictionary from a folder of any known format, or a repository of the hub.

    Raises:
        TenfoldError: if there is none.
    """
    return load(hub.find_folder(name, revision=revision, token=token), device=device)
