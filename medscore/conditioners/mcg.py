r"""Manifold constrained gradients (Chung et al. 2022, Alg. 1).

The gradient step of :mod:`~medscore.conditioners.dps`, and then a projection of the state on the
measurements with noise of its own level,

.. math:: x_s \leftarrow x_s + A^+ (\alpha(s) y + \sigma(s) A z - A x_s).
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """Manifold-constrained gradient, for noise-free measurements.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        zeta: step size of the gradient, as in DPS.
    """

    operator: Operator
    y: Tensor
    zeta: NonNegative = 0.5

    def sampler(self, sampler: Sampler) -> Sampler:
        descended = DPS(self.operator, self.y, self.zeta).sampler(sampler)
        return after(descended, Proximal(self.operator, self.y).project)
