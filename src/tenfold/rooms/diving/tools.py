"""What is done with files of instances and networks: describe, generate, solve, hand on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_bytes, write_text
from tenfold.engine.progress import Progress
from tenfold.engine.run import Run
from tenfold.parts.mip import families, instances, points, scip
from tenfold.parts.mip.generate import unit_days
from tenfold.parts.mip.instance import Kind, Mip
from tenfold.rooms.diving import config
from tenfold.rooms.diving.branch.policy import load_policy, save_policy
from tenfold.rooms.diving.course import Answer
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.network import load_network, save_network
from tenfold.rooms.diving.run import NETWORK, POLICY, load_any
from tenfold.rooms.diving.solving import Tools, solve

if TYPE_CHECKING:
    from tenfold.rooms.diving.cli import Export, Gen, Import, Info


# Instances


def describe(cfg: Info, *, quiet: bool = False) -> Json:
    """Tell what a folder or file of instances holds, before and after presolve."""
    path = Path(cfg.path)
    if path.is_file():
        mip = instances.read(path)
        return {mip.name: _facts(mip, seconds=cfg.seconds)}
    found = instances.folder(path)
    rows = {}
    with Progress("instances presolved", len(found.files), quiet=quiet) as progress:
        for file in found.files:
            rows[str(file.relative_to(path))] = _facts(instances.read(file), seconds=cfg.seconds)
            progress.update(len(rows))
    told: Json = {"instances": rows, "count": len(rows)}
    if found.copies:
        told["copies"] = {str(file): f"of {other}" for file, other in found.copies.items()}
    if found.faults:
        told["unreadable"] = {str(file): why for file, why in found.faults.items()}
    return told


def _facts(mip: Mip, *, seconds: float) -> Json:
    told: Json = dict(mip.counts())
    left = scip.presolve(mip, seconds=seconds)
    if left.mip is None:
        told["after_presolve"] = f"{left.status}, nothing is left"
    else:
        counts = left.mip.counts()
        told["after_presolve"] = (
            f"{counts['rows']} rows, {counts['columns']} columns, {counts['binary']} binary, "
            f"{counts['integer']} integer"
        )
    free = mip.whole & ~(np.isfinite(mip.lower) & np.isfinite(mip.upper))
    if free.any():
        told["unbounded_integers"] = f"{int(free.sum())}, which are never predicted"
    if not mip.whole.any():
        told["note"] = "no column is whole: this is an LP"
    if (mip.kinds == Kind.IMPLIED).any():
        told["implied"] = int((mip.kinds == Kind.IMPLIED).sum())
    return told


def generate(cfg: Gen, *, quiet: bool = False) -> Json:
    """Write instances of a family into a folder."""
    numbers = dict(_number(word) for word in cfg.numbers)
    out = Path(cfg.out)
    if Path(cfg.family).is_dir() or cfg.family.endswith((".json", ".json.gz")):
        return _generate_days(cfg, numbers, quiet=quiet)
    family = families.find_family(cfg.family)
    written = []
    with Progress(f"instances of {family.name}", cfg.count, quiet=quiet) as progress:
        for seed in range(cfg.seed, cfg.seed + cfg.count):
            name = family.instance_name(seed, cfg.size, **numbers)
            file = out / f"{name}.{cfg.format}"
            if not file.exists():
                instances.write(family.make(seed, cfg.size, **numbers), file)
            written.append(file.name)
            progress.update(len(written))
    return {"folder": str(out), "instances": len(written), "first": written[0]}


def _generate_days(cfg: Gen, numbers: Mapping[str, families.Number], *, quiet: bool) -> Json:
    """Write real days of unit commitment: each once as it is, then varied."""
    days = unit_days.days_in(Path(cfg.family))
    if set(numbers) - {"hours"}:
        raise TenfoldError(f"days have the number hours only, not {', '.join(sorted(numbers))}")
    hours = int(numbers.get("hours", 0))
    written = []
    with Progress("days", cfg.count, quiet=quiet) as progress:
        for k in range(cfg.count):
            day, variation = days[k % len(days)], cfg.seed + k // len(days)
            name = f"{day.name.split('.')[0]}-{hours or 'all'}h-{variation}"
            file = Path(cfg.out) / f"{name}.{cfg.format}"
            if not file.exists():
                instances.write(unit_days.make_day(day, variation=variation, hours=hours), file)
            written.append(file.name)
            progress.update(len(written))
    return {"folder": cfg.out, "instances": len(written), "first": written[0]}


_NUMBER = re.compile(r"(?P<name>\w+)=(?P<value>.+)")


def _number(word: str) -> tuple[str, families.Number]:
    match = _NUMBER.fullmatch(word)
    if not match:
        raise TenfoldError(f"{word!r} is no number of a family; write it as units=50")
    text = match["value"]
    for kind in (int, float):
        try:
            return match["name"], kind(text)
        except ValueError:
            continue
    return match["name"], text


# Solving


def solve_file(cfg: config.Solve, *, run: Run, tools: Tools) -> Json:
    """Solve an instance in a run of its own, and write point, trace and page.

    Ctrl-C ends the search; what was found until then is kept and written.

    Args:
        cfg: what to solve, and how.
        run: where the answer goes.
        tools: that `cfg` names, from `tools_of`.
    """
    from tenfold.rooms.diving.report import write_report

    with run:
        mip_path = Path(cfg.file)
        start = None
        if cfg.start:
            start = points.read_point(instances.read(mip_path), Path(cfg.start))
        with Progress("seconds", math.ceil(cfg.time), quiet=run.options.quiet) as progress:

            def heard(point: object) -> None:
                progress.update(min(int(point.seconds), math.ceil(cfg.time)))  # type: ignore[attr-defined]
                progress.note(f"{point.seconds:8.2f} s  {point.objective:.10g}")  # type: ignore[attr-defined]
                if run.stopping:
                    raise StopIteration

            answer = solve(
                mip_path,
                tools=tools,
                how=cfg.with_,
                seconds=cfg.time,
                nodes=cfg.nodes,
                megabytes=cfg.memory,
                start=start,
                settings=read_settings(Path(cfg.settings)) if cfg.settings else None,
                seed=cfg.seed,
                on_point=heard,
                stopping=lambda: run.stopping,
            )
        told = _tell(answer, mip_path)
        run.write_json("answer.json", told)
        mip = instances.read(mip_path)
        if answer.x is not None:
            points.write_point(mip, answer.x, run.out / "best.sol")
            if cfg.sol:
                points.write_point(mip, answer.x, Path(cfg.sol))
        if cfg.log:
            _write_trace(answer, Path(cfg.log))
    write_report(run.path)
    shown = {key: told[key] for key in ("instance", "status", "objective", "bound", "seconds")}
    shown |= {"certificate": told["certificate"], "notes": told["notes"]}
    if answer.x is not None and cfg.sol:
        shown["sol"] = cfg.sol
    return shown | {"run": str(run.path)}


def tools_of(cfg: config.Solve, *, hooks: Hooks | None = None) -> Tools:
    """Load the networks that a solve is given, and put the user's hooks beside them.

    Raises:
        TenfoldError: if a network or the instance's file is not there.
    """
    if not Path(cfg.file).is_file():
        raise TenfoldError(f"{cfg.file} is no file; check the path")
    return Tools(
        dive=load_any(Path(cfg.model), "dive") if cfg.model else None,
        branch=load_any(Path(cfg.policy), "branch") if cfg.policy else None,
        hooks=hooks,
        diving=cfg.diving,
        branching=cfg.branching,
    )


def read_settings(path: Path) -> dict[str, object]:
    """Read SCIP's parameters from a .set file: lines NAME = VALUE, # begins a comment.

    Raises:
        TenfoldError: naming the line that is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TenfoldError(f"{path} cannot be read ({error}); check the path") from None
    settings: dict[str, object] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not value:
            raise TenfoldError(f"{path} line {number}: {line!r} should be NAME = VALUE; mend it")
        settings[name] = _setting(value)
    return settings


def _setting(text: str) -> object:
    if text.upper() in ("TRUE", "FALSE"):
        return text.upper() == "TRUE"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip('"')


def _tell(answer: Answer, path: Path) -> Json:
    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "instance": path.name,
        "status": answer.status,
        "objective": plain(answer.objective),
        "bound": plain(answer.bound),
        "seconds": round(answer.seconds, 3),
        "certificate": answer.certificate.line() if answer.certificate else "",
        "feasible": bool(answer.certificate and answer.certificate.feasible),
        "notes": list(answer.notes),
        "trace": [[s.seconds, plain(s.primal), plain(s.dual)] for s in answer.trace],
    }


def _write_trace(answer: Answer, path: Path) -> None:
    lines = [
        json.dumps(
            {
                "seconds": round(step.seconds, 4),
                "primal": step.primal if math.isfinite(step.primal) else None,
                "dual": step.dual if math.isfinite(step.dual) else None,
            }
        )
        for step in answer.trace
    ]
    write_text(path, "\n".join(lines) + "\n")


# Networks


def export(cfg: Export) -> Json:
    """Write the network of a run as one file that holds all that it needs."""
    run, out = Path(cfg.run), Path(cfg.out)
    if out.suffix != ".safetensors":
        raise TenfoldError(f"{out.name} must end in .safetensors; rename it")
    if out.exists() and not cfg.overwrite:
        raise TenfoldError(f"{out} exists; give --overwrite, or another name")
    kind = kind_of(run)
    if kind == "dive":
        save_network(load_network(run), out)
    else:
        save_policy(load_policy(run / "out" / POLICY if run.is_dir() else run), out)
    return {"out": str(out), "kind": kind, "bytes": out.stat().st_size}


def import_(cfg: Import, *, run: Run) -> Json:
    """Make a run of a network's file, so that it is found by name like one trained here."""
    source = Path(cfg.file)
    kind = kind_of(source)
    name = NETWORK if kind == "dive" else POLICY
    loaded = load_network(source) if kind == "dive" else load_policy(source)
    with run:
        write_bytes(run.out / name, source.read_bytes())
        run.write_json("report.json", loaded.report)
    return {"run": str(run.path), "kind": kind, "report": loaded.report}


def kind_of(path: Path) -> str:
    """Return whether a run or file holds a diving network or a branching policy.

    Raises:
        TenfoldError: if it holds neither.
    """
    if path.is_dir():
        for name, kind in ((NETWORK, "dive"), (POLICY, "branch")):
            if (path / "out" / name).exists():
                return kind
        raise TenfoldError(f"{path} holds no network; give a finished run of `train`")
    faults = []
    for load, kind in ((load_network, "dive"), (load_policy, "branch")):
        try:
            load(path)
        except TenfoldError as error:
            faults.append(str(error))
        else:
            return kind
    # A file of another kind says only that it is none; the other fault tells more.
    told = [fault for fault in faults if " is no " not in fault]
    raise TenfoldError(told[0] if told else f"{path} holds neither a network nor a policy")
