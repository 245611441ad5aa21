"""Zero-padding of images to the size that an operator requires."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from medscore.operators.base import Operator
from medscore.operators.gram import Gram
from medscore.operators.grid import OperatorError
from medscore.operators.structure import Normal


def middle(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of images, which :class:`Padded` surrounds with zeros.

    Args:
        images: (..., rows, columns).
        size: rows and columns to keep.
    """
    rows, columns = images.shape[-2:]
    top, left = (rows - size[0]) // 2, (columns - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]


class Padded(Operator):
    """``inner`` on images (batch, channel, height, width), padded with zeros on all sides.

    The mask, the measurements and the noise are those of ``inner``; T_inv crops the padding again.
    T is not surjective: its range is the measurements of images with an empty margin.

    Args:
        inner: an operator on larger images, such as a square :class:`Radon`.
        height: number of rows of the image before padding.
        width: number of columns of the image before padding.

    Raises:
        OperatorError: the image is larger than those of ``inner``.
    """

    surjective = False

    def __init__(self, inner: Operator, height: int, width: int) -> None:
        rows, columns = inner.image_shape[-2:]
        if not (1 <= height <= rows and 1 <= width <= columns):
            raise OperatorError(f"{height}x{width} does not fit into {rows}x{columns}")
        top, left = (rows - height) // 2, (columns - width) // 2
        self.inner = inner
        self._rim = (left, columns - width - left, top, rows - height - top)
        super().__init__(
            inner.diagonal,
            image_shape=(*inner.image_shape[:-2], height, width),
            grid_shape=inner.grid_shape,
            noise=inner.noise_model,
        )

    def __repr__(self) -> str:
        height, width = self.image_shape[-2:]
        return f"Padded({height}x{width} in {self.inner!r})"

    def settings(self) -> dict[str, Any]:
        height, width = self.image_shape[-2:]
        return {"inner": self.inner, "height": height, "width": width}

    def select(self, samples: Sequence[int]) -> Padded:
        chosen = copy.copy(super().select(samples))
        chosen.inner = self.inner.select(samples)
        return chosen

    def gram(self, y: Tensor) -> Gram | None:
        return self.inner.gram(y)

    def normal(self, y: Tensor) -> Normal | None:
        inner, crop = self.inner.normal(y), tuple(-n for n in self._rim)
        if inner is None:
            return None
        return self._counted(lambda x: pad(inner(pad(x, self._rim)), crop))

    def T(self, x: Tensor) -> Tensor:
        return self.inner.T(pad(x, self._rim))

    def T_adjoint(self, z: Tensor) -> Tensor:
        return pad(self.inner.T_adjoint(z), tuple(-n for n in self._rim))

    def T_inv(self, z: Tensor) -> Tensor:
        return pad(self.inner.T_inv(z), tuple(-n for n in self._rim))
