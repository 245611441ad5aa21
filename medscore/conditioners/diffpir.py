r"""Plug-and-play restoration by half-quadratic splitting, DiffPIR (Zhu et al. 2023, Eq. 13).

.. math:: D' = \arg\min_x \|y - A x\|^2 + \rho_t \|x - D\|^2, \qquad
          \rho_t = \lambda\, \sigma_y^2 / \tilde\sigma^2, \quad \tilde\sigma = \sigma / \alpha,

solved to convergence; the sampler's noise direction then follows from D' (:class:`Refined`).
Noise-free, rho_t = 0. Said otherwise, the denoised image is taken to be wrong by white noise of
variance sigma~^2 / lambda, and D' is the mean once y has been seen. With DDIM of eta =
sqrt(zeta) it is nearly the paper's loop, which mixes the noise a little differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, Refined
from medscore.operators.base import Operator
from medscore.prior import Prior
from medscore.types import State, Times


@final
@dataclass(frozen=True)
class DiffPIR(Conditioner):
    """No cost beyond the sampler's evaluations and the conjugate gradients.

    Args:
        operator: A on images in the prior's range. y: measurements, full grid, one per sample.
        noise_std: sigma_y, of each measured number.
        trust: lambda, how much less than sigma~^2 the denoised image is wrong.
        iterations: the most conjugate gradients may take.
    """

    operator: Operator
    y: Tensor
    noise_std: float = 0.0
    trust: float = 8.0
    iterations: int = 20

    def __post_init__(self) -> None:
        if not self.noise_std >= 0 or not self.trust > 0:
            raise ValueError(
                f"noise_std {self.noise_std} >= 0 and trust {self.trust} > 0 are needed"
            )

    def prior(self, prior: Prior) -> Prior:
        def refine(denoised: State, x: State, t: Times) -> State:
            if self.noise_std == 0:
                return self.operator.consistent(denoised, self.y, 1.0, iterations=self.iterations)
            rho = self.trust * self.noise_std**2 / prior.sde.ratio(t) ** 2
            return self.operator.damped_step(denoised, self.y, rho, iterations=self.iterations)

        return Refined(prior, refine)
