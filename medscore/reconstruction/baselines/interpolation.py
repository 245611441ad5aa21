r"""Metal artifact reduction by linear interpolation, LI (Kalender, Hebel and Ebersberger 1987).

.. math:: x = A^T F\, \mathrm{LI}(y),

where LI interpolates linearly across the metal trace along the detector of each view.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.direct import filled, projections


class LI(Baseline):
    """Filtered back-projection after linear interpolation of single missing rays.

    Views without any measured ray are left out.

    Attributes:
        kind: name of the baseline.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["li"] = "li"

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        radon, back = projections(operator, self.kind)
        whole, sinogram = filled(radon, y)
        return back(whole.fbp(sinogram))
