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

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from torch import Tensor

from medscore.parameters import Count, Positive
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
    r"""One Langevin step whose size is proportional to the noise variance at s.

    Args:
        relative: step size divided by the noise variance, :math:`\epsilon / \sigma_L^2`;
            :func:`by_technique_4` chooses it.
    """

    relative: Positive

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        alpha = expand(self.relative * prior.sde.sigma(s) ** 2, x)
        return langevin_update(x, prior.score(x, s), alpha, noise(x)), memory


@final
@dataclass(frozen=True)
class AnnealedLangevin(Sampler):
    """T steps of Langevin dynamics at every noise level of the grid; T evaluations per level.

    Args:
        inner: the Langevin step; by default of the size that Technique 6.4 gives for the grid.
        steps: number of Langevin steps T at each level.
    """

    inner: Sampler | None = None
    steps: Count = 3

    def prepared(self, sde: SDE, times: Tensor) -> Sampler:
        if self.inner is None:
            return by_technique_4(sde, times, self.steps)
        return AnnealedLangevin(self.inner.prepared(sde, times), self.steps)

    @property
    def langevin(self) -> Sampler:
        """The Langevin step.

        Raises:
            ValueError: it was neither given nor prepared for a time grid.
        """
        if self.inner is None:
            raise ValueError("`inner` is not set: give it, or call `prepared` with the time grid")
        return self.inner

    def init(self, x: State) -> Memory:
        return self.langevin.init(x)

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        x = expand(prior.sde.alpha(s) / prior.sde.alpha(t), x) * x
        for _ in range(self.steps):
            x, memory = self.langevin.step(prior, x, s, s, noise, memory)
        return x, memory

    def map(self, wrap: Callable[[Sampler], Sampler]) -> Sampler:
        return AnnealedLangevin(self.langevin.map(wrap), self.steps)


def by_technique_4(sde: SDE, times: AnyFloat, steps: int) -> AnnealedLangevin:
    """Annealed Langevin dynamics with the step size of Technique 6.4.

    The ratio gamma of Eq. 6.4 is that of sigma/alpha, because the state is scaled with alpha; where
    it varies along the grid the largest counts. The ``log_snr`` grid has equal ratios.

    Args:
        sde: the forward diffusion.
        times: the decreasing time grid.
        steps: number of Langevin steps T at each level.
    """
    ratios = pairwise(sde.ratio(times).tolist())
    gamma = max(above / below for above, below in ratios if above > below)
    return AnnealedLangevin(ScaledLangevin(relative_step(steps, gamma)), steps)
