r"""Deblurring: a circular convolution is diagonal in Fourier space.

With h the transform of the kernel, A = P(Lambda) T where T = F diag(h) and Lambda keeps the
frequencies whose gain exceeds a threshold; elsewhere h is replaced by 1, so that T is invertible.
F is replaced by the real Hartley transform, H x = Re F x - Im F x with the orthonormal F: it is
orthogonal and its own inverse, and since |h(-k)| = |h(k)| the mask is the same for both. So real
images have real measurements, and T is surjective.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.noise import NoiseModel
from medscore.types import Images


class Blur(Operator):
    """Circular convolution of real images (batch, channel, H, W).

    The measurement is the Hartley transform of the blurred image.

    Args:
        kernel: (m, n) with odd sides, no larger than the image; its centre is its origin.
        height: number of rows of the image.
        width: number of columns of the image.
        threshold: frequencies whose gain is below this share of the largest count as unmeasured.
        noise: noise of the Hartley transform; white noise in the blurred image is the same there.

    Raises:
        OperatorError: a side of the kernel is even or too large, the kernel is not finite or is
            zero, or ``threshold`` is not between 0 and 1.
    """

    surjective = True
    zero_filled_is_pinv = True

    def __init__(
        self,
        kernel: Tensor,
        height: int,
        width: int,
        threshold: float = 0.01,
        noise: NoiseModel | None = None,
    ) -> None:
        m, n = kernel.shape
        if not (m % 2 and n % 2) or m > height or n > width:
            raise OperatorError(
                f"the kernel has {m}x{n} pixels, expected odd sides of at most {height}x{width}"
            )
        if not bool(torch.isfinite(kernel).all()) or not bool(kernel.any()):
            raise OperatorError("the kernel must consist of finite numbers that are not all zero")
        if not 0 < threshold < 1:
            raise OperatorError(f"`threshold` is {threshold}, expected a number between 0 and 1")
        self.kernel, self.threshold = kernel, threshold
        placed = torch.zeros(height, width, dtype=torch.float64)
        placed[:m, :n] = kernel
        h = torch.fft.fft2(placed.roll((-(m // 2), -(n // 2)), (0, 1)))
        passed = h.abs() > threshold * h.abs().max()
        passed = passed & passed.roll((-1, -1), (0, 1)).flip(0, 1)  # rounding may separate a pair
        half = width // 2 + 1
        self._response = torch.where(passed, h, 1.0)[:, :half]
        shape = (height, width)
        super().__init__(passed, image_shape=shape, grid_shape=shape, noise=noise)

    def __repr__(self) -> str:
        h, w = self.image_shape
        m, n = self.kernel.shape
        share = 100 * float(self._mask.float().mean())
        return f"Blur({h}x{w}, kernel {m}x{n}, {share:.3g} % of the frequencies pass)"

    def settings(self) -> dict[str, Any]:
        h, w = self.image_shape
        return {
            "kernel": self.kernel,
            "height": h,
            "width": w,
            "threshold": self.threshold,
            "noise": self.noise_model,
        }

    def T(self, x: Images) -> Images:
        return hartley(self._filter(x, self._response))

    def T_adjoint(self, z: Images) -> Images:
        return self._filter(hartley(z), self._response.conj())

    def T_inv(self, z: Images) -> Images:
        return self._filter(hartley(z), 1 / self._response)

    def measurement(self, blurred: Images) -> Images:
        """The measurement that corresponds to a blurred image (batch, channel, H, W)."""
        return self.mask(blurred) * hartley(blurred)

    def blurred(self, y: Images) -> Images:
        """The blurred image that corresponds to ``y``, without the unmeasured frequencies."""
        return hartley(self.mask(y) * y)

    def _filter(self, x: Tensor, response: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        filtered: Tensor = torch.fft.irfft2(spectrum * response.to(spectrum), s=self.image_shape)
        return filtered


def hartley(x: Tensor) -> Tensor:
    """The orthonormal Hartley transform of ``x`` over the last two axes; its own inverse."""
    spectrum = torch.fft.fft2(x, norm="ortho")
    transform: Tensor = spectrum.real - spectrum.imag
    return transform


def gaussian_kernel(std: float) -> Tensor:
    """A Gaussian kernel, truncated at four standard deviations; sums to 1.

    Args:
        std: standard deviation in pixels.

    Raises:
        OperatorError: ``std`` is not a positive number.
    """
    if not 0 < std < math.inf:
        raise OperatorError(f"`std` is {std}, expected a positive number")
    reach = math.ceil(4 * std)
    line = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (line / std) ** 2)
    kernel = weights[:, None] * weights
    return kernel / kernel.sum()


def motion_kernel(length: float, angle: float) -> Tensor:
    """The kernel of a uniform straight motion; sums to 1.

    Points along the motion are distributed over the four pixels around them by bilinear weights.

    Args:
        length: length of the motion in pixels.
        angle: its angle from the x axis in radians.

    Raises:
        OperatorError: ``length`` is negative, or either is not finite.
    """
    if not (0 <= length < math.inf and math.isfinite(angle)):
        raise OperatorError(
            f"`length` is {length} and `angle` {angle}, expected 0 or more and a finite number"
        )
    reach = math.ceil(length / 2) + 1
    n = 2 * reach + 1
    along = (torch.arange(256, dtype=torch.float64) + 0.5) / 256 - 0.5
    x, y = reach + length * along * math.cos(angle), reach - length * along * math.sin(angle)
    kernel = torch.zeros(n, n, dtype=torch.float64)
    column, row = x.floor(), y.floor()
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - (x - column - right).abs()) * (1 - (y - row - down).abs())
            place = (row.long() + down, column.long() + right)
            kernel.index_put_(place, share, accumulate=True)
    return kernel / kernel.sum()
