"""Pages of runs: the list, one run with live curves, and several runs compared."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from tenfold.engine import checkpoint
from tenfold.engine.config import Json, diff
from tenfold.engine.metrics import unit_of
from tenfold.engine.records import saved_config
from tenfold.engine.report.figures import Curve, Figure, axis, curves
from tenfold.web.live import Series, follow, parse_cursor, tell_status
from tenfold.web.places import Place
from tenfold.web.shell import Shell
from tenfold.web.views import wants_part

STILL_POINTS = 150
MOST_STILLS = 24
"""Figures drawn by the server; further ones are drawn by the script when they come near, and
their last values stand in the table."""
MOST_COMPARED = 6
"""Runs on one page; more colours cannot be told apart."""
LOG_BYTES = 32_768
MOST_FILES = 200

Text = Annotated[str, Query(max_length=200)]


def runs_router(shell: Shell) -> APIRouter:
    """Return the routes of the pages of runs."""
    router = APIRouter()

    def find(name: str) -> Place:
        place = shell.places.find(name)
        if place.record is None or place.record.state == "broken":
            reason = place.record.reason if place.record else f"{place.path.name} is a folder"
            raise HTTPException(404, f"no run to show: {reason}")
        return place

    @router.get("/")
    def show_list(
        request: Request, text: Text = "", room: Text = "", state: Text = ""
    ) -> HTMLResponse:
        places = list(shell.places.all().values())
        records = [place.record for place in places if place.record]
        return shell.views.page(
            request,
            "rows.html" if wants_part(request) else "runs.html",
            rows=list_rows(places, text=text, room=room, state=state),
            total=len(records),
            folders=[place for place in places if place.record is None],
            rooms=sorted({record.room for record in records}),
            states=sorted({record.state for record in records}),
            chosen={"text": text, "room": room, "state": state},
        )

    @router.get("/runs/{name}")
    def show_run(request: Request, name: str) -> HTMLResponse:
        return shell.views.page(request, "run.html", **run_values(shell, find(name)))

    @router.get("/runs/{name}/curve")
    def send_curve(name: str, metric: Text) -> Response:
        found = shell.curves.of(find(name).path).look()
        if metric not in found:
            raise HTTPException(404, f"run {name} has no metric {metric!r}")
        return Response(found[metric].thinned().tobytes(), media_type="application/octet-stream")

    # What is refused has to be refused before the stream begins.
    @router.get(
        "/runs/{name}/events", response_class=EventSourceResponse, dependencies=[Depends(find)]
    )
    async def send_events(
        name: str, after: Text = "", last_event_id: Annotated[str, Header()] = ""
    ) -> AsyncIterator[ServerSentEvent]:
        cursor = parse_cursor(last_event_id or after)
        async for event in follow(find(name).path, cursor, stopping=shell.stopping):
            yield event

    @router.get("/compare")
    def compare(request: Request, run: Annotated[list[str], Query()] = []) -> HTMLResponse:  # noqa: B006 (FastAPI copies it)
        names = list(dict.fromkeys(run))
        if not 2 <= len(names) <= MOST_COMPARED:
            raise HTTPException(
                400, f"{len(names)} runs to compare; choose 2 to {MOST_COMPARED} in the list"
            )
        places = [find(name) for name in names]
        return shell.views.page(request, "compare.html", **compare_values(shell, places))

    return router


def list_rows(
    places: Sequence[Place], *, text: str = "", room: str = "", state: str = ""
) -> list[Json]:
    """Return a row for each run that fits, newest first.

    Args:
        places: what is served.
        text: found in a run's name, room, verb or recipe, in letters of any size.
        room: only this one; empty is any.
        state: only this one; empty is any.
    """
    return [
        {"place": place, "record": record, "started": moment(record.started)}
        for place in reversed(places)
        if (record := place.record) is not None
        and room in ("", record.room)
        and state in ("", record.state)
        and text.lower() in f"{place.name} {record.room} {record.verb} {record.recipe}".lower()
    ]


def moment(seconds: float) -> str:
    """Write a time given in seconds since 1970, as it is on this machine's clock."""
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "minutes") if seconds else "–"


def run_values(shell: Shell, place: Place) -> dict[str, Any]:
    """Return what the page of a run shows."""
    path, saved = place.path, saved_config(place.path)
    curves_of_run = shell.curves.of(path)
    series = curves_of_run.look()
    units: Mapping[str, str] = saved.get("units", {})
    return {
        "place": place,
        "record": place.record,
        "started": moment(saved["started"]) if "started" in saved else "–",
        "status": tell_status(path),
        "cursor": str(curves_of_run.cursor),
        "figures": [
            _figure(name, {place.name: found}, units, still=number < MOST_STILLS)
            for number, (name, found) in enumerate(series.items())
        ],
        "last": [_last_row(name, found, units) for name, found in series.items()],
        "checkpoints": list_checkpoints(path / "ckpt"),
        "files": list_files(path / "out"),
        "config": json.dumps(saved, indent=1, ensure_ascii=False),
        "log": read_tail(path / "log.txt"),
        "report": shell.frames.address(report) if (report := path / "report.html").exists() else "",
        "rooms": shell.room_links(place),
    }


def _figure(
    name: str, series: Mapping[str, Series], units: Mapping[str, str], *, still: bool
) -> Json:
    """Return a metric with a figure of its curves, if a still one is wanted."""
    told: Json = {"name": name, "unit": unit_of(name, units), "runs": list(series), "figure": None}
    if not still:
        return told
    drawn = {}
    for run, found in series.items():
        steps, values = found.thinned(STILL_POINTS).tolist()
        drawn[run] = Curve(x=steps, y=values)
    figure: Figure = curves(name, drawn, x=axis("step"), y=axis(name, unit=told["unit"]))
    return told | {"figure": figure}


def _last_row(name: str, series: Series, units: Mapping[str, str]) -> Json:
    return {
        "name": name,
        "unit": unit_of(name, units),
        "step": int(series.steps[-1]),
        "value": series.values[-1],
    }


def list_checkpoints(folder: Path) -> list[Json]:
    """Return a row for each complete checkpoint, newest first."""
    if not folder.is_dir():
        return []
    found = sorted(p for p in folder.iterdir() if (p / checkpoint.DONE).is_file())
    return [
        {
            "step": int(path.name) if path.name.isdecimal() else path.name,
            "bytes": sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
            "saved": moment((path / checkpoint.DONE).stat().st_mtime),
        }
        for path in reversed(found)
    ]


def list_files(folder: Path) -> list[Json]:
    """Return the names and sizes of the first files of a run's results."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {"name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size}
        for path in found[:MOST_FILES]
    ]


def read_tail(path: Path) -> str:
    """Return the last lines of a log, up to `LOG_BYTES`; empty if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            data = file.read()
    except FileNotFoundError:
        return ""
    if size > LOG_BYTES:  # the first line is cut
        data = data[data.find(b"\n") + 1 :]
    return data.decode(errors="replace")


def compare_values(shell: Shell, places: Sequence[Place]) -> dict[str, Any]:
    """Return what the page of compared runs shows: metrics side by side, configs by difference."""
    found = {place.name: shell.curves.of(place.path).look() for place in places}
    saved = {place.name: saved_config(place.path) for place in places}
    units: dict[str, str] = {}
    for config in saved.values():
        units |= config.get("units", {})
    metrics = dict.fromkeys(name for series in found.values() for name in series)
    return {
        "places": places,
        "figures": [
            _figure(
                name,
                {run: s[name] for run, s in found.items() if name in s},
                units,
                still=number < MOST_STILLS,
            )
            for number, name in enumerate(metrics)
        ],
        "last": [
            {"name": name, "unit": unit_of(name, units), "values": _last_values(found, name)}
            for name in metrics
        ],
        "differences": list_differences(saved),
    }


def _last_values(found: Mapping[str, Mapping[str, Series]], name: str) -> list[float | None]:
    return [series[name].values[-1] if name in series else None for series in found.values()]


def list_differences(saved: Mapping[str, Json]) -> list[Json]:
    """Return a row for each config field that is not the same in all runs."""
    configs = [{"room": s["room"], "verb": s["verb"], **s["config"]} for s in saved.values()]
    fields: dict[str, list[Any]] = {}
    for number, config in enumerate(configs[1:], start=1):
        for change in diff(configs[0], config):
            values = fields.setdefault(change.path, [change.before] * len(configs))
            values[number] = change.after
    return [
        {"field": name, "values": ["–" if value is None else str(value) for value in values]}
        for name, values in fields.items()
    ]
