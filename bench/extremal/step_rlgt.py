"""The child of rlgt_flips.py in the environment of RLGT: flips in its GlobalFlipEnvironment.

The score, edges - triangles - 4-cycles, is an invariant as a user of the library writes one. Three
ways: products of whole-number matrices as they come to hand, which NumPy does without BLAS;
products in float32, which BLAS does and which are exact here; and the library's shortcut, a
function for the difference of two batches, here the closed paths through the one flipped pair.
Uses NumPy and rlgt only.
"""

import json
import sys
import time

import numpy as np
from rlgt.environments import GlobalFlipEnvironment
from rlgt.graphs import Graph

# B graphs a batch, N nodes, P = N (N - 1) / 2 pairs


def score_of(a_BNN: np.ndarray) -> np.ndarray:
    """Return edges - triangles - 4-cycles of adjacency matrices of any type."""
    two_BNN = a_BNN @ a_BNN  # walks of two edges: degrees and common neighbours
    edges = a_BNN.sum(axis=(1, 2)) / 2
    triangles = (two_BNN * a_BNN).sum(axis=(1, 2)) / 6
    degrees = two_BNN.diagonal(axis1=1, axis2=2)
    common = (two_BNN * (two_BNN - 1)).sum(axis=(1, 2)) - (degrees * (degrees - 1)).sum(axis=1)
    return (edges - triangles - common / 8).astype(np.float32)


def whole(graphs: Graph) -> np.ndarray:
    return score_of(graphs.adjacency_matrix_colors.astype(np.int64))


def single(graphs: Graph) -> np.ndarray:
    return score_of(graphs.adjacency_matrix_colors.astype(np.float32))


def change(before: Graph, after: Graph) -> np.ndarray:
    """Return the difference of scores of graphs that differ in one pair each."""
    old = before.flattened_row_major_colors
    pair_B = (old != after.flattened_row_major_colors).argmax(axis=1)
    batch = np.arange(len(pair_B))
    low, high = np.triu_indices(before.graph_order, 1)
    u_B, v_B, was_B = low[pair_B], high[pair_B], old[batch, pair_B]
    a_BNN = before.adjacency_matrix_colors.astype(np.float32)
    a_BNN[batch, u_B, v_B] = a_BNN[batch, v_B, u_B] = 0
    from_u, from_v = a_BNN[batch, u_B], a_BNN[batch, v_B]
    paths_B = (from_u * from_v).sum(axis=1) + ((from_u[:, None] @ a_BNN)[:, 0] * from_v).sum(axis=1)
    return np.where(was_B, paths_B - 1, 1 - paths_B).astype(np.float32)


WAYS = {"whole": (whole, None), "single": (single, None), "difference": (single, change)}


def main() -> None:
    """Answer each line "FLIPS" with seconds and scores after that many steps."""
    with np.load(sys.argv[1]) as setting:
        pairs, actions_TB = setting["start"], setting["actions"]
        nodes = int(setting["nodes"])
    invariant, difference = WAYS[sys.argv[2]]
    environment = GlobalFlipEnvironment(
        invariant,
        nodes,
        episode_length=10**9,
        flip_only=True,
        initial_graph_generator=lambda batch_size: Graph.from_flattened(pairs[:batch_size].copy()),
        graph_invariant_diff=difference,
    )
    environment.reset_batch(len(pairs))
    print(json.dumps({"ready": True}), flush=True)
    done = 0
    for line in sys.stdin:
        count, begun = int(line), time.process_time()
        for step in range(done, done + count):
            _, scores, _ = environment.step_batch(actions_TB[step % len(actions_TB)])
        done += count
        seconds = time.process_time() - begun
        print(json.dumps({"seconds": seconds, "scores": scores.tolist()}), flush=True)


if __name__ == "__main__":
    main()
