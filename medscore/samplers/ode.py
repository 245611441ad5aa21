r"""The probability-flow ODE, solved by an adaptive solver (Song 2022, Eq. 7.13 and B.28).

.. math:: \frac{dx}{dt} = f(t) x - \tfrac12 g(t)^2 \nabla \log p_t(x)

is solved by the Dormand-Prince method of order 5(4) of torchdiffeq, from noise to data or from data
to noise.
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

    The batch is solved as one system with common steps, whose error is the largest root mean square
    error of any sample. A sample therefore depends on the others within the tolerances;
    :class:`AdaptiveFlow` solves each sample separately.

    Args:
        prior: the score model.
        x: the state at time t, (batch, channel, ...).
        t: time to start from.
        s: time to go to.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.

    Raises:
        MedscoreError: the step size underflowed.
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
    """Integrate the probability flow of each sample separately, with :func:`solve`.

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
        MedscoreError: the step size underflowed.
    """
    low, high = min(t, s), max(t, s)

    def worst(error: Tensor) -> Tensor:
        numbers = error.flatten(1)
        split = numbers.split(parts or (numbers.shape[1],), 1)
        return torch.stack([part.square().mean(1).sqrt().max() for part in split]).max()

    def inside(time: Tensor, x: Tensor) -> Tensor:
        return rate(time.clamp(low, high), x)  # the solver's first trial step may overshoot

    ends = torch.tensor([t, s], dtype=torch.float64, device=x.device)
    options = {"norm": worst, "dtype": torch.float64, "step_t": ends[1:]}
    try:
        path = odeint(inside, x, ends, rtol=rtol, atol=atol, method="dopri5", options=options)
    except AssertionError as error:
        raise MedscoreError(
            f"the ODE from time {t:g} to {s:g} was not solved ({error})",
            hint="use larger `rtol` and `atol`, or float64",
        ) from error
    end: Tensor = path[1]
    return end


@final
@dataclass(frozen=True)
class AdaptiveFlow(Sampler):
    """The probability flow, solved adaptively for each sample separately.

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
        """Reject methods that change the state, because the solver chooses its own steps.

        Args:
            wrap: ignored.

        Raises:
            MedscoreError: always.
        """
        raise MedscoreError(
            "the adaptive ODE solver chooses its own steps, so conditioners that change the state "
            "(such as proximal) cannot be applied between them",
            hint="use probability-flow, dpm-solver++ or heun instead",
        )
