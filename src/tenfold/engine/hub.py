"""Folders on the Hugging Face hub: fetched on request, with their size told, and pushed.

A local folder needs nothing of this. Remote names need the extra `hub`. Tokens come from the
caller, the environment or the usual file of huggingface_hub, and are never written anywhere.
No code of a repository is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tenfold.engine.errors import TenfoldError, require
from tenfold.engine.progress import say

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
CODE = ("*.py", "*.pyc", "*.so")
"""Files that are never fetched."""


def is_repository(name: str) -> bool:
    """Say whether `name` has the form owner/name and is no path here.

    >>> is_repository("google/gemma-2-2b"), is_repository("./gemma")
    (True, False)
    """
    return bool(REPOSITORY.fullmatch(name)) and not Path(name).exists()


def find_folder(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    patterns: Sequence[str] | None = None,
    download: bool = True,
) -> Path:
    """Return a local folder, or that of a repository, fetched if it is not in the cache.

    Args:
        name: a folder, or owner/name.
        revision: branch, tag or commit; a commit is what makes a result repeatable.
        token: for private repositories; None takes the environment's or the usual file's.
        patterns: which files to fetch, such as "layer_3/*"; None is all.
        download: False only looks in the cache.

    Raises:
        TenfoldError: if there is no such folder or repository, it may not be fetched, or the
            extra is missing.
    """
    if Path(name).is_dir():
        return Path(name)
    if not is_repository(str(name)):
        raise TenfoldError(f"{name} is no folder; give one, or a repository as owner/name")
    hub = require("huggingface_hub", extra="hub", purpose=f"{name} on the Hugging Face hub")
    wanted: dict[str, Any] = {
        "revision": revision,
        "token": token,
        "allow_patterns": list(patterns) if patterns else None,
        "ignore_patterns": list(CODE),
    }
    if not download:
        return _cached(hub, str(name), wanted)
    with_revision = f"{name} at {revision}" if revision else str(name)
    try:
        info = hub.HfApi().model_info(
            str(name), revision=revision, token=token, files_metadata=True
        )
        sizes = _sizes(info, patterns)
        say(f"fetching {with_revision}: {len(sizes)} files, {sum(sizes) / 1e9:.3g} GB")
        return Path(hub.snapshot_download(str(name), **wanted))
    except _refusals(hub) as error:
        raise TenfoldError(f"{with_revision} could not be fetched: {_first_line(error)}") from error


def _cached(hub: Any, name: str, wanted: dict[str, Any]) -> Path:
    try:
        return Path(hub.snapshot_download(name, local_files_only=True, **wanted))
    except (OSError, ValueError) as error:
        raise TenfoldError(
            f"{name} is not on this machine and nothing is downloaded unasked; allow it, as "
            "--subject.download does, or give a folder"
        ) from error


def _sizes(info: Any, patterns: Sequence[str] | None) -> list[int]:
    return [
        entry.size or 0
        for entry in info.siblings
        if not any(fnmatch(entry.rfilename, code) for code in CODE)
        and (not patterns or any(fnmatch(entry.rfilename, wanted) for wanted in patterns))
    ]


def push_folder(
    folder: Path,
    repository: str,
    *,
    private: bool = True,
    token: str | None = None,
    message: str = "Upload by tenfold",
) -> str:
    """Put the files of a folder into a repository, made if it is not there; return its address.

    Args:
        folder: with a README.md that has a head, as a card.
        repository: owner/name.
        private: whether a new repository is private.
        token: None takes the environment's or the usual file's.
        message: of the commit.

    Raises:
        TenfoldError: if there is no card, the name is no owner/name, the extra is missing or
            the hub refuses.
    """
    if not REPOSITORY.fullmatch(repository):
        raise TenfoldError(f"repository {repository!r} is not of the form owner/name; write it so")
    if not (folder / "README.md").is_file():
        raise TenfoldError(f"{folder} has no README.md; save it with save_pretrained first")
    hub = require("huggingface_hub", extra="hub", purpose=f"pushing to {repository}")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    say(f"pushing {size / 1e9:.3g} GB to {repository}")
    api = hub.HfApi(token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            commit_message=message,
            ignore_patterns=[".*", "**/.*"],
        )
    except _refusals(hub) as error:
        raise TenfoldError(f"{repository} was not pushed: {_first_line(error)}") from error
    return str(commit)


def _refusals(hub: Any) -> tuple[type[Exception], ...]:
    # Since huggingface_hub 1 a dead line is an error of httpx, which is no OSError.
    return (OSError, ValueError, getattr(hub.errors, "HTTPError", OSError))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
