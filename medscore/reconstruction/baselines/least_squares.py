r"""Early-stopped least squares: CGLS (Hestenes and Stiefel 1952) and SIRT (Gilbert 1972).

CGLS takes conjugate-gradient steps. The k-th image minimises :math:`|y - A x|` in the Krylov space
:math:`\langle A^H y, \ldots, (A^H A)^{k-1} A^H y\rangle`; noise enters with the late directions, so
the number of iterations is the regularisation.

SIRT, the simultaneous iterative reconstruction technique (Gilbert 1972; Gregor and Benson 2008),
has the inverse row and column sums R and C of A, a relaxation :math:`\lambda`, and the update

.. math:: x \leftarrow \max(0,\ x + \lambda\, C A^T R (y - A x)),

which descends on :math:`\|y - A x\|_R^2` for :math:`0 < \lambda < 2`.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.linalg import cgls
from medscore.operators.wrappers.whitened import Whitened
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.direct import projections


class CGLS(Baseline):
    """Conjugate gradients, starting from zero, for all measurements.

    Attributes:
        kind: name of the baseline.
        iterations: number of iterations; a sample that has converged to rounding stops earlier.
    """

    kind: Literal["cgls"] = "cgls"
    iterations: int = Field(default=30, ge=1, le=100_000)

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        y = operator.mask(y) * y
        least = 10 * torch.finfo(y.dtype).eps
        return cgls(
            operator.forward, operator.adjoint, y, tol=0.0, max_iter=self.iterations, least=least
        ).x


class SIRT(Baseline):
    """Simultaneous iterative reconstruction, starting from zero, for CT, where A is non-negative.

    Attributes:
        kind: name of the baseline.
        iterations: number of iterations.
        relaxation: relaxation parameter lambda.
        nonnegative: whether negative values are set to zero after each iteration.
    """

    kind: Literal["sirt"] = "sirt"
    iterations: int = Field(default=100, ge=1, le=100_000)
    relaxation: float = Field(default=1.0, gt=0, lt=2)
    nonnegative: bool = True

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        inner = operator.inner if isinstance(operator, Whitened) else operator
        projections(inner, self.kind)
        y = operator.mask(y) * y
        x = torch.zeros_like(operator.adjoint(y))
        rows, columns = (
            inverse(sums)
            for sums in (operator.forward(x + 1), operator.adjoint(torch.ones_like(y)))
        )
        for _ in range(self.iterations):
            gap = y - operator.forward(x)
            x = x + self.relaxation * columns * operator.adjoint(rows * gap)
            if self.nonnegative:
                x = x.clamp_min(0)
        return x


def inverse(sums: Tensor) -> Tensor:
    """The inverse of row or column sums; 0 for rays outside the image and pixels outside all rays.

    Args:
        sums: row or column sums, 0 or greater.
    """
    return torch.where(sums > 0, 1 / sums, 0.0)
