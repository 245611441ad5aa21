r"""Normalised metal artifact reduction, NMAR (Meyer et al. 2010).

The metal trace is interpolated in a sinogram that is normalised by that of a prior image m,

.. math:: x = A^T F \left[ \mathrm{LI}\Big(\frac{y + \epsilon}{A m + \epsilon}\Big)
                           (A m + \epsilon) - \epsilon \right].

The prior image is the reconstruction of :mod:`~medscore.reconstruction.baselines.interpolation`, in
which air and soft tissue are each set to one value; bone and values between air and soft tissue,
such as lung, are kept. If m equals the image, the quotient is 1 and the trace is completed exactly;
if A m is constant along a gap, NMAR equals LI. epsilon, a fraction of the largest ray sum, keeps
the quotient finite for rays through air only.
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
    """NMAR with a prior image from thresholds; measured rays are not changed.

    Attributes:
        kind: name of the baseline.
        air: CT number in HU below which a pixel is air.
        soft: CT number in HU from which a pixel is soft tissue; in the paper it equals ``air``.
        bone: CT number in HU from which a pixel is bone.
        smoothing: standard deviation in pixels of the Gaussian filter before thresholding, which
            keeps streaks from being classified as bone; 0 for none.
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
        radon, back = projections(operator, self.kind)
        whole, sinogram = filled(radon, y)
        prior = self.prior_image(whole.fbp(sinogram))
        return back(whole.fbp(self.fill(radon, y, whole.forward(prior))))

    def prior_image(self, x: Tensor) -> Tensor:
        """The prior image m.

        Args:
            x: reconstruction (batch, 1, H, W) in units in which air is 0.
        """
        air, soft, water, bone = (unit_of(hu) for hu in (self.air, self.soft, WATER, self.bone))
        seen = smooth(x, self.smoothing)
        tissue = torch.where((soft <= seen) & (seen < bone), water, x)
        return torch.where(seen < air, 0.0, tissue).clamp_min(0)

    def fill(self, operator: Radon, y: Tensor, expected: Tensor) -> Tensor:
        """The sinogram with its missing rays completed.

        Args:
            operator: the operator.
            y: measurements (batch, 1, views, detectors).
            expected: ray sums A m (batch, 1, views, detectors) of all rays of the measured views.
        """
        mask = operator.mask(y).bool()
        epsilon = self.floor * expected.amax((-2, -1), keepdim=True)
        epsilon = torch.where(epsilon > 0, epsilon, 1.0)
        flat = interpolate_trace((y + epsilon) / (expected + epsilon), mask)
        return torch.where(mask, y, flat * (expected + epsilon) - epsilon)


def unit_of(hu: float) -> float:
    """A CT number in units in which air is 0 and images are at most about 1.

    Args:
        hu: CT number in HU.
    """
    ct = UNIT_RANGE["CT"]
    return (hu - ct.low) / ct.scale


def smooth(x: Tensor, std: float) -> Tensor:
    """Images after a Gaussian filter with repeated edges.

    Args:
        x: images (batch, 1, H, W).
        std: standard deviation of the filter in pixels.
    """
    if std == 0:
        return x
    reach = min(int(4 * std + 0.5), x.shape[-1] - 1)
    at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (at / std) ** 2)
    kernel = kernel / kernel.sum()
    wide = torch.nn.functional.pad(x, (reach,) * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(wide, kernel.reshape(1, 1, 1, -1))
    return torch.nn.functional.conv2d(rows, kernel.reshape(1, 1, -1, 1))
