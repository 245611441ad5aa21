r"""Langevin corrector with the step-size rule of Alg. B.6 (Song et al. 2022).

.. math:: x \leftarrow x + \epsilon G + \sqrt{2\epsilon} z, \qquad
          \epsilon = 2 (r \|z\| / \|G\|)^2, \quad G = \nabla \log p_t(x).

As the text advises for small batches, :math:`\sqrt d` stands for the norm of z; the norm of G is
each sample's own, so no sample depends on its neighbours. Alg. B.7's factor alpha_i for VP, close
to 1 where the scales are close, is left out: the rule is the same for every SDE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch

from medscore.noise import Noise
from medscore.prior import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sde import expand
from medscore.types import State, Times


@final
@dataclass(frozen=True)
class LangevinCorrector(Sampler):
    """One evaluation a step; ``snr`` is r, written eta in B.6.4."""

    snr: float = 0.16

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        gradient = prior.score(x, t)
        norm = gradient.flatten(1).norm(dim=1).clamp_min(1e-20)
        epsilon = expand(2 * (self.snr * math.sqrt(x[0].numel()) / norm) ** 2, x)
        return x + epsilon * gradient + torch.sqrt(2 * epsilon) * noise(x), memory
