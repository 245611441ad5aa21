r"""Operators on another image grid: :math:`A' = A U` with :math:`U x = R\, x\, C^T`.

R and C map the rows and columns of the one grid to those of the other, as by padding, cropping,
interpolation or area means. Measurements and their mask stay. T_inv goes back by given left
inverses, :math:`R^-\, T^{-1} z\, (C^-)^T`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medscore.operators.autograd import remember
from medscore.operators.base import Operator
from medscore.operators.gram import Gram
from medscore.operators.grid import OperatorError
from medscore.operators.wrappers.padded import Padded, middle


class Resampled(Operator):
    """``inner`` on images (batch, channel, height, width) of another grid.

    The mask, the measurements and the noise are those of ``inner``. T is not surjective: its range
    is the measurements of resampled images.

    Args:
        inner: an operator on images of the other grid.
        rows: R, (rows of ``inner``, height).
        columns: C, (columns of ``inner``, width).
        rows_back: left inverse of R, exact or not, (height, rows of ``inner``).
        columns_back: left inverse of C, exact or not, (width, columns of ``inner``).

    Raises:
        OperatorError: the matrices do not fit ``inner`` or each other.
    """

    surjective = False

    def __init__(
        self,
        inner: Operator,
        rows: Tensor,
        columns: Tensor,
        rows_back: Tensor,
        columns_back: Tensor,
    ) -> None:
        wide = zip((rows, columns), (rows_back, columns_back), inner.image_shape[-2:], strict=True)
        for there, back, n in wide:
            if there.ndim != 2 or len(there) != n or back.shape != there.shape[::-1]:
                raise OperatorError(
                    f"matrices of shape {tuple(there.shape)} and {tuple(back.shape)} do not map to "
                    f"{n} pixels and back",
                    hint="use (pixels of `inner`, pixels) and (pixels, pixels of `inner`)",
                )
        self.inner, self.rows, self.columns = inner, rows.double(), columns.double()
        self.rows_back, self.columns_back = rows_back.double(), columns_back.double()
        super().__init__(
            inner.diagonal,
            image_shape=(*inner.image_shape[:-2], rows.shape[1], columns.shape[1]),
            grid_shape=inner.grid_shape,
            noise=inner.noise_model,
        )

    def __repr__(self) -> str:
        height, width = self.image_shape[-2:]
        return f"Resampled({height}x{width} for {self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {
            "inner": self.inner, "rows": self.rows, "columns": self.columns,
            "rows_back": self.rows_back, "columns_back": self.columns_back,
        }  # fmt: skip

    def select(self, samples: Sequence[int]) -> Resampled:
        chosen = copy.copy(super().select(samples))
        chosen.inner = self.inner.select(samples)
        return chosen

    def gram(self, y: Tensor) -> Gram | None:
        """That of ``inner``, times the ratio of the pixel sizes: a ray crosses fewer pixels."""
        inner = self.inner.gram(y)
        if inner is None:
            return None
        ratio = float((self.rows.sum(0).max() * self.columns.sum(0).max()).sqrt())
        return replace(inner.times(ratio), pixel=ratio * inner.pixel)

    def T(self, x: Tensor) -> Tensor:
        return self.inner.T(self.there(x))

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self._apply("rows", "columns", self.inner.T_adjoint(z), transposed=True)

    def T_inv(self, z: Tensor) -> Tensor:
        return self.back(self.inner.T_inv(z))

    def forward(self, x: Tensor) -> Tensor:
        self._count[0] += 1
        return self.inner.forward(self.there(x))

    def adjoint(self, y: Tensor) -> Tensor:
        self._count[0] += 1
        return self._apply("rows", "columns", self.inner.adjoint(y), transposed=True)

    def there(self, x: Tensor) -> Tensor:
        """Images on the grid of ``inner``.

        Args:
            x: images (..., height, width).
        """
        return self._apply("rows", "columns", x)

    def back(self, x: Tensor) -> Tensor:
        """Images of ``inner`` on the grid of this operator.

        Args:
            x: images of ``inner``.
        """
        return self._apply("rows_back", "columns_back", x)

    def _apply(self, rows: str, columns: str, x: Tensor, *, transposed: bool = False) -> Tensor:
        left, right = self._matrix(rows, x), self._matrix(columns, x)
        return left.mT @ x @ right if transposed else left @ x @ right.mT

    def _matrix(self, name: str, like: Tensor) -> Tensor:
        def cast() -> Tensor:
            return torch.as_tensor(getattr(self, name)).to(like.device, like.dtype)

        found: Tensor = remember(self._cache, (name, like.dtype, like.device), cast)
        return found


def unwrapped(operator: Operator) -> tuple[Operator, Callable[[Tensor], Tensor]]:
    """An operator without the padding and the resampling of its images.

    Args:
        operator: the operator.

    Returns:
        The operator on the other image grid, and the map of its images back to the first one.
    """
    if isinstance(operator, Resampled):
        inner, back = unwrapped(operator.inner)
        return inner, lambda x: operator.back(back(x))
    if isinstance(operator, Padded):
        inner, back = unwrapped(operator.inner)
        height, width = operator.image_shape[-2:]
        return inner, lambda x: middle(back(x), (height, width))
    return operator, lambda x: x


def with_inner(operator: Operator, change: Callable[[Operator], Operator]) -> Operator:
    """The operator with the one that :func:`unwrapped` returns replaced.

    Args:
        operator: the operator.
        change: maps the operator on the other image grid to its replacement.
    """
    if not isinstance(operator, Padded | Resampled):
        return change(operator)
    arguments = {**operator.settings(), "inner": with_inner(operator.inner, change)}
    return type(operator)(**arguments)
