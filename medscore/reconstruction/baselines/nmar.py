r"""Normalised metal artifact reduction, NMAR (Meyer et al. 2010): interpolation of a sinogram that
a prior image has flattened,

.. math:: x = A^T F \left[ \mathrm{LI}\Big(\frac{y + \epsilon}{A m + \epsilon}\Big)
                           (A m + \epsilon) - \epsilon \right],

with m the reconstruction by :mod:`~medscore.reconstruction.baselines.interpolation` in which air
and soft tissue have one value each, while bone and what lies between air and soft tissue, lungs
say, keep their own. Where m is the image, the quotient is 1 and the trace is filled in exactly;
where A m is constant along a gap, NMAR is LI. epsilon, a share of the largest ray sum, keeps the
quotient finite where rays meet nothing but air.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from medscore.measurements.units import UNIT_RANGE
from medscore.operators.base import Operator
from medscore.operators.ct.metal import interpolate_trace
from medscore.operators.ct.radon import Radon
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.direct import filled, projections

WATER = 0.0
"""HU of soft tissue in the prior image."""


class NMAR(Baseline):
    """Thresholds make the prior image, one pass makes the result; measured rays stay as they are.

    Attributes:
        kind: its name.
        air: HU up to which a pixel is air.
        soft: HU from which a pixel is soft tissue; equal to ``air`` as in the paper, nothing is
            left between them.
        bone: HU from which a pixel is bone.
        smoothing: standard deviation in pixels of the Gaussian filter before thresholding, so that
            streaks do not count as bone; 0 for none.
        floor: epsilon relative to the largest ray sum of the prior image.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["nmar"] = "nmar"
    air: float = Field(default=-900.0, gt=-1000, lt=0)
    soft: float = Field(default=-200.0, gt=-1000, lt=0)
    bone: float = Field(default=150.0, gt=0, lt=3000)
    smoothing: float = Field(default=1.0, ge=0, le=10)
    floor: float = Field(default=0.01, gt=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> NMAR:
        if self.soft < self.air:
            raise ValueError(f"soft is {self.soft:g} HU, below air, {self.air:g} HU")
        return self

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        operator = projections(operator, self.kind)
        whole, sinogram = filled(operator, y)
        prior = self.prior_image(whole.fbp(sinogram))
        return whole.fbp(self.fill(operator, y, whole.forward(prior)))

    def prior_image(self, x: Tensor) -> Tensor:
        """m of a reconstruction (batch, 1, H, W), both in units where 0 is air."""
        air, soft, water, bone = (unit_of(hu) for hu in (self.air, self.soft, WATER, self.bone))
        seen = smooth(x, self.smoothing)
        tissue = torch.where((soft <= seen) & (seen < bone), water, x)
        return torch.where(seen < air, 0.0, tissue).clamp_min(0)

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
