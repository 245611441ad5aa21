r"""Total variation between the slices of a denoised volume.

A 2-D prior times a Laplace distribution of the differences of neighbouring slices,
:math:`p(x) \propto \prod_i p(x_i) \exp(-\lambda |\nabla_z x|_1)`, couples slices that the 2-D prior
leaves independent. Its denoiser at the noise-to-signal ratio sigma~ is approximated by

.. math:: D' = \arg\min_u \tfrac12 \|u - D\|^2 + \lambda \tilde\sigma^2 \|\nabla_z u\|_1, \qquad
          \lambda = \mathrm{strength} / \mathrm{mean} |\nabla_z D|,

where D are the slices denoised one by one. The reciprocal of the mean is the maximum-likelihood
estimate of the rate of the Laplace distribution, so volumes of thick slices, whose neighbours
differ, are coupled less than those of thin slices. Chung et al. (2023b) proposed a 2-D prior with
total variation across slices, with a weight that is the same for all volumes and noise levels
(:mod:`medscore.conditioners.volume_tv`).

The minimum is computed on the dual problem, D' = D - G^T p with :math:`|p| \le w`, by accelerated
projected gradients (Beck and Teboulle 2009), some rows of all slices at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from medscore.parameters import Count, NamedParameters, NonNegative, check_fields
from medscore.priors.across import WHOLE, Denoised
from medscore.priors.base import Prior

AT_A_TIME = 2**22
"""Number of voxels that are coupled at a time, which bounds the memory."""


@final
@dataclass(frozen=True)
class SliceTV(NamedParameters):
    """Total variation between neighbouring slices.

    Args:
        strength: weight lambda times the mean difference of neighbouring slices.
        iterations: number of iterations on the dual problem.
    """

    evaluations_of_a_call: ClassVar[int] = 1
    record: ClassVar[dict[str, str]] = {}

    strength: NonNegative = 0.15
    iterations: Count = 40

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            MedscoreError: a setting outside the type or range of its annotation.
        """
        check_fields(self)

    def placed(self, prior: Prior, voxel_mm: tuple[float, float]) -> SliceTV:
        """The same rule, which is that of all priors and volumes.

        Args:
            prior: prior of the slices.
            voxel_mm: distance of the slices, and pixel size.
        """
        return self

    def couple(self, denoised: Denoised, part: slice = WHOLE) -> Tensor:
        """The slices of the coupled volume D'.

        Differences between slices with scales of their own are taken between values times units
        over their mean.

        Args:
            denoised: the slices D that were denoised one by one.
            part: the slices that are wanted.
        """
        x, units = denoised.slices, denoised.units
        if x.shape[-3] == 1:
            return x[:, :, part]
        scales = None if units is None else (units / units.mean()).reshape(-1, 1, 1)
        rows = max(1, AT_A_TIME * x.shape[-2] // x.numel())
        some = x.split(rows, -2)
        total = sum(float(_jumps(each, scales).sum(dtype=torch.float64)) for each in some)
        if total == 0:
            return x[:, :, part]
        jump = total / (x.numel() - x[..., :1, :, :].numel())
        weight = self.strength / jump * denoised.ratio**2
        coupled = [tv_between_slices(each, weight, self.iterations, scales) for each in some]
        return torch.cat(coupled, -2)[:, :, part]


def tv_between_slices(
    x: Tensor, weight: float, iterations: int, scales: Tensor | None = None
) -> Tensor:
    r"""The minimum of :math:`\tfrac12 \|u - x\|^2 + w \sum_i |c_{i+1} u_{i+1} - c_i u_i|_1`.

    Args:
        x: volumes, (..., Z, H, W).
        weight: the weight w.
        iterations: number of iterations.
        scales: scales c of the slices, (Z, 1, 1); 1 by default.
    """
    c = 1.0 if scales is None else scales.to(x)
    step = 1 / (4 * float(torch.as_tensor(c).square().max()))
    p = ahead = torch.zeros_like(x[..., 1:, :, :])
    momentum = 1.0
    for _ in range(iterations):
        inside = (ahead + step * _between(c * (x - c * _adjoint(ahead)))).clamp_(-weight, weight)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = inside + (momentum - 1) / following * (inside - p)
        p, momentum = inside, following
    return x - c * _adjoint(p)


def _jumps(x: Tensor, scales: Tensor | None) -> Tensor:
    """Absolute differences of neighbouring slices in a common unit."""
    return _between(x if scales is None else scales.to(x) * x).abs()


def _between(x: Tensor) -> Tensor:
    """Differences of neighbouring slices, (..., Z - 1, H, W)."""
    return x[..., 1:, :, :] - x[..., :-1, :, :]


def _adjoint(p: Tensor) -> Tensor:
    """The adjoint of :func:`_between`."""
    shape = list(p.shape)
    shape[-3] += 1
    x = p.new_zeros(shape)
    x[..., 1:, :, :] += p
    x[..., :-1, :, :] -= p
    return x
