r"""Colorization: T is an orthogonal change of colour basis, Lambda keeps the grey channel.

.. math:: z = M^T (r, g, b)^T, \qquad M = \begin{pmatrix}
          1/\sqrt3 & -\sqrt{2/3} & 0 \\ 1/\sqrt3 & 1/\sqrt6 & 1/\sqrt2 \\
          1/\sqrt3 & 1/\sqrt6 & -1/\sqrt2 \end{pmatrix}

so that the first channel is the grey image times :math:`\sqrt3` (Song et al. 2022, B.5.9, which
prints the entries to three digits).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.noise import NoiseModel

M = torch.tensor(
    [
        [1 / math.sqrt(3), -math.sqrt(2 / 3), 0.0],
        [1 / math.sqrt(3), 1 / math.sqrt(6), 1 / math.sqrt(2)],
        [1 / math.sqrt(3), 1 / math.sqrt(6), -1 / math.sqrt(2)],
    ],
    dtype=torch.float64,
)


class Colorization(Operator):
    """The grey version of colour images (batch, 3, H, W), in the first channel of the grid.

    Args:
        height: number of rows of the image.
        width: number of columns of the image.
        noise: noise of the grey channel.
    """

    surjective = True
    zero_filled_is_pinv = True

    def __init__(self, height: int, width: int, noise: NoiseModel | None = None) -> None:
        grey = torch.tensor([True, False, False]).reshape(3, 1, 1)
        shape = (3, height, width)
        super().__init__(grey, image_shape=shape, grid_shape=shape, noise=noise)

    def __repr__(self) -> str:
        _, h, w = self.image_shape
        return f"Colorization({h}x{w}, grey of red, green and blue)"

    def settings(self) -> dict[str, Any]:
        _, h, w = self.image_shape
        return {"height": h, "width": w, "noise": self.noise_model}

    def T(self, x: Tensor) -> Tensor:
        return torch.einsum("cg,bchw->bghw", M.to(x), x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return torch.einsum("cg,bghw->bchw", M.to(z), z)

    def T_inv(self, z: Tensor) -> Tensor:
        return self.T_adjoint(z)

    def grey(self, y: Tensor) -> Tensor:
        """The grey image (batch, 1, H, W) of a measurement: the mean of the three colours.

        Args:
            y: measurements (batch, 3, H, W).
        """
        return y[:, :1] / math.sqrt(3)

    def measurement(self, grey: Tensor) -> Tensor:
        """The measurement on the full grid of a ``grey`` image (batch, 1, H, W)."""
        return torch.nn.functional.pad(grey * math.sqrt(3), (0, 0, 0, 0, 0, 2))
