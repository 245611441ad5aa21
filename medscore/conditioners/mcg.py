r"""Manifold constrained gradients, MCG (Chung et al. 2022, Alg. 1).

The gradient step of :mod:`~medscore.conditioners.dps` is followed by a projection of the state onto
measurements with noise of the same level,

.. math:: x_s \leftarrow x_s + A^+ (\alpha(s) y + \sigma(s) A z - A x_s).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, after
from medscore.conditioners.dps import DPS
from medscore.conditioners.proximal import Proximal
from medscore.operators.base import Operator
from medscore.parameters import NonNegative
from medscore.samplers.base import Sampler


@final
@dataclass(frozen=True)
class MCG(Conditioner):
    """Manifold constrained gradients for noise-free measurements.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        zeta: step size relative to the norm of the residual, as in DPS.
    """

    operator: Operator
    y: Tensor
    zeta: NonNegative = 0.5

    @cached_property
    def descent(self) -> DPS:
        """The gradient step, before the projection."""
        return DPS(self.operator, self.y, self.zeta)

    def sampler(self, sampler: Sampler) -> Sampler:
        return after(self.descent.sampler(sampler), Proximal(self.operator, self.y).project)
