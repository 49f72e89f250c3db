"""Message passing on bipartite graphs of columns and rows, in plain torch (rooms diving, lns).

Shapes: n columns, r rows, e edges, W width. Several graphs side by side are one graph whose edges
do not meet; `join` makes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.parts.nn.linear import linear


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bipartite:
    """A bipartite graph with features and one value an edge."""

    columns: Tensor
    """[n, C]."""
    rows: Tensor
    """[r, R]."""
    edge_rows: Tensor
    """[e], ascending, int64."""
    edge_columns: Tensor
    """[e], int64."""
    edges: Tensor
    """[e]."""

    def to(self, device: torch.device | str) -> Bipartite:
        """Return the graph on a device."""
        return Bipartite(
            columns=self.columns.to(device),
            rows=self.rows.to(device),
            edge_rows=self.edge_rows.to(device),
            edge_columns=self.edge_columns.to(device),
            edges=self.edges.to(device),
        )


def join(graphs: Sequence[Bipartite]) -> Bipartite:
    """Return graphs as one; columns and rows follow one another in the order given."""
    columns, rows, edge_columns, edge_rows = 0, 0, [], []
    for graph in graphs:
        edge_columns.append(graph.edge_columns + columns)
        edge_rows.append(graph.edge_rows + rows)
        columns += len(graph.columns)
        rows += len(graph.rows)
    return Bipartite(
        columns=torch.cat([graph.columns for graph in graphs]),
        rows=torch.cat([graph.rows for graph in graphs]),
        edge_rows=torch.cat(edge_rows),
        edge_columns=torch.cat(edge_columns),
        edges=torch.cat([graph.edges for graph in graphs]),
    )


# Sparse products


class Incidence:
    """The matrix of a graph's edges, [r, n], and its transpose, ready for products."""

    def __init__(self, graph: Bipartite) -> None:
        r, n = len(graph.rows), len(graph.columns)
        self.table = _compressed(graph.edge_rows, graph.edge_columns, graph.edges, (r, n))
        order = torch.argsort(graph.edge_columns, stable=True)
        self.turned = _compressed(
            graph.edge_columns[order], graph.edge_rows[order], graph.edges[order], (n, r)
        )

    def to_rows(self, columns: Tensor) -> Tensor:
        """Return A x for x of shape [n, W]."""
        product: Tensor = _product(columns, self.table, self.turned)
        return product

    def to_columns(self, rows: Tensor) -> Tensor:
        """Return A'x for x of shape [r, W]."""
        product: Tensor = _product(rows, self.turned, self.table)
        return product


def _compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a sparse matrix from entries sorted by row."""
    counts = torch.bincount(rows, minlength=shape[0])
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    with warnings.catch_warnings():
        # Said of every such matrix; the one product used here is settled.
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, columns, values, size=shape, check_invariants=False)


class _Product(torch.autograd.Function):
    """A fixed sparse matrix times a dense one; the gradient is a product with the transpose."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, table: Tensor, turned: Tensor) -> Tensor:
        ctx.turned = turned
        return table @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.turned @ gradients[0], None, None


_product: Any = _Product.apply


# Networks


def _affine(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Build a linear map with a bias, drawn as torch draws it but from a given generator."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    for parameter in (layer.weight, layer.bias):
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer


def _perceptron(width: int, hidden: int, out: int, generator: torch.Generator) -> nn.Sequential:
    return nn.Sequential(
        _affine(width, hidden, generator), nn.ReLU(), _affine(hidden, out, generator)
    )


class BipartiteGCN(nn.Module):
    """Graph convolutions with the coefficients as adjacency (Nair et al. 2020, section 4).

    Z(l+1) = norm(A g_l(Z(0), .., Z(l))): each layer sees all earlier ones; A has the coefficients
    between columns and rows and ones on its diagonal. Coefficients must be scaled by their rows,
    as `features.encode` does; raw ones span too many orders of magnitude.

    Args:
        columns: features of a column.
        rows: features of a row.
        width: of every layer.
        depth: number of layers.
        generator: of the first values.
    """

    def __init__(
        self,
        *,
        columns: int,
        rows: int,
        generator: torch.Generator,
        width: int = 64,
        depth: int = 4,
    ) -> None:
        super().__init__()
        self.enter_columns = _affine(columns, width, generator)
        self.enter_rows = _affine(rows, width, generator)
        self.layers = nn.ModuleList(
            _perceptron(width * (layer + 1), width, width, generator) for layer in range(depth)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.out_width = width * (depth + 1)

    def forward(self, graph: Bipartite, incidence: Incidence | None = None) -> Tensor:
        """Return what is known of each column, [n, width * (depth + 1)]."""
        incidence = incidence or Incidence(graph)
        n = len(graph.columns)
        known = torch.cat([self.enter_columns(graph.columns), self.enter_rows(graph.rows)])
        for layer, norm in zip(self.layers, self.norms, strict=True):
            told = layer(known)
            columns, rows = told[:n], told[n:]
            mixed = torch.cat([
                columns + incidence.to_columns(rows), rows + incidence.to_rows(columns)
            ])  # fmt: skip
            known = torch.cat([norm(mixed), known], dim=1)
        return known[:n]


class PreNorm(nn.Module):
    """Shift and scale that are measured once on data and then fixed (Gasse et al. 2019)."""

    shift: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def measure(self, values: Tensor) -> None:
        """Take mean and spread of values, [.., width]; constant ones keep their scale."""
        flat = values.reshape(-1, values.shape[-1])
        spread = flat.std(dim=0, unbiased=False)
        self.shift.copy_(-flat.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-8, 1 / spread.clamp(min=1e-8), 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """Return (values + shift) * scale."""
        moved: Tensor = (values + self.shift) * self.scale
        return moved


class _Half(nn.Module):
    """Messages along edges to one side of the graph."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.from_left = _affine(width, width, generator)
        self.from_right = _affine(width, width, generator)
        self.from_edge = linear(1, width, generator=generator)
        self.before, self.after = PreNorm(width), PreNorm(width)
        self.message = _affine(width, width, generator)
        self.out = _perceptron(2 * width, width, width, generator)

    def forward(
        self, here: Tensor, there: Tensor, at: Tensor, other: Tensor, edges: Tensor
    ) -> Tensor:
        """Return new embeddings of `here`; edge k goes from `there[other[k]]` to `here[at[k]]`."""
        joined = self.from_left(here)[at] + self.from_right(there)[other]
        joined = joined + self.from_edge(edges[:, None])
        message = self.message(torch.relu(self.before(joined)))
        total = torch.zeros_like(here).index_add(0, at, message)
        known: Tensor = self.out(torch.cat([self.after(total), here], dim=1))
        return known


class HalfConvolution(nn.Module):
    """One pass from columns to rows and one back (Gasse et al. 2019, section 4.2).

    Call `measure` once with a typical graph before training: it fixes the normalisations.

    Args:
        columns: features of a column.
        rows: features of a row.
        width: of every embedding.
        generator: of the first values.
    """

    def __init__(
        self, *, columns: int, rows: int, generator: torch.Generator, width: int = 64
    ) -> None:
        super().__init__()
        self.column_norm, self.row_norm, self.edge_norm = (
            PreNorm(columns),
            PreNorm(rows),
            PreNorm(1),
        )
        self.enter_columns = nn.Sequential(_perceptron(columns, width, width, generator), nn.ReLU())
        self.enter_rows = nn.Sequential(_perceptron(rows, width, width, generator), nn.ReLU())
        self.up, self.down = _Half(width, generator), _Half(width, generator)
        self.out_width = width

    def measure(self, graph: Bipartite) -> None:
        """Fix all normalisations by one pass over a graph."""
        self.column_norm.measure(graph.columns)
        self.row_norm.measure(graph.rows)
        self.edge_norm.measure(graph.edges[:, None])
        for half in (self.up, self.down):
            for norm in (half.before, half.after):
                norm.register_forward_pre_hook(_measure_first)
        with torch.no_grad():
            self(graph)
        for half in (self.up, self.down):
            for norm in (half.before, half.after):
                norm._forward_pre_hooks.clear()

    def forward(self, graph: Bipartite) -> Tensor:
        """Return an embedding of each column, [n, width]."""
        columns = self.enter_columns(self.column_norm(graph.columns))
        rows = self.enter_rows(self.row_norm(graph.rows))
        edges = self.edge_norm(graph.edges[:, None])[:, 0]
        rows = torch.relu(self.up(rows, columns, graph.edge_rows, graph.edge_columns, edges))
        known: Tensor = self.down(columns, rows, graph.edge_columns, graph.edge_rows, edges)
        return torch.relu(known)


def _measure_first(norm: nn.Module, values: tuple[Tensor, ...]) -> None:
    assert isinstance(norm, PreNorm)
    norm.measure(values[0])
