r"""Measurements in units of their own noise: :math:`A' = W A`, :math:`W = \mathrm{diag}(1/\sigma)`.

Noise of a known standard deviation, even if it differs from ray to ray as in low-dose CT, becomes
white noise of standard deviation 1, the only kind that conditioners have to handle. T' = W T has
the inverse T^-1 W^-1, so the factorisation is preserved.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.gram import Gram
from medscore.operators.grid import OperatorError
from medscore.operators.linalg import wide
from medscore.operators.structure import Normal


class Whitened(Operator):
    """``inner`` with its measurements divided by their noise standard deviation.

    Args:
        inner: the operator.
        std: sigma > 0 of each measurement, broadcastable to (batch, *grid); its values where
            nothing is measured are ignored.

    Raises:
        OperatorError: a standard deviation that is not positive where something is measured.
    """

    def __init__(self, inner: Operator, std: Tensor) -> None:
        taken = inner.mask(std).bool()
        self.inner, self.std = inner, std
        self._safe = torch.where(taken, std, 1.0)
        if not bool(((self._safe > 0) & torch.isfinite(self._safe)).all()):
            raise OperatorError("`std` must be positive wherever something is measured")
        self.surjective = inner.surjective
        super().__init__(
            inner.diagonal,
            image_shape=inner.image_shape,
            grid_shape=inner.grid_shape,
        )

    def __repr__(self) -> str:
        return f"Whitened({self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {"inner": self.inner, "std": self.std}

    def select(self, samples: Sequence[int]) -> Whitened:
        chosen = copy.copy(super().select(samples))
        chosen.inner = self.inner.select(samples)
        if self.std.ndim > len(self.grid_shape) and len(self.std) > 1:
            chosen.std, chosen._safe = self.std[list(samples)], self._safe[list(samples)]
        return chosen

    def white(self, y: Tensor) -> Tensor:
        """Measurements ``y`` of ``inner``, converted to measurements of this operator."""
        return self.mask(y) * y / self._safe.to(y.device)

    def gram(self, y: Tensor) -> Gram | None:
        inner = self.inner.gram(y)
        return None if inner is None else inner.times(self._safe.to(y).square().reciprocal())

    def normal(self, y: Tensor) -> Normal | None:
        """That of ``inner`` over the variance, where all measurements of a sample share it."""
        inner = self.inner.normal(y)
        if inner is None:
            return None
        std, taken = self._safe.to(y.device).expand(y.shape), self.mask(y).bool().expand(y.shape)
        least = torch.where(taken, std, math.inf).flatten(1).amin(1)
        most = torch.where(taken, std, 0.0).flatten(1).amax(1)
        if not torch.equal(least, most):
            return None
        return self._counted(lambda x: inner(x) / wide(most, x) ** 2)

    def T(self, x: Tensor) -> Tensor:
        return self.inner.T(x) / self._safe.to(x.device)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self.inner.T_adjoint(z / self._safe.to(z.device))

    def T_inv(self, z: Tensor) -> Tensor:
        return self.inner.T_inv(z * self._safe.to(z.device))

    def forward(self, x: Tensor) -> Tensor:
        self._count[0] += 1
        return self.inner.forward(x) / self._safe.to(x.device)

    def adjoint(self, y: Tensor) -> Tensor:
        self._count[0] += 1
        return self.inner.adjoint(self.mask(y) * y / self._safe.to(y.device))
