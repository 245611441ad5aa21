r"""Plug-and-play restoration by half-quadratic splitting, DiffPIR (Zhu et al. 2023, Alg. 1).

The denoised image D is reconciled with the measurements,

.. math:: D' = \arg\min_x \|y - A x\|^2 + \rho_t \|x - D\|^2, \qquad
          \rho_t = \lambda\, \sigma_y^2 / \tilde\sigma^2, \quad \tilde\sigma = \sigma / \alpha,

(rho_t = 0 without noise: the image nearest to D that fits), and a share zeta of the noise that the
sampler leaves in its state is drawn afresh,

.. math:: x_s \leftarrow \alpha(s) D' + \sqrt{1 - \zeta}\,(x_s - \alpha(s) D')
          + \sqrt\zeta\,\sigma(s) z.

With DDIM of eta = 0 these are the paper's steps. zeta = 1 forgets all but D': the loop then
denoises and fits a freshly noised image at every level, and what one level got wrong the next does
not inherit. Its samples scatter less than the posterior.
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


@final
@dataclass(frozen=True)
class DiffPIR(Conditioner):
    """Half-quadratic splitting; no cost beyond the sampler's evaluations and conjugate gradients.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
        trust: lambda, the assumed variance of the denoiser's error relative to sigma~^2.
        zeta: share of the noise that is drawn afresh at each step.
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
        """The state after a step, a share of its noise drawn afresh."""
        _, _, denoised = seen
        clean = expand(prior.sde.alpha(s), x_s) * denoised
        fresh = self.zeta**0.5 * expand(prior.sde.sigma(s), x_s) * noise(x_s)
        mixed: State = clean + (1 - self.zeta) ** 0.5 * (x_s - clean) + fresh
        return mixed

    def fit(self, denoised: State, ratio: Times) -> State:
        """D' of D at noise-to-signal ``ratio``."""
        if self.noise_std == 0:
            return self.operator.data_consistency(denoised, self.y, 1.0, iterations=self.iterations)
        rho = self.trust * self.noise_std**2 / ratio**2
        return self.operator.tikhonov(denoised, self.y, rho, iterations=2 * self.iterations)
