r"""Proximal steps by the discrepancy principle: fit the data to their noise level (Morozov 1966).

:class:`Discrepancy` is the proximal step of :mod:`~medscore.conditioners.proximal` with a strength
that is determined by the data for each sample and step,

.. math:: \lambda = 1 - \min\Bigl(1,
          \frac{\alpha(t)\,\sigma_y \sqrt m}{\|\hat y_t - A \hat x_t\|}\Bigr),

where m is the number of measured values. After the step, the residual of the state equals the one
that the noise in y would cause. At high noise lambda is close to 1; it is 0 for a state that fits
the data. :func:`tolerance` is the corresponding tolerance of the final data-consistency step.
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
        noise_std: standard deviation sigma_y > 0 of each measured number, of the real and the
            imaginary part each.

    Raises:
        ValueError: ``noise_std`` is 0.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noise_std > 0:
            raise ValueError(f"`noise_std` is {self.noise_std}; use Proximal for noise-free data")

    def sampler(self, sampler: Sampler) -> Sampler:
        return before(sampler, self.project)

    def project(self, prior: Prior, x: State, t: Times, noise: Noise) -> State:
        """The state after a proximal step with the strength lambda.

        Args:
            prior: the score model.
            x: the state at time t, (batch, channel, ...).
            t: times, (batch,).
            noise: draws white noise in the shape of its argument.
        """
        alpha, sigma = prior.sde.alpha(t), prior.sde.sigma(t)
        z = self.operator.forward(noise(x))
        y_t = expand(alpha, self.y) * self.y + expand(sigma, z) * z
        gap = norm(y_t - self.operator.forward(x))
        expected = alpha * self.noise_std * measured_numbers(self.operator, self.y).sqrt()
        lam = 1 - torch.clamp_max(expected / gap.clamp_min(1e-30), 1.0)
        return x + expand(lam, x) * (self.operator.data_consistency(x, y_t, 1.0) - x)


def measured_numbers(operator: Operator, y: Tensor) -> Tensor:
    """The number m of measured real values for each sample, (batch,); a complex value counts twice.

    Args:
        operator: A of the batch.
        y: measurements on the full grid, one per sample.
    """
    count = operator.mask(y).expand(y.shape).flatten(1).sum(1)
    return 2 * count if y.is_complex() else count


def tolerance(operator: Operator, y: Tensor, noise_std: float) -> Tensor:
    """The relative residual |y - A x| / |y| that the noise accounts for, (batch,).

    Args:
        operator: A of the batch.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation of each measured number.
    """
    expected = noise_std * measured_numbers(operator, y).sqrt()
    return expected / norm(y).clamp_min(1e-30)
