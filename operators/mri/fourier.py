r"""Cartesian MRI with one coil: T is the centred orthonormal Fourier transform.

With :math:`c = \lfloor N/2\rfloor` on each axis,

.. math:: X_k = \frac{1}{\sqrt N} \sum_n x_n\, e^{-2\pi i (k-c)(n-c)/N}
              = e^{-2\pi i c^2/N} p_k\, \mathrm{FFT}(p\,x)_k, \qquad p_n = e^{2\pi i c n/N},

so that centring image and k-space costs two multiplications instead of two shifts; where N is even
the factors are +-1. The transform is unitary: its inverse is its adjoint.
"""

from __future__ import annotations

import cmath
import math
import threading
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from medscore.operators.autograd import linear_map, remember
from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.noise import NoiseModel
from medscore.types import ComplexImages, Kspace


class Fourier(Operator):
    """k-space (batch, channel, ky, kx) of complex images (batch, channel, H, W), H = ky, W = kx.

    Images must have a complex dtype even if they are real: the k-space of a real image is
    conjugate-symmetric (Hermitian), so most k-space data would lie outside the range of T, and T
    would not be surjective.

    Args:
        mask: which samples are measured, (ky, kx) or (batch, 1, ky, kx); see
            :mod:`medscore.operators.mri.masks`.
        noise: noise of the receiver.

    Raises:
        OperatorError: the mask has only one axis, or an image is not complex.
    """

    surjective = True
    zero_filled_is_pinv = True

    def __init__(self, mask: Tensor, noise: NoiseModel | None = None) -> None:
        shape = kspace_shape(mask)
        super().__init__(mask, image_shape=shape, grid_shape=shape, noise=noise)

    def __repr__(self) -> str:
        h, w = self.image_shape
        share = 100 * float(self._mask.float().mean())
        return f"Fourier({h}x{w}, {share:.3g} % of k-space measured)"

    def settings(self) -> dict[str, Any]:
        return {"mask": self._mask, "noise": self.noise_model}

    def T(self, x: ComplexImages) -> Kspace:
        return fft2c(_complex(x))

    def T_adjoint(self, z: Kspace) -> ComplexImages:
        return ifft2c(z)

    def T_inv(self, z: Kspace) -> ComplexImages:
        return ifft2c(z)

    def forward(self, x: ComplexImages) -> Kspace:
        self._count[0] += 1
        return linear_map(_complex(x), self._measured, self._measured_adjoint)

    def adjoint(self, y: Kspace) -> ComplexImages:
        self._count[0] += 1
        return linear_map(y, self._measured_adjoint, self._measured)

    def _measured(self, x: Tensor) -> Tensor:
        before, after = self._factors(x)
        spectrum: Tensor = torch.fft.fft2(torch.mul(before, x, out=_workspace(x)))
        return spectrum.mul_(after)

    def _measured_adjoint(self, y: Tensor) -> Tensor:
        before, after = self._factors(y)
        image: Tensor = torch.fft.ifft2(after.conj() * y, norm="forward")
        return image.mul_(before.conj())

    def _factors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factors before and after an unscaled FFT; the second includes the mask."""
        key = ("factors", like.dtype, like.device)
        factors: tuple[Tensor, Tensor] = remember(self._cache, key, lambda: self._made(like))
        return factors

    def _made(self, like: Tensor) -> tuple[Tensor, Tensor]:
        before, after = phases(self.image_shape, like.dtype, like.device)
        return before, self.mask(like) * after * (1 / math.sqrt(math.prod(self.image_shape)))


def fft2c(x: Tensor) -> Tensor:
    """The centred orthonormal Fourier transform of complex ``x`` over its last two axes."""
    return linear_map(x, _transform, _inverse_transform)


def ifft2c(z: Tensor) -> Tensor:
    """The inverse, and adjoint, of :func:`fft2c` on complex ``z``."""
    return linear_map(z, _inverse_transform, _transform)


def _transform(x: Tensor) -> Tensor:
    before, after = phases((x.shape[-2], x.shape[-1]), x.dtype, x.device)
    spectrum: Tensor = torch.fft.fft2(before * x, norm="ortho")
    return spectrum.mul_(after)


def _inverse_transform(z: Tensor) -> Tensor:
    before, after = phases((z.shape[-2], z.shape[-1]), z.dtype, z.device)
    image: Tensor = torch.fft.ifft2(after.conj() * z, norm="ortho")
    return image.mul_(before.conj())


_memory = threading.local()


def _workspace(like: Tensor) -> Tensor:
    """A buffer like the argument that every call overwrites, one for each thread: allocating new
    memory costs a third of an FFT.
    """
    kept: Tensor | None = getattr(_memory, "workspace", None)
    if kept is None or (kept.shape, kept.dtype, kept.device) != (
        like.shape, like.dtype, like.device
    ):  # fmt: skip
        with torch.inference_mode(False):
            kept = torch.empty_like(like, memory_format=torch.contiguous_format)
        _memory.workspace = kept
    return kept


@lru_cache(maxsize=16)
def phases(
    shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factors before and after the FFT; exactly +-1 where both sides are even.

    Args:
        shape: rows and columns.
        dtype: complex type of the data.
        device: their device.
    """
    lines = []
    for n in shape:
        c = n // 2
        exact = torch.arange(n) * c % n  # the angle, without the rounding of large multiples
        angle = exact.double() * (2 * math.pi / n)
        lines.append(torch.polar(torch.ones_like(angle), angle))
    before = lines[0][:, None] * lines[1]
    constant = math.prod([cmath.exp(-2j * math.pi * ((n // 2) ** 2 % n) / n) for n in shape])
    after = before * constant
    if all(n % 2 == 0 for n in shape):
        before, after = torch.round(before.real), torch.round(after.real)
    return before.to(device, dtype), after.to(device, dtype)


def kspace_shape(mask: Tensor) -> tuple[int, int]:
    """The grid (ky, kx) of a k-space mask.

    Args:
        mask: (ky, kx), with or without batch axes in front.

    Raises:
        OperatorError: the mask has only one axis.
    """
    if mask.ndim < 2:
        raise OperatorError(
            f"the mask has shape {tuple(mask.shape)}, expected (ky, kx): expand a mask of lines "
            "to both axes, as the functions of medscore.operators.mri.masks do"
        )
    return mask.shape[-2], mask.shape[-1]


def _complex(x: Tensor) -> Tensor:
    if not x.is_complex():
        raise OperatorError(f"the image is {x.dtype}, expected a complex type: use torch.complex")
    return x
