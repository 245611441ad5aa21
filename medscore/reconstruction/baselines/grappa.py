r"""GRAPPA: missing samples as combinations of measured ones of all coils (Griswold et al. 2002).

The missing sample of coil c at k is predicted from the samples of all coils d that were measured in
a window around it, at the offsets r,

.. math:: \hat y_c(k) = \sum_{d, r} w_{c d r}\; y_d(k + r).

The weights w are those that predict the fully sampled centre best: least squares, with the matrix S
of the same samples of all its windows and the targets t,

.. math:: \min_w \|S w - t\|^2 + \mathrm{weight}\,\frac{\|S^H S\|_F}{n} \|w\|^2,

for n unknowns. Both steps are pygrappa's. The images of the completed k-space are combined by the
coil maps of the measurement, as those of other methods are.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from medscore.errors import MedscoreError, optional_module
from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.mri.centre import scanner
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import unit_peak
from medscore.reconstruction.baselines.base import Baseline


class GRAPPA(Baseline):
    """Completion of the k-space of several coils, calibrated in its fully sampled centre.

    Samples that have no measured one in their window stay zero.

    Attributes:
        kind: name of the baseline.
        weight: weight of the squared norm of the kernel.
        readout: length of the window along the readout in samples, an odd number.
        width: width of the window across the readout in samples, an odd number.
    """

    weighted: ClassVar[bool] = False

    kind: Literal["grappa"] = "grappa"
    weight: float = Field(default=0.3, gt=0)
    readout: int = Field(default=5, ge=1, le=99)
    width: int = Field(default=9, ge=3, le=99)

    @field_validator("readout", "width")
    @classmethod
    def _odd(cls, length: int) -> int:
        if length % 2 == 0:
            raise ValueError(f"{length} is even: use an odd number of samples, such as 5")
        return length

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        scan = scanner(operator)
        if not isinstance(scan, MulticoilFourier) or y.shape[1] < 2:
            raise MedscoreError(
                f"{self.kind} reconstructs Cartesian k-space of several coils, not measurements of "
                f"{operator!r}",
                hint="use zero-filled, cg-sense, fista-tv or l1-wavelet",
            )
        mask = operator.mask(y).bool().expand(len(y), 1, *y.shape[-2:])
        peak = y.abs().amax(dim=(-3, -2, -1), keepdim=True)
        completed = [
            torch.where(sampled, one, self.complete(one, sampled[0]))
            for one, sampled in zip(unit_peak(mask * y), mask, strict=True)
        ]
        return operator.T_inv(peak * torch.stack(completed))

    def complete(self, kspace: Tensor, sampled: Tensor) -> Tensor:
        """k-space (coil, ky, kx) with predictions of its missing samples.

        Args:
            kspace: (coil, ky, kx), zero where nothing was measured.
            sampled: (ky, kx), the measured samples.

        Raises:
            MedscoreError: pygrappa is not installed, or the centre is smaller than the window.
        """
        package = optional_module("pygrappa", "GRAPPA", install="medscore[bench]")
        centre = self._centre(kspace, sampled)
        if not bool(kspace.any()):
            return kspace
        # pygrappa takes the zeros of the first coil as missing samples
        order = (kspace != 0).flatten(1).sum(1).argsort(descending=True)
        with np.errstate(invalid="ignore"):  # 0 / 0 where a window holds no measured sample
            found = package.mdgrappa(
                kspace[order].numpy(),
                centre[order].numpy(),
                kernel_size=(self.readout, self.width),
                coil_axis=0,
                lamda=self.weight,
            )
        return torch.from_numpy(found).to(kspace)[order.argsort()]

    def _centre(self, kspace: Tensor, sampled: Tensor) -> Tensor:
        """The fully sampled centre (coil, height, width)."""
        try:
            height, width = calibration_region(sampled)
        except OperatorError:
            height, width = 0, 0
        if height < self.readout or width < self.width:
            raise MedscoreError(
                f"{self.kind} is calibrated in the fully sampled centre, whose {height} x {width} "
                f"samples are fewer than those of a window of {self.readout} x {self.width}",
                hint="decrease `width`, measure more of the centre, or use cg-sense or l1-wavelet",
            )
        top, left = kspace.shape[-2] // 2 - height // 2, kspace.shape[-1] // 2 - width // 2
        return kspace[:, top : top + height, left : left + width]
