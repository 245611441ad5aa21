r"""Compressed sensing with wavelets, by FISTA (Lustig, Donoho and Pauly 2007):

.. math:: \min_x \tfrac12 \|y - A x\|^2 / |A|^2 + \mathrm{weight}\,\|W x\|_1,

with W the detail coefficients of an orthogonal wavelet transform of periodic images, whose proximal
map takes ``weight`` off the modulus of each. As the transform depends on where its grid lies,
every iteration takes the next of a fixed sequence of shifts (cycle spinning, Coifman and Donoho
1995; within iterations, Figueiredo and Nowak 2003), so the result has no blocks, and the minimum is
that of the shifts' mean, nearly. Real images are cut off at zero after each step.
"""

from __future__ import annotations

from itertools import cycle
from typing import Literal

import pywt
import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn.functional import pad

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.fista import STEP, fista


class L1Wavelet(Baseline):
    """Sparse wavelets, of any measurement.

    Attributes:
        weight: of the coefficients of images between 0 and about 1. wavelet: an orthogonal one, as
            PyWavelets names it. levels: the most; fewer where a level would be shorter than the
            wavelet's filter. iterations: of FISTA. shifts: in the sequence; 1 for none, whose
            minimum is that of the formula.
    """

    kind: Literal["l1-wavelet"] = "l1-wavelet"
    weight: float = Field(default=1e-3, gt=0)
    wavelet: str = "db4"
    levels: int = Field(default=4, ge=1, le=10)
    iterations: int = Field(default=200, ge=1)
    shifts: int = Field(default=16, ge=1)

    @field_validator("wavelet")
    @classmethod
    def _known_and_orthogonal(cls, name: str) -> str:
        if name not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(name).orthogonal:
            raise ValueError(f"{name!r} is no orthogonal wavelet: use db4, sym4 or haar, say")
        return name

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        prox = WaveletProx(STEP * self.weight, self.wavelet, self.levels, self.shifts)
        return fista(operator, y, prox, iterations=self.iterations)


class WaveletProx:
    """argmin of 1/2 |x - v|^2 + weight |W x|_1 for images v (batch, channel, H, W), the next shift
    every call; of real ones, cut off at zero.

    Sides that are no multiple of 2^levels are padded with zeros for it. That is the proximal map of
    another convex penalty, so what it is iterated for converges all the same.
    """

    def __init__(self, weight: float, wavelet: str, levels: int, shifts: int) -> None:
        self.weight, self.wavelet, self.levels = weight, wavelet, levels
        self._shifts = cycle(shift_sequence(shifts, 2**levels))

    def __call__(self, v: Tensor) -> Tensor:
        shift, (height, width) = next(self._shifts), v.shape[-2:]
        levels = depth(min(height, width), self.wavelet, self.levels)
        below, right = -height % 2**levels, -width % 2**levels
        moved = pad(v, (0, right, 0, below)).roll(shift, (-2, -1))
        sparse = soft_details(moved, self.weight, self.wavelet, levels)
        x = sparse.roll((-shift[0], -shift[1]), (-2, -1))[..., :height, :width]
        return x if x.is_complex() else x.clamp_min(0)


def soft_details(x: Tensor, weight: float, wavelet: str, levels: int) -> Tensor:
    """W^H soft(W x), coarse coefficients as they are; sides are multiples of 2^levels."""
    options = {"wavelet": wavelet, "mode": "periodization", "axes": (-2, -1)}
    coarse, *details = pywt.wavedec2(x.cpu().numpy(), level=levels, **options)
    thin = [tuple(pywt.threshold(d, weight, "soft") for d in level) for level in details]
    return torch.from_numpy(pywt.waverec2([coarse, *thin], **options)).to(x)


def depth(side: int, wavelet: str, levels: int) -> int:
    """``levels``, or as many as leave a side no shorter than the filter, less one."""
    most: int = pywt.dwt_max_level(side, wavelet)
    return max(1, min(levels, most))


def shift_sequence(count: int, period: int) -> list[tuple[int, int]]:
    """Shifts of rows and columns within a period, the same every time; the first is (0, 0)."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.randint(period, (2, count - 1), generator=generator).tolist()
    return [(0, 0), *zip(rows, columns, strict=True)]
