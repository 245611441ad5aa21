r"""Sliced score matching for diffusions without a known kernel (Song et al. 2022, Eq. B.8).

.. math:: E_t\, \lambda(t)\, E_{x_0} E_{x_t} E_v \left[ \tfrac12 \| s_\theta(x_t, t) \|^2
          + v^T \nabla_x s_\theta(x_t, t)\, v \right],

with E[v] = 0 and Cov[v] = I. (The text prints the second term without the gradient.) Eq. 7.7 needs
the score of the perturbation kernel; here x_t is simulated instead. As in
:mod:`medscore.objectives.sliced`, the loss is a sum over the D components of a sample and includes
the factor 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from medscore.objectives.sliced import Projections, sliced_score_matching_vr
from medscore.sdes.general import Field, GeneralSDE
from medscore.types import State, Times
from medscore.white_noise import Noise


@dataclass(frozen=True)
class SlicedSDE:
    """Eq. B.8 for a diffusion.

    Attributes:
        sde: the diffusion, simulated by Euler-Maruyama.
        steps: number of steps from 0 to t; the error of the distribution of x_t is O(1/steps).
        weighting: lambda(t).
    """

    sde: GeneralSDE
    steps: int
    weighting: Callable[[float], float]

    def __call__(self, score: Field, x0: State, t: float, noise: Noise, v: Projections) -> Times:
        """The loss of each sample at one time, (batch,), with the graph to the parameters.

        Draw a new ``t`` for every batch, or for parts of a batch, to average over it.

        Args:
            score: the score model s(x, t).
            x0: clean data (batch, ...).
            t: the time.
            noise: noise of the simulation.
            v: directions (count, batch, ...).
        """
        with torch.no_grad():
            x = self.sde.simulate(x0, t, self.steps, noise)
        return self.weighting(t) * sliced_score_matching_vr(lambda y: score(y, t), x, v)
