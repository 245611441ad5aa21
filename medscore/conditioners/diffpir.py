r"""Plug-and-play image restoration by half-quadratic splitting, DiffPIR (Zhu et al. 2023, Alg. 1).

The denoised image D is made consistent with the measurements,

.. math:: D' = \arg\min_x \|y - A x\|^2 + \rho_t \|x - D\|^2, \qquad
          \rho_t = \lambda\, \sigma_y^2 / \tilde\sigma^2, \quad \tilde\sigma = \sigma / \alpha.

For noise-free data rho_t = 0, and D' is the image closest to D that fits the measurements. A share
zeta of the noise in the sampler's state is then replaced by fresh noise,

.. math:: x_s \leftarrow \alpha(s) D' + \sqrt{1 - \zeta}\,(x_s - \alpha(s) D')
          + \sqrt\zeta\,\sigma(s) z.

With DDIM and eta = 0 this is the algorithm of the paper. With zeta = 1 only D' is carried over:
every level denoises and fits a freshly noised image, so errors of one level do not propagate to the
next. The samples then have less variance than the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, Refined, Seen, corrected
from medscore.operators.base import Operator
from medscore.parameters import Count, NonNegative, Positive, Share
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise

LOOSE, CLOSE = 0.3, 0.05
"""Relative residual of the least-squares problem at which its iteration ends, for noisy and for
noise-free data. What is left of the former is small beside the noise of the data and the fresh
noise of the next state (benchmarks/consistency.py)."""


@final
@dataclass(frozen=True)
class DiffPIR(Conditioner):
    """Half-quadratic splitting; it needs conjugate gradients, but no further evaluations.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
        trust: weight lambda of the denoised image for noisy data, sigma~^2 divided by its assumed
            error variance.
        zeta: share of the noise that is replaced by fresh noise at each step.
        iterations: largest number of conjugate-gradient steps; twice as many for noisy data.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative = 0.0
    trust: Positive = 0.5
    zeta: Share = 1.0
    iterations: Count = 10

    def prior(self, prior: Prior) -> Prior:
        return Refined(prior, lambda denoised, x, t: self.fit(denoised, prior.sde.ratio(t)))

    def sampler(self, sampler: Sampler) -> Sampler:
        return corrected(sampler, self.correct)

    def correct(self, prior: Prior, seen: Seen, x_s: State, s: Times, noise: Noise) -> State:
        """The state after a step, with a share of its noise replaced.

        Args:
            prior: the score model.
            seen: first evaluation of the step.
            x_s: the state at time s, (batch, channel, ...).
            s: times, (batch,).
            noise: draws white noise in the shape of its argument.
        """
        _, _, denoised = seen
        clean = expand(prior.sde.alpha(s), x_s) * denoised
        fresh = self.zeta**0.5 * expand(prior.sde.sigma(s), x_s) * noise(x_s)
        mixed: State = clean + (1 - self.zeta) ** 0.5 * (x_s - clean) + fresh
        return mixed

    def fit(self, denoised: State, ratio: Times) -> State:
        """The data-consistent image D'.

        Args:
            denoised: denoised image D, (batch, channel, ...).
            ratio: noise-to-signal ratios sigma~, (batch,).
        """
        if self.noise_std == 0:
            return self.operator.data_consistency(
                denoised, self.y, 1.0, iterations=self.iterations, tol=CLOSE
            )
        rho = self.trust * self.noise_std**2 / ratio**2
        return self.operator.tikhonov(
            denoised, self.y, rho, iterations=2 * self.iterations, tol=LOOSE
        )
