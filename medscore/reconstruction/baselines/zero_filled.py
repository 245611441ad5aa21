r"""Zero filling: the inverse transform with unmeasured entries set to zero (Song 2022, Eq. 8.9).

.. math:: x = T^{-1} P^{-1}(\Lambda)\, y.

Of k-space along a trajectory it is the density-compensated adjoint of the measured samples
(:mod:`~medscore.operators.mri.gridding`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.gridding import gridding, has_a_trajectory
from medscore.reconstruction.baselines.base import Baseline


class ZeroFilled(Baseline):
    """The inverse transform of the measurements, for all operators with an inverse.

    For k-space it is the inverse Fourier transform with combined coils (along a trajectory, with
    density compensation), and for inpainting the image with zeros in place of missing pixels.

    Attributes:
        kind: name of the baseline.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["zero-filled"] = "zero-filled"

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        return gridding(operator, y) if has_a_trajectory(operator) else operator.zero_filled(y)
