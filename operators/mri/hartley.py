r"""Cartesian MRI of real images: T = the centred orthonormal Hartley transform.

Of a real image, such as a magnitude prior's, k-space is Hermitian: :math:`X_{-k} = \bar X_k`, and
both are known from the two real numbers

.. math:: h_k = \mathrm{Re} X_k - \mathrm{Im} X_k, \qquad
          X_k = \tfrac12 (h_k + h_{-k}) - \tfrac i2 (h_k - h_{-k}).

The transform :math:`x \mapsto h` (Bracewell 1983) is real, orthogonal and its own inverse, so the
factorisation A = P(Lambda) T is exact where that of the Fourier transform of real images is not: it
is not onto. A sample of k-space is a pair of the mask here; see :func:`kspace_mask`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.fourier import fft2c, kspace_shape
from medscore.operators.mri.masks import opposite
from medscore.operators.noise import NoiseModel
from medscore.types import Images, Kspace


class Hartley(Operator):
    """Hartley coefficients (batch, channel, ky, kx) of real images (batch, channel, H, W).

    Args:
        mask: (ky, kx) or (batch, 1, ky, kx), closed under k -> -k: see :func:`kspace_mask`.
        noise: of the real coefficients.

    Raises:
        ValueError: the mask has one axis alone, or holds k without -k.
    """

    surjective = True
    zero_filled_is_pinv = True

    def __init__(self, mask: Tensor, noise: NoiseModel | None = None) -> None:
        shape = kspace_shape(mask)
        if not torch.equal(mask.bool(), opposite(mask.bool())):
            raise ValueError("the mask holds k without -k: use operators.hartley.kspace_mask")
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
    """The coefficients that samples of the k-space of a real image tell: each k, and -k."""
    return mask.bool() | opposite(mask.bool())


def coefficients(kspace: Kspace, mask: Tensor) -> Images:
    """Hartley coefficients of the k-space of a real image, sampled where ``mask`` is 1; where both
    k and -k were, the mean of the two, and zero where neither was.
    """
    taken = mask.to(kspace.real)
    here, there = taken * kspace, opposite(taken * kspace).conj()
    count = (taken + opposite(taken)).clamp_min(1)
    z = (here + there) / count
    return z.real - z.imag
