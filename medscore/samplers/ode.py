r"""The probability-flow ODE by an adaptive black-box solver (Song et al. 2022, Eq. 7.13, B.28).

.. math:: \frac{dx}{dt} = f(t) x - \tfrac12 g(t)^2 \nabla \log p_t(x),

solved by torchdiffeq's Dormand-Prince method of order 5(4), from noise to data or from data to
noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torchdiffeq import odeint

from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.white_noise import Noise


def solve(
    prior: Prior, x: State, t: float, s: float, *, rtol: float = 1e-5, atol: float = 1e-5
) -> State:
    """Carry ``x`` from time ``t`` to ``s``; s < t generates, s > t encodes, s = t does nothing.

    The batch is one system: its samples share the steps, each kept within the tolerances (the
    error of a step is the largest of the samples' root mean squares). So samples depend on their
    neighbours, within the tolerances; :class:`AdaptiveFlow` solves each alone.

    Raises:
        MedscoreError: the solver's step underflowed.
    """
    if t == s:
        return x

    def rate(time: Tensor, x: Tensor) -> Tensor:
        times = time.to(x).expand(len(x))
        return velocity(prior.sde, x, times, prior.score(x, times))

    return integrate(rate, x, t, s, rtol=rtol, atol=atol)


def velocity(sde: SDE, x: State, t: Times, score: State) -> State:
    """The right side of Eq. 7.13."""
    f, g = expand(sde.drift(t), x), expand(sde.diffusion(t), x)
    return f * x - 0.5 * g**2 * score


def solve_each(prior: Prior, x: State, t: Times, s: Times, *, rtol: float, atol: float) -> State:
    """:func:`solve` of every sample alone, each from its ``t`` to its ``s``."""
    ends = [
        solve(prior, x[i : i + 1], float(t[i]), float(s[i]), rtol=rtol, atol=atol)
        for i in range(len(x))
    ]
    return torch.cat(ends)


def integrate(
    rate: Callable[[Tensor, State], State],
    x: State,
    t: float,
    s: float,
    *,
    rtol: float,
    atol: float,
    parts: tuple[int, ...] | None = None,
) -> State:
    """Solve dx/dt = rate(time, x) from ``t`` to ``s``.

    Args:
        parts: of a sample's numbers (batch, D), how many belong together: the error of a step is
            the largest root mean square of any sample's part.

    Raises:
        MedscoreError: the solver's step underflowed.
    """
    low, high = min(t, s), max(t, s)

    def worst(error: Tensor) -> Tensor:
        numbers = error.flatten(1)
        split = numbers.split(parts or (numbers.shape[1],), 1)
        return torch.stack([part.square().mean(1).sqrt().max() for part in split]).max()

    def inside(time: Tensor, x: Tensor) -> Tensor:
        return rate(time.clamp(low, high), x)  # the first step's trial may leave

    ends = torch.tensor([t, s], dtype=torch.float64, device=x.device)
    options = {"norm": worst, "dtype": torch.float64, "step_t": ends[1:]}
    try:
        path = odeint(inside, x, ends, rtol=rtol, atol=atol, method="dopri5", options=options)
    except AssertionError as error:
        raise MedscoreError(
            f"the ODE from time {t:g} to {s:g} was not solved ({error})",
            hint="loosen rtol and atol, or use float64",
        ) from error
    end: Tensor = path[1]
    return end


@final
@dataclass(frozen=True)
class AdaptiveFlow(Sampler):
    """:func:`solve` from t to s, every sample alone, whatever steps it takes in between.

    A grid of one step from 1 to eps is all it needs.
    """

    rtol: float = 1e-5
    atol: float = 1e-5

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        return solve_each(prior, x, t, s, rtol=self.rtol, atol=self.atol), memory

    def map(self, wrap: object) -> Sampler:
        """Refused: its steps are its own.

        Raises:
            MedscoreError: always.
        """
        raise MedscoreError(
            "an adaptive ODE solver chooses its own steps, between which no method on the state "
            "(such as proximal) can act",
            hint="use probability-flow, dpm-solver++ or heun instead",
        )
