import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from rooms.diving.branch.nodes import random_graph
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.diving.branch import policy as module
from tenfold.rooms.diving.branch.config import GraphConvolution, HalfConvolutions
from tenfold.rooms.diving.branch.policy import BranchNet, Policy, load_policy, save_policy

NETWORKS = [GraphConvolution(width=6, depth=2), HalfConvolutions(width=5)]


def make(network, seed=0):
    net = BranchNet(network, seed=seed)
    net.measure([random_graph(seed) for seed in range(20)])
    return Policy(net=net.eval(), network=network, report={"seed": seed})


@pytest.mark.parametrize("network", NETWORKS)
def test_a_saved_policy_says_the_same_after_reading(network, tmp_path):
    policy = make(network, seed=3)
    save_policy(policy, tmp_path / "p.safetensors")
    again = load_policy(tmp_path / "p.safetensors")
    graph, candidates = random_graph(50), np.array([1, 4, 9])
    assert np.array_equal(again.logits(graph, candidates), policy.logits(graph, candidates))
    assert again.network == network
    assert again.report == {"seed": 3}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_logit_follows_its_column_when_columns_and_rows_are_renumbered(network):
    policy, graph = make(network), random_graph(5)
    draw = np.random.default_rng(0)
    columns, rows = draw.permutation(len(graph.columns)), draw.permutation(len(graph.rows))
    new_column, new_row = np.argsort(columns), np.argsort(rows)
    order = np.argsort(new_row[graph.edge_rows], kind="stable")
    turned = replace(
        graph,
        columns=graph.columns[columns],
        rows=graph.rows[rows],
        edge_rows=new_row[graph.edge_rows][order],
        edge_columns=new_column[graph.edge_columns][order],
        edges=graph.edges[order],
    )
    candidates = np.array([0, 3, 8])
    found = policy.logits(turned, new_column[candidates])
    assert found == pytest.approx(policy.logits(graph, candidates), abs=1e-5)


def test_a_graph_unlike_training_is_named_with_the_feature():
    policy, graph = make(NETWORKS[0]), random_graph(60, columns=400, rows=200)
    assert policy.find_mismatch(graph) == ""
    moved = graph.columns.copy()
    moved[:, 16] += 9.0
    assert "'LP value' has a mean of 9" in policy.find_mismatch(replace(graph, columns=moved))
    rows = graph.rows.copy()
    rows[:, 4] -= 9.0
    assert "'dual over norms'" in policy.find_mismatch(replace(graph, rows=rows))


def test_a_feature_that_never_moved_in_training_is_named_as_soon_as_it_does():
    net = BranchNet(NETWORKS[0])
    graph = random_graph(0)
    still = replace(graph, columns=np.where(np.arange(19) == 3, 0.0, graph.columns).astype("f4"))
    net.measure([still])
    policy = Policy(net=net, network=NETWORKS[0])
    loose = still.columns.copy()
    loose[:, 3] = 1.0
    assert policy.find_mismatch(still) == ""
    assert "'is continuous'" in policy.find_mismatch(replace(still, columns=loose))


def test_files_that_are_no_policy_are_refused_with_the_reason(tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(TenfoldError, match="cannot be read as a policy"):
        load_policy(path)
    policy = make(NETWORKS[0])
    save_policy(policy, path)
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(TenfoldError, match="is no branching policy"):
        load_policy(path)
    save_policy(policy, path)
    monkeypatch.setattr(module, "SCHEMA", 99)
    with pytest.raises(TenfoldError, match="has schema 1, this version reads 99"):
        load_policy(path)
    monkeypatch.undo()
    header = {
        "schema": 1, "features": 1, "report": {},
        "network": {"kind": "GraphConvolution", "width": 7, "depth": 2},
    }  # fmt: skip
    save_file(tensors, path, {module._KEY: json.dumps(header)})
    with pytest.raises(TenfoldError, match="does not hold the network that it names"):
        load_policy(path)
