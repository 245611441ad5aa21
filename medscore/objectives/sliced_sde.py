r"""Sliced score matching for a diffusion without a kernel (Song et al. 2022, Eq. B.8).

.. math:: E_t\, \lambda(t)\, E_{x_0} E_{x_t} E_v \left[ \tfrac12 \| s_\theta(x_t, t) \|^2
          + v^T \nabla_x s_\theta(x_t, t)\, v \right],

with E[v] = 0, Cov[v] = I. (The text prints the second term without its gradient.) Where Eq. 7.7
needs the score of the perturbation kernel, here x_t is simulated. As in
:mod:`medscore.objectives.sliced`, a loss is a sum over the sample's D numbers, with the one half.
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
    """Eq. B.8 on a diffusion.

    Attributes:
        sde: simulated by Euler-Maruyama. steps: from 0 to t; the law of x_t is off by O(1/steps).
        weighting: lambda(t).
    """

    sde: GeneralSDE
    steps: int
    weighting: Callable[[float], float]

    def __call__(self, score: Field, x0: State, t: float, noise: Noise, v: Projections) -> Times:
        """The loss of each sample at one time, shape (batch,), with the graph to the parameters.

        Draw ``t`` anew for every batch, or for the parts of one, to average over it.

        Args:
            score: s(x, t). x0: clean. noise: for the simulation. v: directions.
        """
        with torch.no_grad():
            x = self.sde.simulate(x0, t, self.steps, noise)
        return self.weighting(t) * sliced_score_matching_vr(lambda y: score(y, t), x, v)
