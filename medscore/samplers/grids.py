r"""Time grids: the decreasing times 1 = t_N > ... > t_0 = eps of a sampler (Song 2022, Eq. 8.5).

Each grid spaces a measure of the noise equally: the time itself, log sigma, the half-log
signal-to-noise ratio log(alpha/sigma), (sigma/alpha)^(1/rho), or an angle. The first three are the
same grid on VE. The sources of the grids are in their docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medscore.parameters import Positive
from medscore.sdes.base import SDE
from medscore.types import AnyFloat

Grid = Callable[[SDE, int], AnyFloat]
"""Makes the time grid, (steps + 1,), from the SDE and the number of steps."""


def uniform(sde: SDE, steps: int) -> AnyFloat:
    """Equally spaced times (Song 2022, Alg. 8.1).

    Args:
        sde: the forward diffusion.
        steps: number of steps N.
    """
    return torch.linspace(1.0, sde.eps, steps + 1)


def geometric(sde: SDE, steps: int) -> AnyFloat:
    """Noise levels sigma in geometric progression (Song 2022, section 6.3.2).

    Args:
        sde: the forward diffusion.
        steps: number of steps N.
    """
    return _levels(sde, steps, sde.sigma, torch.log, torch.exp)


def log_snr(sde: SDE, steps: int) -> AnyFloat:
    """Equal steps in log(alpha/sigma) (Lu et al. 2022, section 3.4).

    Args:
        sde: the forward diffusion.
        steps: number of steps N.
    """
    return _levels(sde, steps, sde.ratio, torch.log, torch.exp)


def karras(sde: SDE, steps: int, rho: Positive = 7.0) -> AnyFloat:
    """Equal steps in (sigma/alpha)^(1/rho): finer at low noise (Karras et al. 2022, Eq. 5).

    Args:
        sde: the forward diffusion.
        steps: number of steps N.
        rho: exponent; larger values put more steps at low noise.
    """
    return _levels(
        sde,
        steps,
        sde.ratio,
        lambda v: v ** (1 / rho),
        lambda v: v**rho,
    )


def focused(sde: SDE, steps: int, high: Positive = 3.0, low: Positive = 0.006) -> AnyFloat:
    """One step to sigma/alpha = ``high``, then equal steps in log(sigma/alpha) to ``low`` (new).

    This grid is meant for reconstruction, where the measurements already determine the coarse
    structure that forms at the highest noise levels, and the lowest levels hardly change the image.
    It ends above the SDE's eps, so sampling has to end with the denoised image.

    Args:
        sde: the forward diffusion.
        steps: number of steps N.
        high: noise-to-signal ratio after the first step.
        low: noise-to-signal ratio at the end.

    Raises:
        ValueError: ``high`` is not above ``low``.
    """
    if not high > low:
        raise ValueError(f"`high` is {high:g}, it must be greater than `low`, {low:g}")
    ratios = torch.exp(torch.linspace(math.log(high), math.log(low), max(steps, 1)))
    return torch.cat([torch.ones(1), sde.time(ratios)])


def angular(sde: SDE, steps: int, centre: Positive = 0.5, width: Positive = 2.0) -> AnyFloat:
    """Equal steps in arctan((v / centre)^(1 / width)) with v = sigma/alpha (new).

    In log v the grid is densest where the noise is about as large as the data, and coarse at both
    ends, where the denoised image hardly changes. A width of 1 is the cosine schedule (Nichol and
    Dhariwal 2021) for data of standard deviation ``centre``; large widths approach ``log_snr``.

    Args:
        sde: the forward diffusion.
        steps: number of steps N.
        centre: noise-to-signal ratio at the centre, about the standard deviation of the data.
        width: spread of the steps around the centre.
    """
    return _levels(
        sde,
        steps,
        sde.ratio,
        lambda v: torch.arctan((v / centre) ** (1 / width)),
        lambda angle: centre * torch.tan(angle) ** width,
    )


def ladder(sde: SDE, sigmas: Sequence[float]) -> AnyFloat:
    """The times of given noise levels, with the first one twice.

    Annealed Langevin dynamics samples at the level that a step goes to; because the first time is
    repeated, this includes the first level.

    Args:
        sde: the forward diffusion.
        sigmas: decreasing noise levels sigma.

    Raises:
        ValueError: the levels do not decrease, or lie outside the range of the SDE.
    """
    levels = torch.tensor(sigmas, dtype=torch.float64)
    ends = sde.sigma(torch.tensor([0.0, 1.0], dtype=torch.float64))
    low, high = ends[0] * (1 - 1e-6), ends[1] * (1 + 1e-6)
    if len(levels) == 0 or bool((levels < low).any() | (levels > high).any()):
        raise ValueError(f"levels must lie in {float(ends[0]):g} to {float(ends[1]):g}: {sigmas}")
    if bool((levels.diff() >= 0).any()):
        raise ValueError(f"levels must decrease: {sigmas}")
    times = _invert(sde.sigma, levels, 0.0)
    return torch.cat([times[:1], times]).float()


def _levels(
    sde: SDE,
    steps: int,
    measure: Callable[[Tensor], Tensor],
    bend: Callable[[Tensor], Tensor],
    unbend: Callable[[Tensor], Tensor],
) -> Tensor:
    """Times at which ``bend(measure(t))`` is equally spaced."""
    ends = bend(measure(torch.tensor([1.0, sde.eps], dtype=torch.float64)))
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    times = _invert(measure, unbend(torch.lerp(ends[0], ends[1], share)), sde.eps)
    times[0], times[-1] = 1.0, sde.eps
    return times.float()


def _invert(measure: Callable[[Tensor], Tensor], values: Tensor, lowest: float) -> Tensor:
    """The times in [lowest, 1] at which an increasing measure has given values, by bisection."""
    low, high = torch.full_like(values, lowest), torch.ones_like(values)
    for _ in range(60):
        middle = (low + high) / 2
        below = measure(middle) < values
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high
