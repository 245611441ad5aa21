"""Inpainting: T is the identity, Lambda the known pixels (Song et al. 2022, B.5.9)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.noise import NoiseModel


class Inpainting(Operator):
    """Known pixels of images (batch, channel, H, W), real or complex.

    Args:
        mask: 1 where a pixel is known: (H, W) for all channels and samples, or
            (1 or batch, 1 or channel, H, W).
        noise: noise of the known pixels.
    """

    surjective = True
    zero_filled_is_pinv = True

    def __init__(self, mask: Tensor, noise: NoiseModel | None = None) -> None:
        if not isinstance(mask, Tensor) or mask.ndim < 2:
            raise OperatorError(
                f"`mask` is {getattr(mask, 'shape', mask)}, expected a tensor (..., H, W)",
                hint="give one 0 or 1 for each pixel",
            )
        shape = (mask.shape[-2], mask.shape[-1])
        super().__init__(mask, image_shape=shape, grid_shape=shape, noise=noise)

    def __repr__(self) -> str:
        h, w = self.image_shape
        return f"Inpainting({h}x{w}, {100 * float(self._mask.float().mean()):.3g} % known)"

    def settings(self) -> dict[str, Any]:
        return {"mask": self._mask, "noise": self.noise_model}

    def T(self, x: Tensor) -> Tensor:
        return x

    def T_adjoint(self, z: Tensor) -> Tensor:
        return z

    def T_inv(self, z: Tensor) -> Tensor:
        return z
