r"""General diffusions :math:`dx = f(x, t) dt + G(x, t) dw` with diagonal G (Song 2022, B.5.1).

Each diagonal entry of G may depend on the corresponding entry of the state only. There is no
closed-form perturbation kernel, so the forward process is simulated. The reverse SDE contains the
divergence of G G^T (Eq. B.5, in the Ito interpretation),

.. math:: dx = [f - \nabla\cdot(G G^T) - G G^T \nabla \log p_t]\,dt + G\,d\bar w,

and so does the probability flow (Eq. B.6), with a factor 1/2 on the last two terms of the drift.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.types import State
from medscore.white_noise import Noise

Field = Callable[[Tensor, float], Tensor]
"""A function of state (batch, ...) and time, same shape as the state."""


@dataclass(frozen=True)
class GeneralSDE:
    """A diffusion, given by its drift and the diagonal of its diffusion matrix.

    Attributes:
        drift: f as a function of the state (batch, ...) and the time; same shape as the state.
        diffusion: the diagonal of G, in the shape of the state; entry i depends on x_i only.
    """

    drift: Field
    diffusion: Field

    def simulate(self, x0: State, t: float, steps: int, noise: Noise) -> State:
        """Simulate the forward SDE from 0 to ``t`` by Euler-Maruyama, which has weak order 1.

        Args:
            x0: states at time 0, (batch, ...).
            t: time to go to.
            steps: number of steps.
            noise: draws white noise in the shape of its argument.
        """
        x, dt = x0, t / steps
        for k in range(steps):
            z = noise(x)
            x = x + self.drift(x, k * dt) * dt + self.diffusion(x, k * dt) * math.sqrt(dt) * z
        return x

    def reverse(
        self, score: Field, x: State, t: float, s: float, steps: int, noise: Noise
    ) -> State:
        """Simulate the reverse SDE (Eq. B.5) from ``t`` back to ``s`` by Euler-Maruyama.

        Args:
            score: the score as a function of state and time.
            x: states at time t, (batch, ...).
            t: time to start from.
            s: time to go to; s < t.
            steps: number of steps.
            noise: draws white noise in the shape of its argument.
        """
        dt = (t - s) / steps
        for k in range(steps):
            now = t - k * dt
            g = self.diffusion(x, now)
            velocity = self.drift(x, now) - self._divergence(x, now) - g**2 * score(x, now)
            x = x - velocity * dt + g * math.sqrt(dt) * noise(x)
        return x

    def flow(self, score: Field, x: State, t: float) -> State:
        """The velocity dx/dt of the probability flow, Eq. B.6.

        Args:
            score: the score as a function of state and time.
            x: states at time t, (batch, ...).
            t: time.
        """
        spread = self.diffusion(x, t) ** 2 * score(x, t)
        return self.drift(x, t) - 0.5 * self._divergence(x, t) - 0.5 * spread

    def _divergence(self, x: Tensor, t: float) -> Tensor:
        """The derivatives d (g_i^2) / d x_i, since g_i depends on x_i only."""
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            square = self.diffusion(y, t) ** 2 + 0 * y  # keeps the graph if g is constant in x
            (slope,) = torch.autograd.grad(square.sum(), y)
        return slope
