r"""Least squares with total variation, by FISTA (Rudin et al. 1992; Beck and Teboulle 2009b).

.. math:: \min_{x \ge 0} \tfrac12 \|y - A x\|^2 / |A|^2 + \mathrm{weight}\;TV(x), \qquad
          TV(x) = \sum_i \sqrt{|\partial_\downarrow x_i|^2 + |\partial_\to x_i|^2},

over real images, or over complex images without the bound. In volumes that are scanned whole, and
with ``across_slices`` in all volumes, the differences between slices count too, with voxels taken
as cubes. The proximal map of TV with the bound is computed from its dual, with the projection P
onto the bound and a field p of vectors with at most unit length,

.. math:: x = P(v - w \nabla^T p), \qquad p \leftarrow p + \nabla P(v - w \nabla^T p) / (8 w),
          \quad p_i \leftarrow p_i / \max(1, |p_i|),

with 12 instead of 8 for volumes, four times the number of axes.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.fista import STEP, fista

VOLUME_AXES = 5
"""Number of axes (batch, channel, Z, H, W) of volumes."""


class FISTATV(Baseline):
    """Isotropic total variation, for all measurements.

    Attributes:
        kind: name of the baseline.
        weight: weight of the total variation, for images between 0 and about 1.
        iterations: largest number of FISTA iterations.
        inner: number of dual iterations per proximal map; each map starts from the previous dual.
        tolerance: relative change of a sample below which its iteration stops; 0 runs all
            iterations.
        across_slices: whether the differences between the slices of a volume count too.
    """

    kind: Literal["fista-tv"] = "fista-tv"
    weight: float = Field(default=1e-4, gt=0)
    iterations: int = Field(default=800, ge=1, le=100_000)
    inner: int = Field(default=15, ge=1, le=1000)
    tolerance: float = Field(default=0.0, ge=0)
    across_slices: bool = False

    @property
    def together(self) -> bool:
        return self.across_slices

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        prox = TVProx(STEP * self.weight, self.inner)
        return fista(operator, y, prox, iterations=self.iterations, tolerance=self.tolerance)


class TVProx:
    """The proximal map of total variation, by accelerated projected gradient steps on the dual.

    It minimises 1/2 |x - v|^2 + weight TV(x) over x >= low, or over complex x, for images v
    (batch, channel, H, W), or volumes (batch, channel, Z, H, W).

    Args:
        weight: weight of the total variation.
        steps: number of dual iterations; each call starts from the dual of the previous one.
        low: lower bound of real images.
    """

    def __init__(self, weight: float, steps: int, low: float = 0.0) -> None:
        self.weight, self.steps, self.low = weight, steps, low
        self.dual: Tensor | None = None

    def __call__(self, v: Tensor) -> Tensor:
        p = torch.zeros_like(differences(v)) if self.dual is None else self.dual
        q, t, size = p, 1.0, 4 * len(p) * self.weight
        for _ in range(self.steps):
            moved = q + differences(self.primal(v, q)) / size
            last, p = p, moved / length(moved).clamp_min(1.0)
            following = (1 + (1 + 4 * t**2) ** 0.5) / 2
            q, t = p + (t - 1) / following * (p - last), following
        self.dual = p
        return self.primal(v, p)

    def primal(self, v: Tensor, p: Tensor) -> Tensor:
        """The primal image of a dual field.

        Args:
            v: images to which the map is applied.
            p: dual field, (2 or 3, *v.shape).
        """
        x = v - self.weight * differences_adjoint(p)
        return x if x.is_complex() else x.clamp_min(self.low)


def total_variation(x: Tensor) -> Tensor:
    """Isotropic total variation of each sample, (batch,).

    Args:
        x: images (batch, channel, H, W), or volumes (batch, channel, Z, H, W).
    """
    return length(differences(x)).flatten(1).sum(1)


def length(p: Tensor) -> Tensor:
    """The lengths of the vectors of a field.

    Args:
        p: a field, (2 or 3, ...), real or complex.
    """
    return (p.abs() if p.is_complex() else p).square().sum(0).sqrt()


def differences(x: Tensor) -> Tensor:
    """Forward differences down and to the right, which are 0 at the far edges; of volumes also
    from slice to slice.

    Args:
        x: images (..., H, W), or volumes (batch, channel, Z, H, W).

    Returns:
        A field (2, ..., H, W), or (3, batch, channel, Z, H, W).
    """
    axes = 3 if x.ndim == VOLUME_AXES else 2
    p = x.new_zeros(axes, *x.shape)
    for k, axis in enumerate(range(-axes, 0)):
        n = x.shape[axis] - 1
        torch.sub(x.narrow(axis, 1, n), x.narrow(axis, 0, n), out=p[k].narrow(axis, 0, n))
    return p


def differences_adjoint(p: Tensor) -> Tensor:
    """The adjoint of :func:`differences`.

    Args:
        p: a field, as :func:`differences` returns it.
    """
    x = torch.zeros_like(p[0])
    for k, axis in enumerate(range(-len(p), 0)):
        n = x.shape[axis] - 1
        x.narrow(axis, 0, n).sub_(p[k].narrow(axis, 0, n))
        x.narrow(axis, 1, n).add_(p[k].narrow(axis, 0, n))
    return x
