r"""What was not measured taken as zero:

.. math:: x = T^{-1} P^{-1}(\Lambda)\, y.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import Baseline


class ZeroFilled(Baseline):
    """The inverse transform of the measurements, of any operator: of k-space the inverse Fourier
    transform with the coils combined, of pixels those that were seen.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["zero-filled"] = "zero-filled"

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        return operator.zero_filled(y)
