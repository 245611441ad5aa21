r"""Replacement of the measured coordinates after every step (Song 2022, B.5.9 and Alg. B.2).

.. math:: x_s \leftarrow T^{-1}[\Lambda (\alpha(s) y + \sigma(s) z) + (I - \Lambda) T x_s],

where z is white noise in the measurement domain, drawn for each step. If T is the identity this is
imputation of pixels. With :class:`~medscore.operators.images.colorization.Colorization` it is
colorization, in which an orthogonal T maps the grey image to a separate channel. Unlike
:class:`~medscore.conditioners.proximal.Proximal` it acts after a step and has no strength. If T is
not orthogonal, the noise of the replaced coordinates is not that of a noisy image.
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
    """Replacement of the measured coordinates, for noise-free data and a surjective T.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.

    Raises:
        ValueError: T is not surjective.
    """

    operator: Operator
    y: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.operator.surjective:
            raise ValueError(
                f"replacement needs an invertible T; use Proximal with {self.operator}"
            )

    def sampler(self, sampler: Sampler) -> Sampler:
        return after(sampler, self.replace)

    def replace(self, prior: Prior, x: State, s: Times, noise: Noise) -> State:
        """The state with its measured coordinates replaced.

        Args:
            prior: the score model.
            x: the state at time s, (batch, channel, ...).
            s: times, (batch,).
            noise: draws white noise in the shape of its argument.
        """
        alpha, sigma = expand(prior.sde.alpha(s), self.y), expand(prior.sde.sigma(s), self.y)
        y_s = alpha * self.y + sigma * noise(self.y)
        return self.operator.proximal(x, self.operator.mask(y_s) * y_s, 1.0)
