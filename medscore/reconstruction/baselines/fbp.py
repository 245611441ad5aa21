r"""Filtered back-projection, FBP (Kak and Slaney 1988, chapter 3).

.. math:: x = A^T F_w y,

where F_w is the ramp filter times a window w, with each view weighted by its share of the arc; see
:mod:`medscore.operators.ct.fbp`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.ct.fbp import Window
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.direct import rays_of


class FBP(Baseline):
    """Filtered back-projection of the measured views; of a cone beam, the algorithm of Feldkamp.

    Single missing rays are taken as zero;
    :class:`~medscore.reconstruction.baselines.interpolation.LI` interpolates them.

    Attributes:
        kind: name of the baseline.
        window: window of the ramp filter; from sharp to smooth: ram-lak, shepp-logan, cosine,
            hamming, hann.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["fbp"] = "fbp"
    window: Window = "ram-lak"

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        rays, back = rays_of(operator, self.kind)
        return back(rays.fbp(y, self.window))
