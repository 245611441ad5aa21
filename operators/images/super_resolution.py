r"""Super-resolution: T is an orthonormal cosine transform of each block, Lambda its mean.

The first coefficient of a block of f x f pixels is f times its mean, so keeping only that one is
average pooling. The transform is orthogonal: A = P(Lambda) T exactly.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.noise import NoiseModel


class SuperResolution(Operator):
    """Average pooling of images (batch, channel, H, W) by an integer factor.

    Args:
        height: number of rows of the image, a multiple of ``factor``.
        width: number of columns of the image, a multiple of ``factor``.
        factor: side of a block in pixels.
        noise: noise of the coefficients, which are ``factor`` times the means.

    Raises:
        OperatorError: ``factor`` does not divide the sides.
    """

    surjective = True
    zero_filled_is_pinv = True

    def __init__(
        self, height: int, width: int, factor: int, noise: NoiseModel | None = None
    ) -> None:
        if factor < 1 or height % factor or width % factor:
            raise OperatorError(
                f"`factor` {factor} does not divide {height}x{width}: pad the image, or use another"
            )
        self.factor = factor
        rows, columns = torch.arange(height) % factor == 0, torch.arange(width) % factor == 0
        shape = (height, width)
        super().__init__(rows[:, None] & columns, image_shape=shape, grid_shape=shape, noise=noise)

    def __repr__(self) -> str:
        h, w = self.image_shape
        f = self.factor
        return f"SuperResolution({h}x{w} from means over {f}x{f} pixels)"

    def settings(self) -> dict[str, Any]:
        h, w = self.image_shape
        return {"height": h, "width": w, "factor": self.factor, "noise": self.noise_model}

    def T(self, x: Tensor) -> Tensor:
        return self._blocks(x, cosines(self.factor).to(x))

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self._blocks(z, cosines(self.factor).T.to(z))

    def T_inv(self, z: Tensor) -> Tensor:
        return self.T_adjoint(z)

    def low_resolution(self, y: Tensor) -> Tensor:
        """The block means (batch, channel, H / f, W / f) of measurements ``y``."""
        return y[..., :: self.factor, :: self.factor] / self.factor

    def measurement(self, means: Tensor) -> Tensor:
        """The measurement on the full grid of ``means`` (batch, channel, H / f, W / f)."""
        y = means.new_zeros(*means.shape[:-2], *self.grid_shape)
        y[..., :: self.factor, :: self.factor] = means * self.factor
        return y

    def _blocks(self, x: Tensor, matrix: Tensor) -> Tensor:
        (h, w), f = self.image_shape, self.factor
        blocks = x.reshape(*x.shape[:-2], h // f, f, w // f, f)
        return torch.einsum("ki,lj,...hiwj->...hkwl", matrix, matrix, blocks).reshape(x.shape)


def cosines(n: int) -> Tensor:
    """The orthonormal cosine transform (n, n) of ``n`` numbers, float64; row 0 is 1 / sqrt(n)."""
    k, i = torch.arange(n).double()[:, None], torch.arange(n).double()
    matrix = torch.cos(math.pi * k * (2 * i + 1) / (2 * n)) * math.sqrt(2 / n)
    matrix[0] = 1 / math.sqrt(n)
    return matrix
