"""Learnt branching beside SCIP's rules: nodes, fair nodes, time, overhead, on fixed instances.

    python bench/mip/branching.py FAMILY POLICY.safetensors [--kept FILE.json] [--accuracy STORE]

FAMILY is set_cover (500 x 1000, density .05) or facility (100 x 100). Test instances are seeds
3000 on; nothing was trained or chosen on them. Each is presolved once, and all rules search that
same instance: separation at the root only, no restart, one thread. Runs are kept in FILE, so that
a second call does only what is missing. Full strong branching runs on the first few instances.

Means are shifted geometric, by 1 s and by 10 nodes; node means are over those runs that every rule
but full strong branching finished. Fair nodes also count what strong branching finds without
opening it, an upper figure, see `tenfold.rooms.diving.branch.comparing`. Overhead is wall time of
reading the node, network and choice. STORE has shards of nodes of other instances, for accuracy
beside blind choice.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from tenfold.engine.files import read_json, write_json
from tenfold.parts.mip import scip
from tenfold.parts.mip.generate.assigning import facility_location
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.measure import shifted_mean
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving.branch.comparing import LEARNT, search
from tenfold.rooms.diving.branch.policy import load_policy
from tenfold.rooms.diving.branch.samples import read_samples
from tenfold.rooms.diving.branch.training import TOPS, evaluate, prepare

FAMILIES = {
    "set_cover": lambda seed: set_cover(rows=500, columns=1000, density=0.05, seed=seed),
    "facility": lambda seed: facility_location(customers=100, facilities=100, seed=seed),
}
FIRST = 3000
STRONG = "vanillafullstrong"
RULES = (LEARNT, "pscost", "relpscost", "random", STRONG)


def measure(mip, rule, policy, *, limit, seed):
    """Return one run as plain values."""
    found = search(mip, rule, policy=policy, limits=Limits(seconds=limit), seed=seed)
    told = {
        "status": found.solved.status,
        "objective": found.solved.objective,
        "bound": found.solved.bound,
        "nodes": found.solved.nodes,
        "fair": found.fair_nodes,
        "seconds": found.seconds,
        "processor": found.processor_seconds,
    }
    if found.tally is not None:
        told |= {"calls": found.tally.calls, "overhead": found.tally.seconds}
    return told


def run_all(args, policy):
    """Return runs by instance, seed and rule; each is measured once."""
    runs = read_json(args.kept) if args.kept and args.kept.exists() else {}
    for number in range(args.instances):
        mip = None
        for seed in range(args.seeds):
            for rule in args.rules:
                key = f"{args.family}/{FIRST + number}/{seed}/{rule}"
                if key in runs or (rule == STRONG and (number >= args.strong or seed)):
                    continue
                mip = mip or scip.presolve(FAMILIES[args.family](FIRST + number)).mip
                runs[key] = measure(mip, rule, policy, limit=args.limit, seed=seed)
                print(key, {k: round(v, 3) for k, v in runs[key].items() if k != "status"})
                if args.kept:
                    write_json(args.kept, runs)
    return {key: run for key, run in runs.items() if key.startswith(args.family)}


def tell(runs, args):
    """Print a line for each rule."""
    places = sorted({key.rsplit("/", 1)[0] for key in runs})
    whole = [rule for rule in args.rules if rule != STRONG]
    done = [
        place
        for place in places
        if all(runs.get(f"{place}/{rule}", {}).get("status") == "optimal" for rule in whole)
    ]
    print(f"{len(places)} runs a rule, {len(done)} finished by all within {args.limit:.0f} s")
    for rule in args.rules:
        mine = [runs[f"{place}/{rule}"] for place in places if f"{place}/{rule}" in runs]
        ended = [runs[f"{place}/{rule}"] for place in done if f"{place}/{rule}" in runs]
        if not mine:
            continue
        missed = sum(run["status"] != "optimal" for run in mine)
        times = [
            shifted_mean([run[name] for run in mine], 1.0) for name in ("seconds", "processor")
        ]
        nodes = [shifted_mean([run[name] for run in ended], 10.0) for name in ("nodes", "fair")]
        print(
            f"{rule:18s} {len(mine):3d} runs, {missed} cut short, {times[0]:7.2f} s wall, "
            f"{times[1]:7.2f} s processor, {nodes[0]:8.1f} nodes, {nodes[1]:8.1f} fair"
        )
    ours = [runs[f"{place}/{LEARNT}"] for place in places if f"{place}/{LEARNT}" in runs]
    calls = sum(run["calls"] for run in ours)
    print(f"overhead {1e3 * sum(run['overhead'] for run in ours) / max(calls, 1):.2f} ms a node")


def tell_accuracy(policy, store):
    """Print how often one of the first K choices has the best score, beside blind choice."""
    shards = sorted(store.glob("*.json"))
    nodes = prepare([s for shard in shards for s in read_samples(shard).samples], policy.network)
    found = evaluate(policy.net, nodes)
    for name in ("", " of 20+"):
        words = [
            f"top {k} {found[f'top {k}{name}']:.1%} (blind {found[f'chance {k}{name}']:.1%})"
            for k in TOPS
        ]
        print(f"{found[f'nodes{name}']:.0f} nodes{name}: {', '.join(words)}")


def main():
    torch.set_num_threads(1)
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("family", choices=FAMILIES)
    words.add_argument("policy", type=Path)
    words.add_argument("--instances", type=int, default=20)
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--strong", type=int, default=5)
    words.add_argument("--limit", type=float, default=600.0)
    words.add_argument("--rules", nargs="+", default=RULES)
    words.add_argument("--kept", type=Path)
    words.add_argument("--accuracy", type=Path)
    args = words.parse_args()
    policy = load_policy(args.policy)
    if args.accuracy:
        tell_accuracy(policy, args.accuracy)
    if args.instances:
        runs = run_all(args, policy)
        if runs and np.isfinite([run["seconds"] for run in runs.values()]).all():
            tell(runs, args)


if __name__ == "__main__":
    main()
