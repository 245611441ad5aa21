r"""The thesis's method (Song et al. 2022, Alg. 8.2): a proximal step before every sampler step.

.. math:: \hat y_t = \alpha(t) y + \sigma(t) A z, \qquad
          \hat x'_t = T^{-1}[\lambda\Lambda \hat y_t + (1-\lambda)\Lambda T\hat x_t
                      + (I-\Lambda)T\hat x_t]

with z white in the image, so that the noise of :math:`\hat y_t` is that of a noisy image's
measurement. In predictor-corrector sampling it precedes the predictor and every corrector step
(B.6.4), and the score is taken at the projected point. Where T is not onto, the step is
:meth:`~medscore.operators.base.Operator.data_consistency`'s instead of the second formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, before
from medscore.operators.base import Operator
from medscore.parameters import NonNegative, Share
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class Proximal(Conditioner):
    """The dissertation's data consistency, applied before every sampler step.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        lam: strength lambda of Eq. 8.8; by default 1 for noise-free data and 0.5 otherwise.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
    """

    operator: Operator
    y: Tensor
    lam: Share | None = None
    noise_std: NonNegative = 0.0

    @property
    def strength(self) -> float:
        """lambda, chosen by the noise if it was not given."""
        if self.lam is not None:
            return self.lam
        return 1.0 if self.noise_std == 0 else 0.5

    def sampler(self, sampler: Sampler) -> Sampler:
        return before(sampler, self.project)

    def project(self, prior: Prior, x: State, t: Times, noise: Noise) -> State:
        """Lines 4 and 5 of Alg. 8.2."""
        alpha, sigma = prior.sde.alpha(t), prior.sde.sigma(t)
        z = self.operator.forward(noise(x))
        y_t = expand(alpha, self.y) * self.y + expand(sigma, z) * z
        return self.operator.data_consistency(x, y_t, self.strength)
