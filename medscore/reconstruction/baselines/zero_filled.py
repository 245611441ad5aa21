r"""Zero filling: unmeasured entries are taken as zero,

.. math:: x = T^{-1} P^{-1}(\Lambda)\, y.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import Baseline


class ZeroFilled(Baseline):
    """The inverse transform of the measurements, for any operator with an inverse.

    For k-space it is the inverse Fourier transform with the coils combined, for pixels the measured
    ones.

    Attributes:
        kind: its name.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["zero-filled"] = "zero-filled"

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        return operator.zero_filled(y)
