r"""Compressed sensing with an l1 penalty on wavelets, by FISTA (Lustig, Donoho and Pauly 2007).

.. math:: \min_x \tfrac12 \|y - A x\|^2 / |A|^2 + \mathrm{weight}\,\|W x\|_1,

where W x are the detail coefficients of an orthogonal wavelet transform of periodic images. The
proximal map soft-thresholds each coefficient. The transform is not shift-invariant, so every
iteration uses the next of a fixed sequence of shifts (cycle spinning, Coifman and Donoho 1995;
within iterations, Figueiredo and Nowak 2003). This avoids block artifacts and approximately
minimises the mean penalty over the shifts. Real images are clipped at zero after each step.
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
    """An l1 penalty on wavelet coefficients, for all measurements.

    Attributes:
        kind: name of the baseline.
        weight: weight of the wavelet coefficients, for images between 0 and about 1.
        wavelet: name of an orthogonal wavelet in PyWavelets.
        levels: largest number of levels; fewer if a level would be shorter than the filter.
        iterations: number of FISTA iterations.
        shifts: number of shifts of cycle spinning; 1 disables it and minimises the objective
            exactly.
    """

    kind: Literal["l1-wavelet"] = "l1-wavelet"
    weight: float = Field(default=1e-3, gt=0)
    wavelet: str = "db4"
    levels: int = Field(default=4, ge=1, le=10)
    iterations: int = Field(default=200, ge=1, le=100_000)
    shifts: int = Field(default=16, ge=1, le=4096)

    @field_validator("wavelet")
    @classmethod
    def _known_and_orthogonal(cls, name: str) -> str:
        if name not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(name).orthogonal:
            raise ValueError(f"{name!r} is not an orthogonal wavelet: use db4, sym4 or haar")
        return name

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        prox = WaveletProx(STEP * self.weight, self.wavelet, self.levels, self.shifts)
        return fista(operator, y, prox, iterations=self.iterations)


class WaveletProx:
    """The proximal map of the wavelet penalty, with a different shift in every call.

    It minimises 1/2 |x - v|^2 + weight |W x|_1 for images v (batch, channel, H, W); real images are
    clipped at zero. Sides that are not multiples of 2^levels are padded with zeros, which gives the
    proximal map of another convex penalty, so the iterations converge as well.

    Args:
        weight: weight of the coefficients.
        wavelet: name of an orthogonal wavelet in PyWavelets.
        levels: largest number of levels.
        shifts: number of shifts of cycle spinning.
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
    """Soft thresholding of the detail coefficients, W^H soft(W x); coarse ones are kept.

    Args:
        x: images (..., H, W) whose sides are multiples of 2^levels.
        weight: threshold.
        wavelet: name of an orthogonal wavelet in PyWavelets.
        levels: number of levels.
    """
    options = {"wavelet": wavelet, "mode": "periodization", "axes": (-2, -1)}
    coarse, *details = pywt.wavedec2(x.cpu().numpy(), level=levels, **options)
    thin = [tuple(pywt.threshold(d, weight, "soft") for d in level) for level in details]
    return torch.from_numpy(pywt.waverec2([coarse, *thin], **options)).to(x)


def depth(side: int, wavelet: str, levels: int) -> int:
    """The number of levels that a side allows, at most ``levels``.

    Args:
        side: number of pixels of the shorter side.
        wavelet: name of the wavelet.
        levels: largest number of levels.
    """
    most: int = pywt.dwt_max_level(side, wavelet)
    return max(1, min(levels, most))


def shift_sequence(count: int, period: int) -> list[tuple[int, int]]:
    """A fixed sequence of shifts of rows and columns; the first is (0, 0).

    Args:
        count: number of shifts.
        period: upper bound of the shifts.
    """
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.randint(period, (2, count - 1), generator=generator).tolist()
    return [(0, 0), *zip(rows, columns, strict=True)]
