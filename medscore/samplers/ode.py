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
from medscore.parameters import Positive
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.white_noise import Noise


def solve(
    prior: Prior, x: State, t: float, s: float, *, rtol: float = 1e-5, atol: float = 1e-5
) -> State:
    """Integrate the probability flow from time ``t`` to ``s``; s < t generates, s > t encodes.

    The batch is one system: its samples share the steps, whose error is the largest root mean
    square error of any sample. A sample therefore depends on the others within the tolerances;
    :class:`AdaptiveFlow` solves each sample by itself.

    Args:
        prior: the score model.
        x: the state at time t, (batch, channel, ...).
        t: time to start from.
        s: time to go to.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.

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
    """The right-hand side of Eq. 7.13.

    Args:
        sde: the forward diffusion.
        x: the state, (batch, channel, ...).
        t: times, (batch,).
        score: the score at x.
    """
    f, g = expand(sde.drift(t), x), expand(sde.diffusion(t), x)
    return f * x - 0.5 * g**2 * score


def solve_each(prior: Prior, x: State, t: Times, s: Times, *, rtol: float, atol: float) -> State:
    """:func:`solve` for each sample by itself, so that none depends on the others.

    Args:
        prior: the score model.
        x: the states, (batch, channel, ...).
        t: times to start from, (batch,).
        s: times to go to, (batch,).
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.
    """
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
        rate: the right-hand side, from time and state.
        x: the state at time t, (batch, ...).
        t: time to start from.
        s: time to go to.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.
        parts: sizes of the parts of a flattened sample; the error of a step is the largest root
            mean square over the parts of all samples. By default a sample is one part.

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
    """The probability flow by an adaptive solver, for each sample by itself.

    The solver chooses its own steps, so a grid with a single step from 1 to eps suffices.

    Args:
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.
    """

    rtol: Positive = 1e-5
    atol: Positive = 1e-5

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        return solve_each(prior, x, t, s, rtol=self.rtol, atol=self.atol), memory

    def map(self, wrap: object) -> Sampler:
        """Refuse methods on the state, because the solver chooses its own steps.

        Raises:
            MedscoreError: always.
        """
        raise MedscoreError(
            "an adaptive ODE solver chooses its own steps, between which no method on the state "
            "(such as proximal) can act",
            hint="use probability-flow, dpm-solver++ or heun instead",
        )
