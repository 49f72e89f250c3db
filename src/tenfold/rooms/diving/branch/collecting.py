"""Meeting nodes worth learning from (Gasse et al. 2019, section 5.1; Nair et al. 2020, section 6).

First round: SCIP branches by pseudo-costs; with a stated probability the expert is asked instead,
written down and followed. DAgger rounds: the policy learnt so far branches, and the expert only
says what it would have done, so that the network learns at the nodes that it leads to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine import rng
from tenfold.engine.config import Json, encode
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import scip
from tenfold.parts.mip.instance import Mip
from tenfold.parts.mip.lp_state import read_state
from tenfold.parts.mip.node_reader import NodeReader
from tenfold.parts.mip.scip_models import load_pyscipopt
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving.branch import expert
from tenfold.rooms.diving.branch.config import CollectBranch
from tenfold.rooms.diving.branch.policy import Policy
from tenfold.rooms.diving.branch.rule import FIRST, candidates_of, search_settings
from tenfold.rooms.diving.branch.samples import Sample, Samples, keep, read_samples, write_samples
from tenfold.rooms.diving.branch.scoring import scorer
from tenfold.rooms.diving.method import branching


@dataclass(kw_only=True, slots=True)
class _Met:
    """What one search has seen so far."""

    samples: list[Sample] = field(default_factory=list)
    nodes: int = 0
    fault: BaseException | None = None


def collect_instance(
    mip: Mip, *, cfg: CollectBranch, seed: int, policy: Policy | None = None
) -> Samples:
    """Search one instance and ask the expert at some of its nodes.

    Args:
        mip: the instance as it will be searched, presolved.
        cfg: of the collection.
        seed: of the solver and of the draws where to ask.
        policy: drives the search, the expert only labels; `None`: pseudo-costs and the expert
            drive.

    Returns:
        The nodes; none if the instance was solved before a node was met at which the lot fell.
    """
    model, met = scip.build(mip), _Met()
    draw = rng.stream(seed, "branching", mip.digest(), "dagger" if policy else "expert")
    _include(model, met, cfg, draw=draw, policy=policy)
    settings = search_settings(cfg.cuts) | {"branching/pscost/priority": FIRST - 1}
    limits = Limits(seconds=cfg.seconds, nodes=cfg.nodes, iterations=cfg.iterations)
    found = scip.solve(mip, limits=limits, settings=settings, seed=seed, model=model)
    model.freeProb()
    if met.fault is not None:
        raise met.fault
    source: Json = {
        "solver": found.solver,
        "seed": seed,
        "driver": "policy" if policy else "pscost",
        "config": encode(cfg),
        "status": found.status,
        "nodes": found.nodes,
        "met": met.nodes,
        "iterations": found.iterations,
        "seconds": round(found.seconds, 3),
        "repeatable": not np.isfinite(cfg.seconds),
    }
    return Samples(samples=tuple(met.samples), digest=mip.digest(), source=source)


def _include(
    model: Any, met: _Met, cfg: CollectBranch, *, draw: np.random.Generator, policy: Policy | None
) -> None:
    pyscipopt = load_pyscipopt()
    visit = _visitor(met, cfg, draw=draw, policy=policy)

    class Collector(pyscipopt.Branchrule):  # type: ignore[misc,name-defined]
        """Asks at some nodes, and leaves the others to the rule of next priority."""

        def branchexeclp(self, allowaddcons: bool) -> dict[str, Any]:  # noqa: ARG002
            results = pyscipopt.SCIP_RESULT
            if met.fault is None:
                try:
                    if visit(self.model):
                        return {"result": results.BRANCHED}
                except BaseException as fault:
                    # SCIP would go on as if nothing had happened.
                    met.fault = fault
                    self.model.interruptSolve()
            return {"result": results.DIDNOTRUN}

    model.includeBranchrule(Collector(), "tenfold collector", "asks the expert", FIRST, -1, 1.0)


def _visitor(
    met: _Met, cfg: CollectBranch, *, draw: np.random.Generator, policy: Policy | None
) -> Callable[[Any], bool]:
    """Return what is done at a node: it tells whether it branched."""
    readers: list[NodeReader] = []
    score = scorer(policy) if policy else None

    def visit(model: Any) -> bool:
        met.nodes += 1
        asked = draw.random() < cfg.asked_share
        if not asked and score is None:
            return False
        if not readers:
            readers.append(NodeReader(model))
        reader = readers[0]
        graph, places = reader.read(), reader.candidates()
        variables = candidates_of(model)
        assert len(variables) == len(places), "the reader and SCIP differ on the candidates"
        chosen = int(np.argmax(score(graph, places))) if score else -1
        if asked and len(places) > 1:
            kept = keep(graph, met.samples)
            state = read_state(model) if cfg.expert == "admm" else None
            told = expert.ask(model, variables, places, state, cfg=cfg).scores()
            met.samples.append(
                Sample(graph=kept, candidates=places.copy(), scores=told, depth=model.getDepth())
            )
            if len(met.samples) >= cfg.samples:
                model.interruptSolve()
            chosen = branching.choose(told) if score is None else chosen
        if chosen < 0:
            return False
        model.branchVar(variables[chosen])
        return True

    return visit


# The store


def collect_shard(
    path: Path, mip: Mip, *, cfg: CollectBranch, seed: int, policy: Policy | None = None
) -> Json:
    """Collect one instance into a shard, unless it is there already; return what is in it.

    Raises:
        TenfoldError: if a shard of another instance, seed or config is in the way.
    """
    if path.with_suffix(".json").exists():
        samples = read_samples(path)
        same = (mip.digest(), seed, encode(cfg), "policy" if policy else "pscost")
        source = samples.source
        # As the file has it: JSON knows no infinity.
        told = _as_saved((samples.digest, source["seed"], source["config"], source["driver"]))
        if told != _as_saved(same):
            raise TenfoldError(
                f"{path} was collected from another instance or with other settings; give another "
                "folder, or remove it"
            )
    else:
        write_samples(collect_instance(mip, cfg=cfg, seed=seed, policy=policy), path)
        # Read back, so that a first call and a later one tell the very same.
        samples = read_samples(path)
    return {"samples": len(samples.samples), **samples.source}


def _as_saved(values: tuple[Any, ...]) -> Any:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return tuple(plain(value) for value in values)
