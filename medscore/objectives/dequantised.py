r"""Uniform dequantization of images with integer grey levels, with new noise at every step.

The density of images with discrete values could grow without bound at these values. On
:math:`x = (\lfloor 2^b x_0 \rfloor + v) / 2^b`, with v uniform, its logarithm bounds that of the
probability of the grey levels instead (Song et al. 2022, section 9.5.2).
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
    """An objective on images that are first quantised and dequantised, with noise seeded by u.

    Attributes:
        objective: the loss of each sample.
        levels: the grey levels.
    """

    objective: Callable[[Prior, State, Times, State], Times]
    levels: Levels

    def __call__(self, prior: Prior, x0: State, u: Times, z: State) -> Times:
        """The loss of each sample, (batch,).

        Args:
            prior: the prior.
            x0: clean images (batch, ...).
            u: uniform draws in [0, 1), (batch,), which become times and seed the dequantization.
            z: white noise of the shape of ``x0``.
        """
        with torch.no_grad():
            k = self.levels.quantise(x0)
            v = uniform(k, seeds_from(u, 1))
            x = self.levels.dequantise(k, v)
        return self.objective(prior, x, u, z)
