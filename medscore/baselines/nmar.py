r"""Normalised metal artifact reduction, NMAR (Meyer et al. 2010): interpolation of a sinogram that
a prior image has flattened,

.. math:: x = A^T F \left[ \mathrm{LI}\Big(\frac{y + \epsilon}{A m + \epsilon}\Big)
                           (A m + \epsilon) - \epsilon \right],

with m the reconstruction by :mod:`~medscore.baselines.interpolation` in which air and soft tissue
have one value each and bone keeps its own. Where m is the image, the quotient is 1 and the trace is
filled in exactly; where m is constant along the trace, NMAR is LI. epsilon, a share of the largest
ray sum, keeps the quotient finite where rays meet nothing but air.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from medscore.baselines.base import Baseline
from medscore.baselines.direct import filled, projections
from medscore.operators.base import Operator
from medscore.operators.metal import interpolate_trace
from medscore.operators.radon import Radon
from medscore.units import UNIT_RANGE

WATER = 0.0
"""HU of soft tissue in the prior image."""


class NMAR(Baseline):
    """Thresholds make the prior image, one pass makes the result; measured rays stay as they are.

    Attributes:
        air: HU below which a pixel is air. bone: HU from which it is bone. smoothing: deviation in
            pixels of the Gaussian that pixels are told apart after; streaks are no bone.
        floor: epsilon, as a share of the prior image's largest ray sum.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["nmar"] = "nmar"
    air: float = Field(default=-500.0, gt=-1000, le=0)
    bone: float = Field(default=300.0, gt=0, lt=3000)
    smoothing: float = Field(default=1.0, ge=0, le=10)
    floor: float = Field(default=0.01, gt=0, le=1)

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        operator = projections(operator, self.kind)
        whole, sinogram = filled(operator, y)
        prior = self.prior_image(whole.fbp(sinogram))
        return whole.fbp(self.fill(operator, y, whole.forward(prior)))

    def prior_image(self, x: Tensor) -> Tensor:
        """m of a reconstruction (batch, 1, H, W), both in units where 0 is air."""
        air, water, bone = (unit_of(hu) for hu in (self.air, WATER, self.bone))
        seen = smooth(x, self.smoothing)
        return torch.where(seen < air, 0.0, torch.where(seen < bone, water, x))

    def fill(self, operator: Radon, y: Tensor, expected: Tensor) -> Tensor:
        """y with the missing rays of its views.

        Args:
            expected: A m (batch, 1, views, detectors), of all rays of the views that were measured.
        """
        mask = operator.mask(y).bool()
        epsilon = self.floor * expected.amax((-2, -1), keepdim=True)
        epsilon = torch.where(epsilon > 0, epsilon, 1.0)
        flat = interpolate_trace((y + epsilon) / (expected + epsilon), mask)
        return torch.where(mask, y, flat * (expected + epsilon) - epsilon)


def unit_of(hu: float) -> float:
    """What images in HU are where 0 is air."""
    ct = UNIT_RANGE["CT"]
    return (hu - ct.low) / ct.scale


def smooth(x: Tensor, std: float) -> Tensor:
    """Images (..., H, W) after a Gaussian of ``std`` pixels; edges are repeated."""
    if std == 0:
        return x
    reach = min(int(4 * std + 0.5), x.shape[-1] - 1)
    at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (at / std) ** 2)
    kernel = kernel / kernel.sum()
    wide = torch.nn.functional.pad(x, (reach,) * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(wide, kernel.reshape(1, 1, 1, -1))
    return torch.nn.functional.conv2d(rows, kernel.reshape(1, 1, -1, 1))
