"""Weighted least squares on a grid: ``min |t - initial|^2 + sum w (t_x - t_y)^2`` over neighbours x, y. NumPy only.

The system is solved by conjugate gradients. A multigrid cycle over ever coarser grids, whose cells are joined by the
sums of the weights between them, goes before each step: large even areas, which the weights hold together tightly,
would take thousands of steps otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]

_DAMPING = 0.8  # of Jacobi's steps
_ERROR = 3e-5  # root of the mean square, as the preconditioned residual has it, at which the solution is taken
_MOST_STEPS = 200


@dataclass(frozen=True)
class _Grid:
    """The system of one grid: ``mass`` (h, w) on its diagonal, and the weights between rows and between columns."""

    mass: Plane
    down: Plane
    across: Plane
    diagonal: Plane

    @classmethod
    def of(cls, mass: Plane, down: Plane, across: Plane) -> _Grid:
        diagonal = mass.copy()
        for part, weights in (
            (diagonal[:-1], down),
            (diagonal[1:], down),
            (diagonal[:, :-1], across),
            (diagonal[:, 1:], across),
        ):
            part += weights
        return cls(mass, down, across, diagonal)

    def times(self, x: Plane) -> Plane:
        product = self.mass * x
        flow = np.diff(x, axis=0) * self.down
        product[:-1] -= flow
        product[1:] += flow
        flow = np.diff(x, axis=1) * self.across
        product[:, :-1] -= flow
        product[:, 1:] += flow
        return product

    def coarser(self) -> _Grid:
        return _Grid.of(_joined(self.mass), _pairs(self.down[1::2], 1), _pairs(self.across[:, 1::2], 0))


def solve(initial: Plane, down: Plane, across: Plane) -> Plane:
    """The smoothed plane.

    Args:
        initial: ``(h, w)``.
        down, across: the weights between neighbours in a column ``(h - 1, w)`` and in a row ``(h, w - 1)``; not
            negative.
    """
    grids = [_Grid.of(np.ones_like(initial), down, across)]
    while max(grids[-1].mass.shape) > 2:
        grids.append(grids[-1].coarser())
    system = grids[0]
    x = initial.copy()
    residual = initial - system.times(x)
    step = corrected = _cycle(grids, residual)
    length = float((residual * corrected).sum())
    for _ in range(_MOST_STEPS):
        if length <= initial.size * _ERROR**2:
            break
        product = system.times(step)
        share = length / float((step * product).sum())
        x += share * step
        residual -= share * product
        corrected = _cycle(grids, residual)
        before, length = length, float((residual * corrected).sum())
        step = corrected + length / before * step
    return x


def _cycle(grids: list[_Grid], residual: Plane) -> Plane:
    """One V-cycle: an approximate solution for ``residual``, symmetric as conjugate gradients ask for."""
    grid = grids[0]
    x = _DAMPING * residual / grid.diagonal
    if len(grids) > 1:
        coarse = _cycle(grids[1:], _joined(residual - grid.times(x)))
        x += coarse.repeat(2, 0).repeat(2, 1)[: x.shape[0], : x.shape[1]]
    x += _DAMPING * (residual - grid.times(x)) / grid.diagonal
    return x


def _joined(plane: Plane) -> Plane:
    """Sums of 2 x 2, of fewer at the ends."""
    return _pairs(_pairs(plane, 0), 1)


def _pairs(plane: Plane, axis: int) -> Plane:
    if not plane.shape[axis] or not plane.size:
        return np.zeros([-(-n // 2) if a == axis else n for a, n in enumerate(plane.shape)])
    return np.add.reduceat(plane, np.arange(0, plane.shape[axis], 2), axis=axis)
