import pytest
import torch

from tenfold.parts.nn.graph import (
    Bipartite,
    BipartiteGCN,
    HalfConvolution,
    Incidence,
    PreNorm,
    join,
)


def random_graph(seed, *, columns=7, rows=5, edges=14):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randperm(rows * columns, generator=generator)[:edges].sort().values
    return Bipartite(
        columns=torch.randn(columns, 4, generator=generator),
        rows=torch.randn(rows, 3, generator=generator),
        edge_rows=pairs // columns,
        edge_columns=pairs % columns,
        edges=torch.randn(edges, generator=generator),
    )


def dense(graph):
    table = torch.zeros(len(graph.rows), len(graph.columns))
    table[graph.edge_rows, graph.edge_columns] = graph.edges
    return table


def networks():
    generator = torch.Generator().manual_seed(0)
    half = HalfConvolution(columns=4, rows=3, width=8, generator=generator)
    half.measure(random_graph(9))
    return {
        "gcn": BipartiteGCN(columns=4, rows=3, width=8, depth=3, generator=generator),
        "half": half,
    }


NAMES = pytest.mark.parametrize("name", ["gcn", "half"])


def test_products_and_their_gradients_are_those_of_the_dense_matrix():
    graph = random_graph(0)
    table, incidence = dense(graph), Incidence(graph)
    for product, matrix, count in (
        (incidence.to_rows, table, 7),
        (incidence.to_columns, table.T, 5),
    ):
        x = torch.randn(count, 6, requires_grad=True)
        weights = torch.randn(len(matrix), 6)
        torch.testing.assert_close(product(x), matrix @ x)
        ours, right = (
            torch.autograd.grad((made * weights).sum(), x)[0] for made in (product(x), matrix @ x)
        )
        torch.testing.assert_close(ours, right)


def test_a_layer_is_the_paper_s_formula():
    graph, net = random_graph(1), networks()["gcn"]
    n, r = len(graph.columns), len(graph.rows)
    whole = torch.eye(n + r)
    whole[n:, :n], whole[:n, n:] = dense(graph), dense(graph).T
    known = torch.cat([net.enter_columns(graph.columns), net.enter_rows(graph.rows)])
    for layer, norm in zip(net.layers, net.norms, strict=True):
        known = torch.cat([norm(whole @ layer(known)), known], dim=1)
    torch.testing.assert_close(net(graph), known[:n])
    assert net.out_width == known.shape[1] == 8 * 4


def test_a_half_pass_sums_messages_over_edges():
    graph, net = random_graph(2), networks()["half"]
    half = net.up
    here, there = torch.randn(5, 8), torch.randn(7, 8)
    total = torch.zeros(5, 8)
    for k in range(len(graph.edges)):
        row, column = graph.edge_rows[k], graph.edge_columns[k]
        joined = half.from_left(here[row]) + half.from_right(there[column])
        joined = joined + half.from_edge(graph.edges[k : k + 1])
        total[row] += half.message(torch.relu(half.before(joined)))
    right = half.out(torch.cat([half.after(total), here], dim=1))
    made = half(here, there, graph.edge_rows, graph.edge_columns, graph.edges)
    torch.testing.assert_close(made, right)


@NAMES
def test_what_is_known_of_a_column_does_not_depend_on_the_order_of_anything(name):
    graph, net = random_graph(3), networks()[name]
    columns, rows = torch.randperm(7), torch.randperm(5)
    place, row_place = torch.argsort(columns), torch.argsort(rows)
    edge_rows, edge_columns = row_place[graph.edge_rows], place[graph.edge_columns]
    order = torch.argsort(edge_rows * 7 + edge_columns)
    turned = Bipartite(
        columns=graph.columns[columns],
        rows=graph.rows[rows],
        edge_rows=edge_rows[order],
        edge_columns=edge_columns[order],
        edges=graph.edges[order],
    )
    torch.testing.assert_close(net(turned), net(graph)[columns])


@NAMES
def test_graphs_side_by_side_do_not_see_each_other(name):
    graphs, net = [random_graph(4), random_graph(5, columns=3, rows=4, edges=6)], networks()[name]
    together = net(join(graphs))
    torch.testing.assert_close(together, torch.cat([net(graph) for graph in graphs]))


@NAMES
def test_a_graph_without_rows_is_no_fault(name):
    net = networks()[name]
    empty = torch.zeros(0, dtype=torch.int64)
    graph = Bipartite(
        columns=torch.randn(3, 4), rows=torch.zeros(0, 3), edge_rows=empty, edge_columns=empty,
        edges=torch.zeros(0),
    )  # fmt: skip
    assert net(graph).shape == (3, net.out_width)


@NAMES
def test_all_parameters_learn(name):
    net = networks()[name]
    net(random_graph(6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_fixed_normalisation_gives_mean_zero_and_spread_one_and_leaves_constants():
    norm = PreNorm(2)
    values = torch.stack([torch.randn(100) * 5 + 3, torch.full((100,), 7.0)], dim=1)
    norm.measure(values)
    made = norm(values)
    torch.testing.assert_close(made.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(made[:, 0].std(unbiased=False), torch.tensor(1.0))
    assert (made[:, 1] == 0).all()
    assert not list(norm.parameters())
    assert set(norm.state_dict()) == {"shift", "scale"}
