r"""Any diffusion :math:`dx = f(x, t) dt + G(x, t) dw` with diagonal G (Song et al. 2022, B.5.1),
each of whose entries depends on its own number of the state alone.

There is no perturbation kernel: the forward process is simulated, and the reverse one carries the
divergence of G G^T (Eq. B.5, Ito),

.. math:: dx = [f - \nabla\cdot(G G^T) - G G^T \nabla \log p_t]\,dt + G\,d\bar w,

as does the probability flow (Eq. B.6), with half of the last two terms.
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
    """The drift f, and the diagonal of G as a function applied to each number of the state."""

    drift: Field
    diffusion: Field

    def simulate(self, x0: State, t: float, steps: int, noise: Noise) -> State:
        """x_t from x_0 by Euler-Maruyama with ``steps`` steps, weak order 1."""
        x, dt = x0, t / steps
        for k in range(steps):
            z = noise(x)
            x = x + self.drift(x, k * dt) * dt + self.diffusion(x, k * dt) * math.sqrt(dt) * z
        return x

    def reverse(
        self, score: Field, x: State, t: float, s: float, steps: int, noise: Noise
    ) -> State:
        """From x at ``t`` back to ``s`` < t by Euler-Maruyama on Eq. B.5."""
        dt = (t - s) / steps
        for k in range(steps):
            now = t - k * dt
            g = self.diffusion(x, now)
            velocity = self.drift(x, now) - self._divergence(x, now) - g**2 * score(x, now)
            x = x - velocity * dt + g * math.sqrt(dt) * noise(x)
        return x

    def flow(self, score: Field, x: State, t: float) -> State:
        """dx/dt of the probability flow, Eq. B.6."""
        spread = self.diffusion(x, t) ** 2 * score(x, t)
        return self.drift(x, t) - 0.5 * self._divergence(x, t) - 0.5 * spread

    def _divergence(self, x: Tensor, t: float) -> Tensor:
        """d (g_i^2) / d x_i for every i; g_i depends on x_i alone."""
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            square = self.diffusion(y, t) ** 2 + 0 * y  # g may not depend on the state at all
            (slope,) = torch.autograd.grad(square.sum(), y)
        return slope
