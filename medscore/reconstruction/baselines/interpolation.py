r"""Metal artifact reduction by linear interpolation, LI (Kalender, Hebel and Ebersberger 1987):

.. math:: x = A^T F\, \mathrm{LI}(y),

where LI fills the metal trace linearly along the detectors of each view.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.direct import filled, projections


class LI(Baseline):
    """Filtered back-projection after linear interpolation of single missing rays.

    Views that were not measured at all are left out.

    Attributes:
        kind: its name.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["li"] = "li"

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        whole, sinogram = filled(projections(operator, self.kind), y)
        return whole.fbp(sinogram)
