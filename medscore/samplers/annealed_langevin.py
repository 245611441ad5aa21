r"""Annealed Langevin dynamics (Song et al. 2022, Alg. 6.1).

At each noise level sigma_i of the grid, T steps of Langevin dynamics

.. math:: x \leftarrow x + \alpha_i \nabla \log p_{\sigma_i}(x) + \sqrt{2 \alpha_i} z, \qquad
          \alpha_i = \epsilon\, \sigma_i^2 / \sigma_L^2.

The algorithm is of data plus noise, alpha = 1. Where alpha changes from one level to the next, the
state is scaled with it first: steps as short as the lowest levels' could not make up for it.

Alg. 5.1 writes the same steps with half of its own step size: its epsilon is twice this one. The
grid is ``ladder``'s, which visits the first level too; the thesis's denoising step at the end is
the engine's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.samplers.langevin import langevin_update
from medscore.sdes.base import SDE, expand
from medscore.sdes.noise_levels import relative_step
from medscore.types import AnyFloat, State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class ScaledLangevin(Sampler):
    r"""One Langevin step whose size is ``relative`` times the noise variance at s.

    ``relative`` is :math:`\epsilon / \sigma_L^2`; :func:`by_technique_4` chooses it.

    Raises:
        ValueError: ``relative`` is not above 0.
    """

    relative: float

    def __post_init__(self) -> None:
        if not 0 < self.relative < math.inf:
            raise ValueError(f"the step must be above 0, got {self.relative}")

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        alpha = expand(self.relative * prior.sde.sigma(s) ** 2, x)
        return langevin_update(x, prior.score(x, s), alpha, noise(x)), memory


@final
@dataclass(frozen=True)
class AnnealedLangevin(Sampler):
    """``steps`` = T times ``inner`` at every level that is stepped to; T evaluations a level.

    Raises:
        ValueError: ``steps`` is below 1.
    """

    inner: Sampler
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")

    def init(self, x: State) -> Memory:
        return self.inner.init(x)

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        x = expand(prior.sde.alpha(s) / prior.sde.alpha(t), x) * x
        for _ in range(self.steps):
            x, memory = self.inner.step(prior, x, s, s, noise, memory)
        return x, memory

    def map(self, wrap: Callable[[Sampler], Sampler]) -> Sampler:
        return AnnealedLangevin(self.inner.map(wrap), self.steps)


def by_technique_4(sde: SDE, times: AnyFloat, steps: int) -> AnnealedLangevin:
    """T = ``steps`` a level of the grid ``times``, of the size that Technique 4 gives.

    The ratio gamma of Eq. 6.4 is that of sigma/alpha, since the state is scaled with alpha; where
    it varies along the grid the largest counts. Equal ratios are those of the ``log_snr`` grid.
    """
    ratios = pairwise(sde.ratio(times).tolist())
    gamma = max(above / below for above, below in ratios if above > below)
    return AnnealedLangevin(ScaledLangevin(relative_step(steps, gamma)), steps)
