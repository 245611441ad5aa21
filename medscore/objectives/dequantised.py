r"""Training on integer grey levels: new uniform noise within them at every step.

A density on images that take few values would grow without bound at them; on
:math:`x = (\lfloor 2^b x_0 \rfloor + v) / 2^b`, v uniform, it bounds the probability of the levels
(Song et al. 2022, section 9.5.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from medscore.objectives.grey_levels import Levels, uniform
from medscore.priors.base import Prior
from medscore.types import State, Times
from medscore.white_noise import seeds_from


@dataclass(frozen=True)
class Dequantised:
    """An objective of images that are quantised first, with noise seeded by u."""

    objective: Callable[[Prior, State, Times, State], Times]
    levels: Levels

    def __call__(self, prior: Prior, x0: State, u: Times, z: State) -> Times:
        """The loss of each sample; arguments as of
        :class:`medscore.objectives.denoising.Denoising`.
        """
        with torch.no_grad():
            k = self.levels.quantise(x0)
            v = uniform(k, seeds_from(u, 1))
            x = self.levels.dequantise(k, v)
        return self.objective(prior, x, u, z)
