r"""Volumes by a prior of slices and total variation across them (DiffusionMBIR, Chung et al. 2023b;
DDS, Chung, Lee and Ye 2024).

The slices' prior knows nothing of their neighbours; a total variation along z ties them together.
The denoised volume D becomes

.. math:: D' = \arg\min_x \tfrac12 \|y - A x\|^2 / |A|^2 + \tfrac\gamma2 \|x - D\|^2
               + \mathrm{weight}\,\|\nabla_z x\|_1,

by ``sweeps`` of the alternating direction method of multipliers with penalty rho, from scratch at
every step:

.. math:: x \leftarrow \arg\min \ldots + \tfrac\rho2 \|\nabla_z x - v + u\|^2, \quad
          v \leftarrow \mathrm{soft}(\nabla_z x + u, \mathrm{weight} / \rho), \quad
          u \leftarrow u + \nabla_z x - v.

What lies beyond the first and the last slice is a repetition of them, or nothing; the volume is
never closed to a ring. Use with :class:`~medscore.priors.slicewise.Slicewise` and
:class:`~medscore.operators.wrappers.stack.Stack`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner, Refined
from medscore.operators.base import Operator
from medscore.operators.linalg import conjugate_gradients
from medscore.parameters import Count, NonNegative, Positive
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times


@dataclass(frozen=True)
class Boundary:
    """Differences along the third axis, and their adjoint."""

    differences: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]


def _between(x: Tensor) -> Tensor:
    return x[:, :, 1:] - x[:, :, :-1]


def _between_adjoint(v: Tensor) -> Tensor:
    return -_zero_beyond(v)


def _zero_beyond(x: Tensor) -> Tensor:
    nothing = torch.zeros_like(x[:, :, :1])
    return torch.cat([x, nothing], 2) - torch.cat([nothing, x], 2)


REPEATED = Boundary(_between, _between_adjoint)
"""The end slices go on: Z - 1 differences."""

NOTHING = Boundary(_zero_beyond, lambda v: -_between(v))
"""Zero beyond the end slices: Z + 1 differences."""


@final
@dataclass(frozen=True)
class VolumeTV(Conditioner):
    """Total variation between slices; no cost beyond the evaluations and conjugate gradients.

    Args:
        operator: A, acting on volumes (batch, channel, Z, H, W) in the prior's range.
        y: measurements on the full grid, one per volume.
        weight: weight of the total variation between slices.
        gamma: weight of the distance to the denoised volume.
        rho: penalty of the alternating direction method of multipliers (ADMM).
        sweeps: number of ADMM iterations.
        iterations: number of conjugate-gradient steps in each.
        boundary: what lies beyond the first and the last slice.
    """

    operator: Operator
    y: Tensor
    weight: NonNegative = 0.001
    gamma: Positive = 0.01
    rho: Positive = 0.1
    sweeps: Count = 3
    iterations: Count = 5
    boundary: Boundary = REPEATED

    @cached_property
    def size(self) -> Tensor:
        """|A|^2 of each volume."""
        return self.operator.norm_squared(self.y)

    def prior(self, prior: Prior) -> Prior:
        return Refined(prior, lambda denoised, x, t: self.solve(denoised, t))

    def solve(self, denoised: State, t: Times) -> State:
        """D' of D; the same at every time ``t``."""
        a, grad, grad_adjoint = self.operator, self.boundary.differences, self.boundary.adjoint
        share = expand(1 / self.size, denoised)
        x, v = denoised, grad(denoised)
        u = torch.zeros_like(v)

        def normal(x: State) -> State:
            smooth = self.gamma * x + self.rho * grad_adjoint(grad(x))
            return share * a.adjoint(a.forward(x)) + smooth

        fixed = share * a.adjoint(a.mask(self.y) * self.y) + self.gamma * denoised
        for _ in range(self.sweeps):
            right = fixed + self.rho * grad_adjoint(v - u)
            x = x + conjugate_gradients(
                normal, right - normal(x), tol=1e-4, max_iter=self.iterations
            )
            wanted = grad(x) + u
            v = torch.sign(wanted) * (wanted.abs() - self.weight / self.rho).clamp_min(0)
            u = wanted - v
        return x
