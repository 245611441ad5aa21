r"""Back-projection by the adjoint, :math:`x = A^H y / |A|^2`, for operators without an inverse."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.linalg import wide
from medscore.reconstruction.baselines.base import Baseline


class Adjoint(Baseline):
    """The adjoint of the measurements, scaled by the squared norm of A.

    Attributes:
        kind: name of the baseline.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["adjoint"] = "adjoint"

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        back = operator.adjoint(y)
        return back / wide(operator.norm_squared(y), back)
