"""The discrepancy principle as its source writes it; the model for a new conditioner's proof.

``make`` builds the conditioner, ``rule`` is one step in dense matrices (tests/support/rules.py),
and ``NOISES`` are the noise levels of y at which they are compared, on every SDE.
"""

import math
from collections.abc import Sequence

from rules import Problem, ddim
from torch import Tensor

from medscore.conditioners.discrepancy import Discrepancy
from medscore.operators.base import Operator

NOISES = (0.3, 30.0)


def make(operator: Operator, y: Tensor, noise_std: float) -> Discrepancy:
    return Discrepancy(operator, y, noise_std)


def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
    """The state keeps the distance from y_t that the noise in y alone causes (Morozov 1966)."""
    y_t = p.alpha(t) * p.y + p.sigma(t) * p.A @ z[0]
    gap = float((y_t - p.A @ x).norm())
    lam = 1 - min(1.0, p.alpha(t) * p.noise_std * math.sqrt(float(p.kept.sum())) / gap)
    x = (1 - lam) * x + lam * p.exchanged(x, y_t)
    return ddim(p, p.denoise(x, t), x, t, s, z[1])
