r"""Pseudo-inverse guidance, PiGDM (Song, Vahdat, Mardani and Kautz 2023, Eq. 7 and 8).

If x_0 given x_t is approximated by :math:`N(D(x_t), r_t^2 I)`, the measurements follow
:math:`N(A D, r_t^2 A A^H + \sigma_y^2 I)` and

.. math:: \nabla_{x_t} \log p_t(y | x_t) \approx
          \Bigl(\frac{\partial D}{\partial x_t}\Bigr)^T A^H
          (r_t^2 A A^H + \sigma_y^2 I)^{-1} (y - A D).

Here :math:`r_t^2 = \tilde\sigma^2 c / (\tilde\sigma^2 + c)` with sigma~ = sigma / alpha is the
posterior variance of white data of variance c given x_t, for which the guidance is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.operators.base import Operator
from medscore.parameters import Count, NonNegative, Positive
from medscore.priors.base import Prior
from medscore.priors.derivative import differentiable, pull_back
from medscore.sdes.base import expand
from medscore.types import State, Times


@final
@dataclass(frozen=True)
class PiGDM(Conditioner):
    """Pseudo-inverse guidance; one backward pass per evaluation.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
        variance: assumed variance c of the data in the prior's range.
        iterations: number of conjugate-gradient steps that approximate the inverse.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative = 0.0
    variance: Positive = 1.0
    iterations: Count = 8

    def prior(self, prior: Prior) -> Prior:
        return _PseudoInverse(prior, self)

    def step(self, denoised: State, r2: Times) -> State:
        """The step r_t^2 A^H (r_t^2 A A^H + sigma_y^2 I)^-1 (y - A D) in the image.

        Args:
            denoised: denoised image D, (batch, channel, ...).
            r2: variances r_t^2, (batch,).
        """
        if self.noise_std == 0:
            fitted = self.operator.data_consistency(
                denoised, self.y, 1.0, iterations=self.iterations
            )
        else:
            fitted = self.operator.tikhonov(
                denoised, self.y, self.noise_std**2 / r2, iterations=self.iterations
            )
        return fitted - denoised


@final
class _PseudoInverse(Prior):
    def __init__(self, inner: Prior, conditioner: PiGDM) -> None:
        self.inner, self.sde, self.conditioner = inner, inner.sde, conditioner

    def denoise(self, x: State, t: Times) -> State:
        c, ratio2 = self.conditioner, self.sde.ratio(t) ** 2
        r2 = ratio2 * c.variance / (ratio2 + c.variance)
        leaf, graph = differentiable(self.inner, x, t)
        denoised = graph.detach()
        guidance = pull_back(graph, leaf, c.step(denoised, r2))
        gain = self.sde.sigma(t) ** 2 / (self.sde.alpha(t) * r2)
        return denoised + expand(gain, x) * guidance
