"""Many LPs that differ in their bounds alone, solved together and approximately.

All share cost and rows, so that the linear system of ADMM (Boyd et al. 2011; the splitting is
OSQP's, Stellato et al. 2020) is the same for all: it is factored once, and an iteration is a few
products of matrices for the whole batch. Two answers come out for each LP: an estimate of its
value, good for ranking, and a bound that is never above its value, whatever the iterations did.

The estimate is the Lagrangian c'w + y'(A w - z) at the last iterates. Their duals are normal to
bounds and sides by construction, so its error is of the size of the primal error times the dual
error; that of the plain objective c'w is of the size of the primal error. Ranks of candidates
come out right some four times sooner.

Shapes: n columns, m rows, B LPs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from tenfold.parts.mip.instance import Floats
from tenfold.parts.mip.lp_state import LpState

DENSE_ENTRIES = 20_000_000
"""Up to so many entries the rows are kept as a dense matrix."""
DENSE_SYSTEM = 6_000
"""Up to so many rows or columns, whichever are fewer, the system is factored densely."""
SIGMA = 1e-6
RELAXATION = 1.6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answers:
    """What is known of each LP of a batch, in units of the objective, [B]."""

    estimates: Floats
    """The LP's value, nearly; not below the bound."""
    bounds: Floats
    """Never above the LP's value; infinite if it was proved infeasible by the bounds alone, -inf
    if nothing could be said."""
    residuals: Floats
    """Largest distance of a row's activity from its sides, in units of the row's norm."""


class LpBatch:
    """LPs min cost'x with left <= A x <= right, prepared for batches of bounds.

    Args:
        state: cost, rows, and the solved LP to start from; its own bounds are not used.
        penalty: of the rows (rho): 1 suits ranking, 0.1 bounds.
        device: where the products are done.
        dtype: of the iterations; bounds are always computed in float64.
    """

    def __init__(
        self,
        state: LpState,
        *,
        penalty: float = 1.0,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        m, n = state.shape
        table = sparse.csr_array((state.entries, state.columns, state.starts), shape=(m, n))
        norms = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
        # Rows without sides or columns bind nothing.
        kept = np.flatnonzero((np.isfinite(state.left) | np.isfinite(state.right)) & (norms > 0))
        scale = 1 / norms[kept]
        self._table = sparse.csr_array(sparse.diags_array(scale) @ table[kept])
        self._left, self._right = state.left[kept] * scale, state.right[kept] * scale
        self._unit = float(np.abs(state.cost).max(initial=0.0)) or 1.0
        self._cost = state.cost / self._unit
        self.penalty, self.device, self.dtype = penalty, torch.device(device), dtype
        self._rows = self._on_device(self._table)
        self._back = self._on_device(sparse.csr_array(self._table.T))
        self._solve = self._factor()
        self._begin = (state.value, -state.dual[kept] / scale / self._unit)

    def _put(self, array: Floats) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def _on_device(self, table: sparse.csr_array) -> Tensor:
        if table.shape[0] * table.shape[1] <= DENSE_ENTRIES:
            return self._put(table.toarray())
        table = table.sorted_indices()
        with warnings.catch_warnings():
            # Said of every such matrix; the products used here are settled.
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                torch.as_tensor(table.indptr, dtype=torch.int64),
                torch.as_tensor(table.indices, dtype=torch.int64),
                torch.as_tensor(table.data, dtype=self.dtype),
                size=table.shape,
                device=self.device,
                check_invariants=True,
            )

    def _factor(self) -> Callable[[Tensor], Tensor]:
        """Return the solver of ((sigma + rho) I + rho A'A) x = v for v of shape [n, B]."""
        m, n = self._table.shape
        both = SIGMA + self.penalty
        if min(m, n) > DENSE_SYSTEM:
            return self._factor_sparsely(both)
        # Woodbury: the smaller of two systems.
        if m <= n:
            inner = (self._table @ self._table.T).toarray() + both / self.penalty * np.eye(m)
            inverse = self._put(np.linalg.inv(inner))
            return lambda v: (v - self._back @ (inverse @ (self._rows @ v))) / both
        outer = both * np.eye(n) + self.penalty * (self._table.T @ self._table).toarray()
        whole = self._put(np.linalg.inv(outer))
        return lambda v: whole @ v

    def _factor_sparsely(self, both: float) -> Callable[[Tensor], Tensor]:
        n = self._table.shape[1]
        outer = both * sparse.eye_array(n) + self.penalty * (self._table.T @ self._table)
        factors = splu(sparse.csc_array(outer))

        def solve(v: Tensor) -> Tensor:
            return self._put(factors.solve(v.detach().cpu().double().numpy()))

        return solve

    def solve(self, lower: Floats, upper: Floats, *, iterations: int = 100) -> Answers:
        """Solve the LPs with these bounds.

        Args:
            lower: [n, B], -inf where unbounded.
            upper: [n, B].
            iterations: of ADMM, from the solved LP.

        Returns:
            An answer for each; LPs whose bounds cross are infeasible.
        """
        low, high = self._put(lower), self._put(upper)
        left, right = self._put(self._left)[:, None], self._put(self._right)[:, None]
        cost = self._put(self._cost)[:, None]
        count = lower.shape[1]
        value, dual = (self._put(v)[:, None].repeat(1, count) for v in self._begin)
        penalty = self.penalty
        x = value
        w = torch.minimum(torch.maximum(value, low), high)
        z = self._rows @ value
        y = dual
        v = -(cost + self._back @ y)
        for _ in range(iterations):
            x_new = self._solve(
                SIGMA * x - cost + self._back @ (penalty * z - y) + (penalty * w - v)
            )
            z_mid = RELAXATION * (self._rows @ x_new) + (1 - RELAXATION) * z
            w_mid = RELAXATION * x_new + (1 - RELAXATION) * w
            x = RELAXATION * x_new + (1 - RELAXATION) * x
            z = torch.minimum(torch.maximum(z_mid + y / penalty, left), right)
            w = torch.minimum(torch.maximum(w_mid + v / penalty, low), high)
            y = y + penalty * (z_mid - z)
            v = v + penalty * (w_mid - w)
        activity = self._rows @ w
        away = torch.maximum(left - activity, activity - right).clamp(min=0)
        residuals = away.amax(dim=0) if len(away) else torch.zeros(count)
        crossed = np.any(lower > upper, axis=0)
        # Differences of numbers that nearly agree are summed in double precision.
        lagrangian = (cost * w).double().sum(dim=0) + (y.double() * (activity - z)).sum(dim=0)
        bounds = self._unit * self.bound(lower, upper, y.double().cpu().numpy())
        estimates = np.maximum(self._unit * lagrangian.cpu().numpy(), bounds)
        return Answers(
            estimates=np.where(crossed, np.inf, estimates),
            bounds=np.where(crossed, np.inf, bounds),
            residuals=residuals.double().cpu().numpy(),
        )

    def bound(self, lower: Floats, upper: Floats, duals: Floats) -> Floats:
        """Return the safe bound for any duals of the scaled rows, [m, B]; in scaled cost, [B].

        sum_j min(r_j L_j, r_j U_j) - sum_i sup of Y_i z over the sides, with r = cost + A'Y, less
        what rounding could have added.
        """
        left, right = self._left[:, None], self._right[:, None]
        # A dual that would need an infinite side is as good as 0.
        y = np.where((duals > 0) & np.isinf(right) | (duals < 0) & np.isinf(left), 0.0, duals)
        y = np.where(np.isfinite(y), y, 0.0)
        sides = np.where(y > 0, right, left)
        row_terms = np.where(y == 0, 0.0, y * np.where(np.isfinite(sides), sides, 0.0))
        reduced = self._cost[:, None] + self._table.T @ y
        size = np.abs(self._cost)[:, None] + abs(self._table.T) @ np.abs(y)
        eps = np.finfo(np.float64).eps
        unsure = eps * (self._table.shape[0] + 2) * size
        # Near zero the sign is not known, so both ends count, unless that end is infinite.
        down, up = reduced - unsure, reduced + unsure
        with np.errstate(invalid="ignore"):
            ends = np.stack([_product(r, b) for r in (down, up) for b in (lower, upper)])
        column_terms = ends.min(axis=0)
        total = column_terms.sum(axis=0) - row_terms.sum(axis=0)
        spread = np.abs(np.where(np.isfinite(column_terms), column_terms, 0.0)).sum(axis=0)
        spread += np.abs(row_terms).sum(axis=0)
        loss = 2 * eps * (sum(self._table.shape) + 2) * spread
        return np.asarray(np.where(np.isfinite(total), total - loss, -np.inf))


def _product(slopes: Floats, ends: Floats) -> Floats:
    """Return slope times end, 0 where the slope is 0 even if the end is infinite."""
    return np.where(slopes == 0, 0.0, slopes * ends)
