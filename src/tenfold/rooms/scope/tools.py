"""What the command line does with finished suites: look, measure, compare, steer, publish."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.engine import device
from tenfold.engine.config import Json, decode, encode
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.files import runs_root
from tenfold.engine.run import Options, find_run
from tenfold.engine.verbs import Plain
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope import config
from tenfold.rooms.scope.places import ARROW
from tenfold.rooms.scope.suite import MANIFEST, SavedSuite, open_suite

if TYPE_CHECKING:
    from tenfold.rooms.scope import cli
    from tenfold.rooms.scope.evaluation.matched import Point
    from tenfold.rooms.scope.steer import Edit

SAVED = "saved"
"""The source that stands for the model a suite was trained on."""
EDIT = re.compile(r"(\d+):(ablate|(clamp|scale|add):(-?\d+(?:\.\d*)?(?:e-?\d+)?))")
SHOWN = 8
"""Next tokens listed beside a steered completion."""


def find_suite(name: str, call: Plain) -> Path:
    """Return the folder of a suite, or the run that has one, by path or by the run's name."""
    path = Path(name)
    if (path / MANIFEST).is_file():
        return path
    return find_run(name, runs_root(call.runs))


def open_model(
    subject: config.Subject, suite: SavedSuite, *, quiet: bool, device: str = "cpu"
) -> Specimen:
    """Open the model that a command names, or the one its suite was trained on.

    Code that only the suite names is not run.

    Raises:
        TenfoldError: if the suite names no subject, or code, or another model than its own.
    """
    from tenfold.rooms.scope.subjects import open_subject

    options = Options(quiet=quiet)
    if subject.source != SAVED:
        return open_subject(subject, options=options, device=device)
    if not suite.manifest.subject:
        raise TenfoldError(
            f"the suite {suite.path} does not say how to open {suite.manifest.model}; name the "
            "model by --subject.source"
        )
    saved = decode(config.Subject, suite.manifest.subject, path="subject")
    named = _changed(subject) | {"download": subject.download}
    specimen = open_subject(replace(saved, **named), options=options, device=device, trusted=False)
    # Other text or longer windows are another identity because they were asked for.
    is_same = encode(specimen.identity) == suite.manifest.identity
    if not is_same and not named.keys() & {"text", "text_field", "context"}:
        raise TenfoldError(
            f"{saved.source} is not the {suite.manifest.model} that the suite {suite.path} was "
            "trained on: weights or data differ; name the model to use by --subject.source"
        )
    return specimen


def _changed(subject: config.Subject) -> dict[str, Any]:
    """Return the fields that are not as they come, its source apart."""
    plain = config.Subject(source=subject.source)
    found = {field.name: getattr(subject, field.name) for field in fields(subject)}
    return {name: value for name, value in found.items() if value != getattr(plain, name)}


def list_sites(cfg: cli.Sites, *, quiet: bool) -> Any:
    """Return a row for each site of a network."""
    from tenfold.rooms.scope.subjects import describe_sites, open_subject

    subject = config.Subject(source=cfg.source, text=cfg.text, download=cfg.download)
    specimen = open_subject(subject, options=Options(quiet=quiet))
    rows = [row for row in describe_sites(specimen) if row.proposed or not cfg.proposed]
    return [
        {
            "site": row.name,
            "shape": "x".join(map(str, row.shape)),
            "width": row.width,
            "bytes, float32": row.float32_bytes,
            "bytes, bfloat16": row.bfloat16_bytes,
            "proposed": "yes" if row.proposed else "",
        }
        for row in rows
    ]


def evaluate_suite(cfg: cli.Evaluate, call: Plain) -> Json:
    """Measure a suite and return a row for each dictionary."""
    from tenfold.rooms.scope.eval import FOLDER, evaluate

    path = find_suite(cfg.suite, call)
    suite = open_suite(path)
    compute = device.choose(cfg.device)
    device.apply(compute)
    specimen = open_model(cfg.subject, suite, quiet=call.quiet, device=compute.device)
    inside = path / "out" if (path / "out").is_dir() else path
    out = Path(cfg.out) if cfg.out else inside / FOLDER
    found = evaluate(
        suite,
        specimen,
        tokens=cfg.tokens,
        part_tokens=cfg.part_tokens,
        out=out,
        metrics=cfg.metrics,
        quiet=call.quiet,
    )
    shown = ("l0", "fvu", "delta_loss", "loss_recovered_zero", "uniformity", "dead")
    rows = [
        {"dictionary": name} | {key: entry[key] for key in shown if key in entry}
        for name, entry in found["entries"].items()
    ]
    return {"evaluation": str(out), "tokens": found["tokens"], "dictionaries": rows}


def compare_fronts(cfg: cli.Compare, call: Plain) -> Any:
    """Return a row for each comparison at an equal L0."""
    from tenfold.rooms.scope.evaluation.matched import compare

    fronts = _read_fronts(cfg, call)
    return [
        {
            "L0": match.ours.l0,
            "which": match.name,
            "against": match.reference,
            "value": match.ours.estimate,
            "its": match.theirs.estimate,
            "% lower": match.lower.estimate,
            "low": match.lower.interval and match.lower.interval.low,
            "high": match.lower.interval and match.lower.interval.high,
            "over": match.lower.over,
        }
        for match in compare(fronts, reference=cfg.reference or next(iter(fronts)), l0=cfg.l0)
    ]


def _read_fronts(cfg: cli.Compare, call: Plain) -> dict[str, list[Point]]:
    """Return what is compared, by name: at least two fronts, each of one scale with the others."""
    from tenfold.rooms.scope.evaluation.matched import front, fronts_by, open_evaluation

    paths = [_find_evaluation(name, call) for name in cfg.evaluations]
    if len(paths) not in (1, 2):
        raise TenfoldError(f"{len(paths)} evaluations; give one, or two to compare them")
    opened = [open_evaluation(path) for path in paths]
    wanted = _wanted_place(cfg.site, [evaluation.result for evaluation in opened])
    by = cfg.by if len(paths) == 1 else "evaluation"
    if by == "evaluation":
        names = [path.name for path in paths]
        named = cfg.evaluations if names[0] == names[1] else names
        fronts = {
            name: front(evaluation, cfg.measure, **wanted)
            for name, evaluation in zip(named, opened, strict=True)
        }
    else:
        facts = {fact: value for fact, value in wanted.items() if fact != by}
        fronts = fronts_by(opened[0], by, cfg.measure, **facts)
        if by in wanted:
            fronts = {wanted[by]: fronts[wanted[by]]}
    _refuse_mixed(fronts, by=by)
    if len(fronts) < 2:
        raise TenfoldError(
            f"there is one {by}, {', '.join(fronts)}, and nothing to compare it with; choose "
            "another --by, or give a second evaluation"
        )
    return fronts


def _find_evaluation(name: str, call: Plain) -> Path:
    from tenfold.rooms.scope.eval import FOLDER, RESULT

    path = Path(name)
    # What `evaluate_suite` wrote into a folder is newer than what a release brought along.
    found = next((p for p in (path / FOLDER, path) if (p / RESULT).is_file()), None)
    return found or find_suite(name, call)


def _wanted_place(site: str, evaluations: Sequence[Json]) -> dict[str, str]:
    """Return the facts of the dictionaries at a site, or between the two of IN->OUT.

    Raises:
        TenfoldError: with the nearest sites, if an evaluation has none there.
    """
    if not site:
        return {}
    for found in evaluations:
        ends = [(entry["site"], entry["site_out"]) for entry in found["entries"].values()]
        known = dict.fromkeys(ARROW.join(filter(None, pair)) for pair in ends)
        if site not in known:
            raise unknown_name("site of the evaluation", site, known)
    source, _, target = site.partition(ARROW)
    return {"site": source, "site_out": target}


def _refuse_mixed(fronts: dict[str, list[Point]], *, by: str) -> None:
    """Refuse fronts that hold dictionaries of several sites, which share no scale."""
    groups = list(fronts.values())
    if by != "site":
        groups = [[point for group in groups for point in group]]
    for group in groups:
        places = dict.fromkeys(point.name.rpartition("/")[0] for point in group)
        if len(places) > 1:
            raise TenfoldError(
                f"dictionaries of {len(places)} sites, {', '.join(places)}, have no common scale; "
                "name one with --site, or compare --by site"
            )


def make_pages(cfg: cli.Dash, call: Plain) -> Json:
    """Write the pages of a suite."""
    from tenfold.engine.files import read_json
    from tenfold.rooms.scope.dash import write_dash
    from tenfold.rooms.scope.run import find_store
    from tenfold.rooms.scope.store import open_store

    path = find_suite(cfg.suite, call)
    if not cfg.out and not (path / "out").is_dir():
        raise TenfoldError(f"{path} is no run; say with --out where the pages go")
    evaluation = path / "out" / "evaluation" / "evaluation.json"
    page = write_dash(
        open_suite(path),
        open_store(find_store(Path(cfg.store) if cfg.store else path)),
        Path(cfg.out) if cfg.out else path / "out" / "dash",
        evaluation=read_json(evaluation) if evaluation.is_file() else None,
        rows=cfg.rows,
        cofiring_share=cfg.cofiring_share,
        threads=cfg.threads,
        quiet=call.quiet,
    )
    return {"pages": str(page)}


def read_edit(written: str) -> Edit:
    """Read an edit as the command line writes it.

    >>> read_edit("12:clamp:4")
    Edit(latent=12, operation='clamp', value=4.0)
    """
    from tenfold.rooms.scope.steer import Edit

    found = EDIT.fullmatch(written)
    if not found:
        raise TenfoldError(
            f"edit {written!r} is none of LATENT:ablate, LATENT:clamp:VALUE, LATENT:scale:VALUE, "
            "LATENT:add:VALUE"
        )
    latent, whole, operation, value = found.groups()
    named: Any = operation or whole
    return Edit(latent=int(latent), operation=named, value=float(value or 0))


def steer_prompt(cfg: cli.Steer, call: Plain) -> Json:
    """Complete a prompt plainly and under the edits."""
    from tenfold.rooms.scope.completion import complete, token_text
    from tenfold.rooms.scope.steer import next_tokens, place_edits, steering

    edits = [read_edit(written) for written in cfg.edit]
    suite = open_suite(find_suite(cfg.suite, call))
    placed = place_edits(suite, {cfg.dictionary: edits})
    specimen = open_model(cfg.subject, suite, quiet=call.quiet)
    if specimen.encode is None:
        raise TenfoldError(f"{specimen.name} takes no prompt; give its Specimen an `encode`")
    tokens = specimen.encode(cfg.prompt)
    more: dict[str, Any] = {
        "count": cfg.tokens,
        "temperature": cfg.temperature,
        "seed": cfg.seed,
    }
    plain = complete(specimen, tokens, **more)
    with steering(specimen, placed, error=cfg.error):
        steered = complete(specimen, tokens, **more)

    def read(whole: Any) -> str:
        added = whole[0, tokens.shape[-1] :].tolist()
        return "".join(token_text(specimen, token) for token in added)

    changed = next_tokens(specimen, tokens, placed, error=cfg.error, count=SHOWN)
    return {
        "plain": read(plain),
        "steered": read(steered),
        "next token": [
            {"token": row.text, "plain": row.plain, "steered": row.steered} for row in changed
        ],
    }


def publish_suite(cfg: cli.Publish, call: Plain) -> Json:
    """Write a release, and upload it if asked."""
    from tenfold.engine.hub import push_folder
    from tenfold.rooms.scope.card import Card
    from tenfold.rooms.scope.publish import publish

    card = Card(
        title=cfg.title, licence=cfg.licence, base_model=cfg.base_model, datasets=cfg.datasets
    )
    path = find_suite(cfg.suite, call)
    out = publish(path, cfg.out, card=card, format=cfg.format, overwrite=cfg.overwrite)
    written = [file for file in out.rglob("*") if file.is_file()]
    result: Json = {
        "release": str(out),
        "files": len(written),
        "mb": sum(file.stat().st_size for file in written) / 1e6,
    }
    return result | ({"pushed": push_folder(out, cfg.push)} if cfg.push else {})


def attach_release(cfg: cli.Attach, *, quiet: bool) -> Any:
    """Return a row for each released dictionary with its site and what it costs."""
    from tenfold.rooms.scope.publish import attach
    from tenfold.rooms.scope.steer import spliced_loss
    from tenfold.rooms.scope.subjects import open_subject

    compute = device.choose(cfg.device)
    device.apply(compute)
    specimen = open_subject(cfg.subject, options=Options(quiet=quiet), device=compute.device)
    placed = attach(
        cfg.release,
        specimen,
        names=cfg.names,
        device=compute.device,
        download=cfg.subject.download,
    )
    count = -(-cfg.tokens // max(1, specimen.batch_size * (specimen.context or 128)))
    batches = list(islice(specimen.batches("held_out"), count))

    def loss(edits: Any) -> float:
        return sum(spliced_loss(specimen, edits, batch) for batch in batches) / len(batches)

    clean = loss({}) if batches else 0.0
    rows = []
    for site, pairs in placed.items():
        for name, dictionary in pairs:
            row: Json = {
                "dictionary": name,
                "site": site,
                "D": dictionary.input_width,
                "M": dictionary.width,
            }
            if batches:
                source, _, target = site.partition(ARROW)
                where: Any = (source, target) if target else site
                row["delta loss"] = loss({where: (dictionary, ())}) - clean
            rows.append(row)
    return rows


def describe_suite(cfg: cli.Info, call: Plain) -> Any:
    """Return what a suite holds, a row for each dictionary."""
    suite = open_suite(find_suite(cfg.suite, call))
    if cfg.verify:
        for entry in suite.entries:
            suite.load(entry, verify=True)
    rows = [
        {
            "dictionary": entry.name,
            "kind": entry.kind,
            "D": entry.input_width,
            "M": entry.width,
            "L0": entry.metrics.get("l0"),
            "FVU": entry.metrics.get("fvu"),
            "rows": entry.rows,
            "schedule": entry.schedule,
        }
        for entry in suite.entries
    ]
    return {
        "model": suite.manifest.model,
        "sites": len(suite.sites),
        "licence": suite.manifest.licence or "not stated",
        "verified": "yes" if cfg.verify else "no",
        "dictionaries": rows,
    }
