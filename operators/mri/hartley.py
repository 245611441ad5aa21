r"""Cartesian MRI of real images: T is the centred orthonormal Hartley transform.

The k-space of a real image, as of a magnitude prior, is conjugate-symmetric (Hermitian),
:math:`X_{-k} = \bar X_k`, and both samples follow from the two real numbers

.. math:: h_k = \mathrm{Re} X_k - \mathrm{Im} X_k, \qquad
          X_k = \tfrac12 (h_k + h_{-k}) - \tfrac i2 (h_k - h_{-k}).

The transform :math:`x \mapsto h` (Bracewell 1983) is real, orthogonal and its own inverse, so T is
surjective, unlike the Fourier transform of real images. One sample of k-space determines a pair of
Hartley coefficients; see :func:`kspace_mask`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.mri.fourier import fft2c, kspace_shape
from medscore.operators.mri.masks import opposite
from medscore.operators.noise import NoiseModel
from medscore.types import Images, Kspace


class Hartley(Operator):
    """Hartley coefficients (batch, channel, ky, kx) of real images (batch, channel, H, W).

    Args:
        mask: (ky, kx) or (batch, 1, ky, kx), closed under k -> -k: see :func:`kspace_mask`.
        noise: noise of the real coefficients.

    Raises:
        OperatorError: the mask has only one axis, or contains k without -k.
    """

    surjective = True
    zero_filled_is_pinv = True

    def __init__(self, mask: Tensor, noise: NoiseModel | None = None) -> None:
        shape = kspace_shape(mask)
        if not torch.equal(mask.bool(), opposite(mask.bool())):
            raise OperatorError(
                "the mask contains k without -k: use operators.mri.hartley.kspace_mask"
            )
        super().__init__(mask, image_shape=shape, grid_shape=shape, noise=noise)

    def __repr__(self) -> str:
        h, w = self.image_shape
        return f"Hartley({h}x{w}, {100 * float(self._mask.float().mean()):.3g} % measured)"

    def settings(self) -> dict[str, Any]:
        return {"mask": self._mask, "noise": self.noise_model}

    def T(self, x: Images) -> Images:
        z = fft2c(torch.complex(x, torch.zeros_like(x)))
        return z.real - z.imag

    def T_adjoint(self, z: Images) -> Images:
        return self.T(z)

    def T_inv(self, z: Images) -> Images:
        return self.T(z)


def kspace_mask(mask: Tensor) -> Tensor:
    """The mask of the Hartley coefficients that k-space samples of a real image determine.

    Args:
        mask: k-space samples, (..., ky, kx); k determines the coefficients of k and of -k.
    """
    return mask.bool() | opposite(mask.bool())


def coefficients(kspace: Kspace, mask: Tensor) -> Images:
    """Hartley coefficients of a real image from samples of its k-space.

    Where both k and -k were measured they are averaged; where neither was, the result is zero.

    Args:
        kspace: (batch, coil, ky, kx).
        mask: 1 where a sample was measured, broadcastable to ``kspace``.
    """
    taken = mask.to(kspace.real)
    here, there = taken * kspace, opposite(taken * kspace).conj()
    count = (taken + opposite(taken)).clamp_min(1)
    z = (here + there) / count
    return z.real - z.imag
