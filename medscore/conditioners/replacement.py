r"""Replacement: what was measured is put into the state after every step (Song et al. 2022, B.5.9
and Alg. B.2).

.. math:: x_s \leftarrow T^{-1}[\Lambda (\alpha(s) y + \sigma(s) z) + (I - \Lambda) T x_s],

with z white in the measurement, drawn anew for each step. With the identity as T this is imputation
of pixels, with :class:`~medscore.operators.images.colorization.Colorization` it is colorization,
where an orthogonal T takes the grey image to a channel of its own. Other than
:class:`~medscore.conditioners.proximal.Proximal` it acts after a step, without a strength; where T
is not orthogonal the noise it puts in is not that of a noisy image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, after
from medscore.operators.base import Operator
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class Replacement(Conditioner):
    """Measured coordinates are replaced after each step, for noise-free data and a surjective T.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.

    Raises:
        ValueError: T is not surjective, so that it cannot be inverted.
    """

    operator: Operator
    y: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.operator.surjective:
            raise ValueError(f"replacement needs an invertible T, use Proximal for {self.operator}")

    def sampler(self, sampler: Sampler) -> Sampler:
        return after(sampler, self.replace)

    def replace(self, prior: Prior, x: State, s: Times, noise: Noise) -> State:
        """The state at time ``s`` with its measured part replaced."""
        alpha, sigma = expand(prior.sde.alpha(s), self.y), expand(prior.sde.sigma(s), self.y)
        y_s = alpha * self.y + sigma * noise(self.y)
        return self.operator.proximal(x, self.operator.mask(y_s) * y_s, 1.0)
