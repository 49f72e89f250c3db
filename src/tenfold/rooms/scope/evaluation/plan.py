"""What an evaluation will do, found out on the first batch and before anything costly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope.baselines import Moments, component_counts, fit_moments
from tenfold.rooms.scope.evaluation import importance
from tenfold.rooms.scope.evaluation.passes import (
    Clean,
    clean_pass,
    count_items,
    count_kept,
    find_shortcuts,
)
from tenfold.rooms.scope.evaluation.sums import Probe
from tenfold.rooms.scope.suite import Entry, SavedSuite

METRICS = ("loss", "baselines", "uniformity", "bfloat16")
"""What can be left out; L0, FVU, bias and frequencies are always there."""
LEFT_OUT = (
    "interpretability by blinded people: it needs raters",
    "simulation and detection by a language model: it needs a model that explains",
    "transfer to a tuned model: evaluate the suite on that model; the room has a claim of it",
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Everything that one evaluation holds on to."""

    suite: SavedSuite
    probe: Probe
    batches: Sequence[Batch]
    chunk: int
    """Batches whose clean passes are held together."""
    moments: Mapping[str, Moments]
    """Of replaced sites; empty without baselines."""
    kinds: tuple[str, ...]
    uniform: bool
    """Whether uniformity is taken."""

    @property
    def targets(self) -> list[str]:
        """The sites that are replaced."""
        return list(dict.fromkeys(sites_of(entry)[1] for entry in self.suite.entries))

    @property
    def starts(self) -> range:
        """Number of the first batch of each chunk."""
        return range(0, len(self.batches), self.chunk)

    def components(self, site: str) -> tuple[int, ...]:
        """Return how many principal components stand in at a site."""
        here = [entry for entry in self.suite.entries if sites_of(entry)[1] == site]
        return component_counts([entry.target_l0 for entry in here], width=here[0].output_width)


def sites_of(entry: Entry) -> tuple[str, str]:
    """Return the site that a dictionary reads and the one that it rebuilds."""
    return entry.site, entry.site_out or entry.site


def held_out(specimen: Specimen, *, tokens: int) -> list[Batch]:
    """Return the first held-out batches, as many as come nearest to `tokens` kept ones, or all.

    Raises:
        TenfoldError: if there are none.
    """
    found, kept = [], 0
    for batch in specimen.batches("held_out"):
        found.append(batch)
        kept += count_kept(batch)
        if _is_enough(kept, batch, tokens):
            break
    if not kept:
        raise TenfoldError(
            f"the held-out split of {specimen.name!r} has no kept token in {len(found)} batches; "
            "give more data, or check the masks"
        )
    return found


def prepare(
    suite: SavedSuite,
    specimen: Specimen,
    *,
    metrics: Sequence[str],
    tokens: tuple[int, int],
    memory: int,
) -> tuple[Plan, list[str]]:
    """Look at the first batch: what can be measured, and how much is held at a time."""
    specimen = specimen if "loss" in metrics else dataclasses.replace(specimen, loss=None)
    pairs = [sites_of(entry) for entry in suite.entries]
    sites = list(dict.fromkeys(site for pair in pairs for site in pair))
    targets = list(dict.fromkeys(target for _, target in pairs))
    batches = held_out(specimen, tokens=tokens[0])
    shortcuts = find_shortcuts(specimen, targets, batches[0])
    kept = [name for names in shortcuts.values() for name in names]
    first = clean_pass(specimen, batches[0], sites=sites, keep_results=dict.fromkeys(kept))
    reasons = _reasons(specimen, first, metrics)
    probe = Probe(
        specimen=specimen,
        shortcuts=shortcuts,
        places=max(batch_grid[1] for batch_grid in map(_grid, batches)),
        kinds=_count_kinds(batches),
        part=_part(batches, tokens[1]),
        bfloat16="bfloat16" not in reasons,
    )
    wanted = "baselines" not in reasons
    plan = Plan(
        suite=suite,
        probe=probe,
        batches=batches,
        chunk=max(1, _affordable(suite, memory) // first.num_bytes),
        moments=fit_moments(specimen, targets, tokens=2 * tokens[1]) if wanted else {},
        kinds=_kind_names(specimen, probe.kinds),
        uniform="uniformity" not in reasons,
    )
    return plan, [*LEFT_OUT, *(f"{name}: {reason}" for name, reason in reasons.items())]


def _reasons(specimen: Specimen, first: Clean, metrics: Sequence[str]) -> dict[str, str]:
    """Return what is left out, each with its reason."""
    found = {name: "not asked for" for name in METRICS if name not in metrics}
    if "loss" not in found and specimen.loss is None:
        found["loss"] = "the model has none, so no delta loss, loss recovered or curves of them"
    if "bfloat16" not in found and "loss" in found:
        found["bfloat16"] = "it is a difference of losses"
    if "uniformity" not in found and (reason := importance.why_not(specimen, first)):
        found["uniformity"] = reason
    if len(first.grid) == 1:
        found["by position"] = "items have no positions"
    if "kind" not in first.batch.labels:
        found["by kind"] = "batches have no label 'kind'"
    return found


def _grid(batch: Batch) -> tuple[int, int]:
    """Return items and positions of a batch; 0 positions if items have none."""
    blank = Clean(
        batch=batch, number=0, first=0, size=count_items(batch), loss=None, sites={}, results={}
    )
    return (blank.grid[0], blank.grid[1] if len(blank.grid) == 2 else 0)


def _count_kinds(batches: Sequence[Batch]) -> int:
    labels = [batch.labels["kind"] for batch in batches if "kind" in batch.labels]
    return 1 + max((int(label.max()) for label in labels if label.numel()), default=-1)


def _kind_names(specimen: Specimen, count: int) -> tuple[str, ...]:
    known = tuple(specimen.kinds)
    return tuple(known[i] if i < len(known) else f"kind {i}" for i in range(count))


def _part(batches: Sequence[Batch], tokens: int) -> int:
    """Return how many batches come nearest to `tokens` kept tokens or items, at least one."""
    kept = 0
    for number, batch in enumerate(batches, 1):
        kept += count_kept(batch)
        if _is_enough(kept, batch, tokens):
            return number
    return len(batches)


def _is_enough(kept: int, last: Batch, tokens: int) -> bool:
    # Masks leave out a few tokens of each batch; a whole batch more would not make up for them.
    return kept > 0 and kept + count_kept(last) / 2 >= tokens


def _affordable(suite: SavedSuite, memory: int) -> int:
    """Return the bytes to hold: dictionaries are read anew for each chunk, which must be worth it.

    So a chunk takes at least as much as the largest dictionary.
    """
    sizes = (4 * entry.width * (entry.input_width + entry.output_width) for entry in suite.entries)
    return max(memory, *sizes)
