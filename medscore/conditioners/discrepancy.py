r"""The discrepancy principle (Morozov 1966): fit measurements as far as their noise, no further.

:class:`Discrepancy` is the proximal step of :mod:`~medscore.conditioners.proximal` with the
strength that the data themselves give for each sample and step,

.. math:: \lambda = 1 - \min\Bigl(1,
          \frac{\alpha(t)\,\sigma_y \sqrt m}{\|\hat y_t - A \hat x_t\|}\Bigr),

m the number of measured numbers: after it the state is as far from y_t as the noise in y alone
would put it. At high noise lambda is near 1, and it falls to 0 for a state that fits.
:func:`tolerance` stops the final exact step at the same distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner, before
from medscore.operators.base import Operator, norm
from medscore.parameters import NonNegative
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class Discrepancy(Conditioner):
    """Proximal steps for noisy data, with the strength of the discrepancy principle.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y > 0 of each measured number, of real and imaginary
            part each.

    Raises:
        ValueError: the data have no noise.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noise_std > 0:
            raise ValueError(f"`noise_std` is {self.noise_std}; noise-free data need Proximal")

    def sampler(self, sampler: Sampler) -> Sampler:
        return before(sampler, self.project)

    def project(self, prior: Prior, x: State, t: Times, noise: Noise) -> State:
        """A proximal step of the strength above."""
        alpha, sigma = prior.sde.alpha(t), prior.sde.sigma(t)
        z = self.operator.forward(noise(x))
        y_t = expand(alpha, self.y) * self.y + expand(sigma, z) * z
        gap = norm(y_t - self.operator.forward(x))
        expected = alpha * self.noise_std * measured_numbers(self.operator, self.y).sqrt()
        lam = 1 - torch.clamp_max(expected / gap.clamp_min(1e-30), 1.0)
        return x + expand(lam, x) * (self.operator.data_consistency(x, y_t, 1.0) - x)


def measured_numbers(operator: Operator, y: Tensor) -> Tensor:
    """m of each sample, (batch,): real numbers measured, two for a complex one."""
    count = operator.mask(y).expand(y.shape).flatten(1).sum(1)
    return 2 * count if y.is_complex() else count


def tolerance(operator: Operator, y: Tensor, noise_std: float) -> Tensor:
    """The relative residual |y - A x| / |y| that the noise accounts for, (batch,): for
    ``Operator.project_exact``, which leaves an image alone that is no farther.
    """
    expected = noise_std * measured_numbers(operator, y).sqrt()
    return expected / norm(y).clamp_min(1e-30)
