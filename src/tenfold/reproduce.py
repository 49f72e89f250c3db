"""`tenfold reproduce`: every room's headline claim, one after the other, on one page.

Each claim is a run of its own at `<folder>/<room>/`, made by a process of its own, so that a
crash costs that room's row only. A finished claim is kept as long as the config and the
commit that made it are those of today; an unfinished one goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from markupsafe import Markup

from tenfold.arguments import parse
from tenfold.engine.claim import ClaimResult, Failure, from_json, index_page
from tenfold.engine.config import Json, binding_changes
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, runs_root
from tenfold.engine.origin import source_commit
from tenfold.engine.progress import say
from tenfold.engine.report.page import Page, Section, write_page
from tenfold.engine.run import read_record, saved_config
from tenfold.engine.tasks import run_command
from tenfold.engine.verbs import Plain, Stopped, Verb, read_config
from tenfold.registry import find_verb, list_rooms

RoomNames = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[ROOM...]")]
_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduce:
    """Which claims are checked, at which size, and where."""

    rooms: RoomNames = ()
    """Rooms to check; none named: all."""
    scale: str = "quick"
    """Size of each claim's set of runs: quick, laptop, full or gpu, as a room offers."""
    out: str = ""
    """Folder of the page; empty: <runs>/reproduce/<scale>."""
    fresh: tyro.conf.FlagCreatePairsOff[bool] = False
    """Run the claims again that are already finished; what they gave is set aside."""


def reproduce_claims(config: Reproduce, call: Plain) -> Json:
    """Run the claims that are not finished, and write the page after each of them.

    Raises:
        Stopped: if a claim was stopped; naming the command that goes on.
    """
    folder = _folder(config, call)
    wanted = _claim_configs(config.rooms or tuple(list_rooms()), scale=config.scale)
    codes: dict[str, int] = {}
    try:
        for room, claim in wanted.items():
            codes[room] = _check(room, folder / room, claim, config=config, call=call)
            write_page(folder / "index.html", _page(folder, codes))
    except KeyboardInterrupt:
        raise Stopped("what is done is kept", go_on=_command(config, call)) from None
    rows = _rows(folder, codes)
    return {"claims": [_summary(row, folder) for row in rows], "page": str(folder / "index.html")}


def _check(room: str, path: Path, claim: Any, *, config: Reproduce, call: Plain) -> int:
    """Run the claim of one room if need be, and return its exit code."""
    if _is_kept(room, path, claim, fresh=config.fresh):
        return 0
    code = _run_claim(room, path, scale=config.scale, quiet=call.quiet)
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    return code


def all_succeeded(result: Json) -> bool:
    """Say whether every room gave a verdict, whichever it is."""
    return all(row["verdict"] != "failed" for row in result["claims"])


def _folder(config: Reproduce, call: Plain) -> Path:
    if config.out:
        return Path(config.out)
    return runs_root(call.runs) / "reproduce" / config.scale


def _claim_configs(rooms: tuple[str, ...], *, scale: str) -> dict[str, Any]:
    """Build each room's claim config, so that a wrong name is told before anything runs."""
    return {
        room: parse(find_verb(room, "claim"), ["--scale", scale], words=f"{room} claim").config
        for room in rooms
    }


def _is_kept(room: str, path: Path, claim: Any, *, fresh: bool) -> bool:
    """Decide whether a finished claim at `path` stands; set aside one that is outdated."""
    if not (path / "config.json").exists():
        return False
    reason = "--fresh" if fresh else _outdated(find_verb(room, "claim"), path, claim)
    if reason:
        say(f"{room}: {reason}; the earlier claim is set aside as {_set_aside(path)}")
        return False
    if _is_finished(path):
        say(f"{room}: finished before with this config and commit; kept (--fresh runs it again)")
        return True
    say(f"{room}: goes on where it stopped")
    return False


def _outdated(verb: Verb, path: Path, claim: Any) -> str:
    """Say in which way a saved claim is not what would be run today; empty if it is."""
    made_by, today = saved_config(path).get("commit", ""), source_commit()
    if made_by != today:
        return f"made by commit {made_by or 'unknown'}, this is {today or 'unknown'}"
    try:
        changes = binding_changes(read_config(verb, path), claim)
    except TenfoldError as error:
        return str(error)
    return f"config changed ({'; '.join(map(str, changes))})" if changes else ""


def _set_aside(path: Path) -> Path:
    """Rename an earlier claim to the first free name; nothing is lost."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return path.rename(aside)


def _is_finished(path: Path) -> bool:
    return read_record(path).state == "done" and _result_file(path).exists()


def _result_file(path: Path) -> Path:
    return path / "out" / "claim.json"


def _run_claim(room: str, path: Path, *, scale: str, quiet: bool) -> int:
    """Run one claim in a process of its own and return its exit code."""
    args = [sys.executable, "-m", "tenfold", room, "claim", "--scale", scale, "--path", str(path)]
    with _results_as_talk():
        return run_command([*args, "--quiet"] if quiet else args)


@contextlib.contextmanager
def _results_as_talk() -> Iterator[None]:
    """Send what child processes print to stderr: stdout is for the result of this command."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _command(config: Reproduce, call: Plain) -> str:
    """Spell the command that goes on with what was asked for."""
    options = {"--scale": config.scale, "--out": config.out, "--runs": call.runs}
    words = [word for option in options.items() if option[1] for word in option]
    return shlex.join(["tenfold", "reproduce", *config.rooms, *words])


def _page(folder: Path, codes: Mapping[str, int]) -> Page:
    """Build the index page, with a link to the report of every room that wrote one."""
    page = index_page(_rows(folder, codes))
    linked = (_with_report(section, folder) for section in page.sections)
    return dataclasses.replace(page, sections=tuple(linked))


def _with_report(section: Section, folder: Path) -> Section:
    address = f"{section.title}/report.html"  # a room's section has the room's name
    if not (folder / address).exists():
        return section
    link = Markup('<a href="{0}">{0}</a>').format(address)
    return dataclasses.replace(section, facts=(*section.facts, ("Report", link)))


def _rows(folder: Path, codes: Mapping[str, int]) -> list[ClaimResult | Failure]:
    """Return a row for each room that ran now or is finished on disk, in the rooms' order."""
    return [
        _row(room, folder / room, code=codes.get(room, 0))
        for room in list_rooms()
        if room in codes or _result_file(folder / room).exists()
    ]


def _row(room: str, path: Path, *, code: int) -> ClaimResult | Failure:
    if code:
        return Failure(room=room, error=_error_of(path, code))
    try:
        return from_json(read_json(_result_file(path)))
    except TenfoldError as error:
        return Failure(room=room, error=f"{error} (--fresh runs it again)")


def _error_of(path: Path, code: int) -> str:
    told = read_record(path).reason if (path / "status.json").exists() else ""
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{told} ({how})" if told else f"{how}, before a run was made"


def _summary(row: ClaimResult | Failure, folder: Path) -> Json:
    if isinstance(row, Failure):
        return {"room": row.room, "verdict": "failed", "error": row.error}
    room = row.statement.room
    report = str(folder / room / "report.html")
    return {"room": room, "verdict": row.verdict, "seconds": row.seconds, "report": report}


VERBS = {
    "reproduce": Verb(
        config=Reproduce,
        run=reproduce_claims,
        help="Check the headline claim of each named room, or of all, on one page.",
        call=Plain,
        succeeded=all_succeeded,
    )
}
