r"""Analytic-DPM: the reverse variance that is optimal for the data (Bao et al. 2022, Thm. 1).

DDIM's step with the variance that it leaves out put back:

.. math:: v^* = v + \Bigl(\frac{\alpha_s \sigma_t}{\alpha_t} - \sqrt{\sigma_s^2 - v}\Bigr)^2
                \bigl(1 - \sigma_t^2 \Gamma_t\bigr), \qquad
          \Gamma_t = E\,\|\nabla \log p_t(x_t)\|^2 / d.

The bracket lies in [0, 1] (their bound), and is clipped to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from medscore.parameters import Share
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.samplers.ddim import implicit_mean
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.white_noise import Noise

Moment = Callable[[Times, State, SDE], Times]
r"""Gives :math:`\sigma_t^2 \Gamma_t` from the times, the scores at x_t, and the SDE."""


def own_moment(t: Times, score: State, sde: SDE) -> Times:
    r""":math:`\sigma^2 \|\nabla \log p\|^2 / d` of each sample by itself, (batch,).

    A one-sample estimate, accurate for images: its relative error falls as 1/sqrt(d).

    Args:
        t: times, (batch,).
        score: scores at x_t, (batch, channel, ...).
        sde: the forward diffusion.
    """
    return sde.sigma(t) ** 2 * score.flatten(1).square().mean(1)


@final
@dataclass(frozen=True)
class MomentTable:
    """Values of sigma^2 Gamma at increasing times, interpolated linearly between them.

    Args:
        times: increasing times, two or more.
        values: sigma^2 Gamma at each of them.

    Raises:
        ValueError: not two or more increasing times with a value each.
    """

    times: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.times))
        if len(self.times) < 2 or len(self.times) != len(self.values) or not rising:
            raise ValueError(f"two or more increasing times are needed, got {self.times}")

    def __call__(self, t: Times, score: State, sde: SDE) -> Times:
        """Interpolate at ``t``; the score and the SDE are not used.

        Args:
            t: times, (batch,).
            score: ignored.
            sde: ignored.
        """
        knots = torch.tensor(self.times, dtype=t.dtype, device=t.device)
        values = torch.tensor(self.values, dtype=t.dtype, device=t.device)
        k = torch.searchsorted(knots, t.contiguous()).clamp(1, len(knots) - 1)
        share = (t - knots[k - 1]) / (knots[k] - knots[k - 1])
        return torch.lerp(values[k - 1], values[k], share.clamp(0, 1))


def estimate_moments(prior: Prior, x0: State, times: Sequence[float], noise: Noise) -> MomentTable:
    """Estimate sigma^2 Gamma from data, with one noise draw per image and time.

    Args:
        prior: the score model.
        x0: clean images, (batch, channel, ...).
        times: times at which to estimate it.
        noise: draws the noise.
    """
    values = []
    ordered = sorted(times)
    for time in ordered:
        t = x0.new_full((len(x0),), time)
        x = prior.sde.marginal(x0, t, noise(x0))
        values.append(float(own_moment(t, prior.score(x, t), prior.sde).mean()))
    return MomentTable(tuple(ordered), tuple(values))


@final
@dataclass(frozen=True)
class AnalyticDPM(Sampler):
    """First order; one evaluation per step.

    Args:
        eta: scale of the noise, as in DDIM.
        moment: estimates sigma^2 Gamma.
    """

    eta: Share = 1.0
    moment: Moment = own_moment

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        sde = prior.sde
        mean, std, rest, direction = implicit_mean(prior, x, t, s, self.eta)
        left: Tensor = 1 - self.moment(t, -direction / expand(sde.sigma(t), x), sde)
        most = (sde.alpha(s) * sde.ratio(t) - rest) ** 2
        optimal = std**2 + most * left.clamp(0, 1)
        return mean + expand(torch.sqrt(optimal), x) * noise(x), memory
