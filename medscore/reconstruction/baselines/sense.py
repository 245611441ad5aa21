r"""CG-SENSE: Tikhonov-regularised least squares of k-space data (Pruessmann et al. 2001).

.. math:: \min_x \|y - A x\|^2 / |A|^2 + \mathrm{weight}\,\|x\|^2, \qquad A = P(\Lambda) F S,

over complex images, for one or several coils, by conjugate gradients on the normal equations.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.linalg import damped
from medscore.reconstruction.baselines.base import Baseline


class CGSense(Baseline):
    """Regularised least squares of k-space.

    Attributes:
        kind: name of the baseline.
        weight: weight of the squared norm of the image.
        iterations: largest number of conjugate-gradient steps.
    """

    kind: Literal["cg-sense"] = "cg-sense"
    weight: float = Field(default=1e-3, gt=0)
    iterations: int = Field(default=100, ge=1, le=100_000)

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        if not y.is_complex():
            raise MedscoreError(
                f"{self.kind} reconstructs k-space, not measurements of {operator!r}",
                hint="use zero-filled, cgls, fista-tv or l1-wavelet",
            )
        damping = self.weight * operator.norm_squared(y)
        return damped(
            operator.forward,
            operator.adjoint,
            operator.mask(y) * y,
            damping,
            max_iter=self.iterations,
        )
