"""A suite on disk: many dictionaries under one manifest, in a folder that can be moved.

    manifest.json               what is there, with hashes
    saes/<site>/<name>/         one dictionary each, in tenfold's format, folded

Sites are folders by `parts.sae.harvest.folder_name`; a dictionary is called by width, target
and seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name

if TYPE_CHECKING:
    from tenfold.parts.sae.formats import Arrays
    from tenfold.rooms.jumprelu.model import Dictionary
    from tenfold.rooms.scope.card import Card

MANIFEST = "manifest.json"
FILE = "dictionary.safetensors"
FOLDER = "suite"
"""Where a run keeps its suite, below `out/`."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dictionary of a suite."""

    name: str
    """Unique in the suite, a relative folder: `blocks.0/w1024_l0_16_s0`."""
    site: str
    """Where its inputs are read."""
    site_out: str = ""
    """Where its outputs belong, for transcoders; empty: at `site`."""
    kind: str
    width: int
    """Latents M."""
    input_width: int
    output_width: int
    target_l0: float
    seed: int
    rows: int
    """Rows it was trained on."""
    scale: float
    """C, by which inputs were divided in training; already folded into the file."""
    schedule: str
    path: str
    """Folder of the dictionary, relative to the manifest."""
    sha256: str
    """Of the file that holds its arrays."""
    metrics: Json = field(default_factory=dict)
    """L0, FVU and firing frequencies on held-out rows of the harvest."""

    @property
    def transcodes(self) -> bool:
        """Whether it maps one site to another."""
        return bool(self.site_out) and self.site_out != self.site


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `manifest.json` says."""

    subject: Json
    """The subject's config, encoded."""
    model: str
    """Name of the model."""
    identity: Json
    """What fixes the model's activations."""
    entries: tuple[Entry, ...]
    licence: str = ""
    schema: int = 1


class SavedSuite:
    """A suite that was read; made by `open_suite`."""

    def __init__(self, *, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All dictionaries, in the manifest's order."""
        return self.manifest.entries

    @property
    def sites(self) -> tuple[str, ...]:
        """The input sites, each once, in order."""
        return tuple(dict.fromkeys(entry.site for entry in self.entries))

    def entry(self, name: str) -> Entry:
        """Return the entry called `name`.

        Raises:
            TenfoldError: with the nearest names, if there is none.
        """
        known = {entry.name: entry for entry in self.entries}
        if name not in known:
            raise unknown_name("dictionary of the suite", name, known)
        return known[name]

    def select(self, *, site: str = "", width: int = 0, target_l0: float = 0.0) -> list[Entry]:
        """Return the entries that fit everything that is given."""
        return [
            entry
            for entry in self.entries
            if site in ("", entry.site)
            and width in (0, entry.width)
            and target_l0 in (0.0, entry.target_l0)
        ]

    def load(self, entry: Entry | str, *, device: str = "cpu", verify: bool = False) -> Dictionary:
        """Load one dictionary, folded: raw activations in, raw reconstructions out.

        Args:
            entry: it, or its name.
            device: where it goes.
            verify: compare its file with the manifest's sha256.

        Raises:
            TenfoldError: if it is not there, or its file is not the one of the manifest.
        """
        from tenfold.rooms.jumprelu.files import from_arrays

        return from_arrays(self.read(entry, verify=verify)).to(device)

    def read(self, entry: Entry | str, *, verify: bool = False) -> Arrays:
        """Read one dictionary's arrays, in whichever format they are.

        Raises:
            TenfoldError: as `load`.
        """
        from tenfold.parts.sae.formats import FORMATS, read_arrays

        found = self.entry(entry) if isinstance(entry, str) else entry
        folder = self.path / found.path
        # A manifest may come from anybody, and names files of its own folder only.
        if not folder.resolve().is_relative_to(self.path.resolve()):
            raise TenfoldError(f"{self.path / MANIFEST} names {found.path!r}, outside its folder")
        present = [folder / each.marker for each in FORMATS.values()]
        file = next((path for path in present if path.is_file()), folder / FILE)
        if verify and files.sha256(file) != found.sha256:
            raise TenfoldError(
                f"{file} does not have the sha256 of {self.path / MANIFEST}; fetch it anew"
            )
        arrays = read_arrays(file)
        if found.transcodes and not arrays.transcoder:
            return replace(arrays, values=arrays.values | {"transcoder": True})
        return arrays

    def save_pretrained(
        self, folder: str | Path, *, card: Card | None = None, overwrite: bool = False
    ) -> Path:
        """Write the suite with a card into a new folder, in tenfold's own format.

        Raises:
            TenfoldError: if something is in the way.
        """
        from tenfold.rooms.scope.publish import publish

        return publish(self, folder, card=card, format="tenfold", overwrite=overwrite)

    @staticmethod
    def from_pretrained(
        folder: str | Path, *, revision: str | None = None, token: str | None = None
    ) -> SavedSuite:
        """Open a suite from a folder, or from owner/name on the Hugging Face hub.

        Args:
            folder: where it is; a name fetches it, its size is told before.
            revision: branch, tag or commit of the repository.
            token: for private repositories; None takes the environment's or the usual file's.

        Raises:
            TenfoldError: if there is none, or the extra `hub` is missing.
        """
        from tenfold.rooms.scope.publish import fetch_suite

        return fetch_suite(folder, revision=revision, token=token)

    def push_to_hub(
        self, repository: str, *, card: Card | None = None, private: bool = True
    ) -> str:
        """Push the suite to owner/name on the Hugging Face hub; return its address.

        Raises:
            TenfoldError: if the extra `hub` is missing or the hub refuses.
        """
        from tenfold.rooms.scope.publish import push_suite

        return push_suite(self, repository, card=card, private=private)

    def dictionaries(self, *, device: str = "cpu") -> Iterator[tuple[Entry, Dictionary]]:
        """Load one dictionary after the other."""
        for entry in self.entries:
            yield entry, self.load(entry, device=device)


def open_suite(path: str | Path) -> SavedSuite:
    """Open the suite at `path`: a folder with a manifest, or a run that has one.

    Raises:
        TenfoldError: if there is no manifest, or it is damaged.
    """
    path = Path(path)
    for folder in (path, path / "out" / FOLDER):
        if (folder / MANIFEST).is_file():
            return SavedSuite(path=folder, manifest=_read_manifest(folder / MANIFEST))
    raise TenfoldError(
        f"no suite at {path}: it has no {MANIFEST}; give a run of `scope suite` that has trained, "
        "or the folder of a suite"
    )


def _read_manifest(path: Path) -> Manifest:
    # Not config.decode: an entry has a `kind`, a name that codec keeps for classes.
    read = files.read_json(path)
    try:
        entries = tuple(Entry(**entry) for entry in read.pop("entries"))
        return Manifest(**read, entries=entries)
    except (TypeError, KeyError, AttributeError) as error:
        raise TenfoldError(
            f"{path} is no manifest of a suite ({type(error).__name__}: {error}); fetch it anew"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write `manifest.json` into the folder of a suite."""
    files.write_json(folder / MANIFEST, asdict(manifest))
    return folder / MANIFEST
