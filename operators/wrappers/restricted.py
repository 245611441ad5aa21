"""A subset of the measurements of an operator, to hold out views, lines or pixels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.gram import Gram


class Restricted(Operator):
    """``inner`` with fewer measurements: the same T, and the intersection of the masks.

    Args:
        inner: the operator.
        to: 0 or 1, broadcastable to the grid: which of its measurements to keep.
    """

    def __init__(self, inner: Operator, to: Tensor) -> None:
        self.inner, self.subset = inner, to.bool()
        self.surjective, self.zero_filled_is_pinv = inner.surjective, inner.zero_filled_is_pinv
        super().__init__(
            inner.diagonal & self.subset.to(inner.diagonal.device),
            image_shape=inner.image_shape,
            grid_shape=inner.grid_shape,
            noise=inner.noise_model,
        )

    def __repr__(self) -> str:
        kept = self.diagonal.sum() / self.inner.diagonal.expand_as(self.diagonal).sum()
        return f"Restricted({100 * float(kept):.3g} % of {self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {"inner": self.inner, "to": self.subset}

    def select(self, samples: Sequence[int]) -> Restricted:
        chosen = copy.copy(super().select(samples))
        chosen.inner = self.inner.select(samples)
        return chosen

    def gram(self, y: Tensor) -> Gram | None:
        inner = self.inner.gram(y)
        return None if inner is None else inner.times(self.mask(y))

    def T(self, x: Tensor) -> Tensor:
        return self.inner.T(x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self.inner.T_adjoint(z)

    def T_inv(self, z: Tensor) -> Tensor:
        return self.inner.T_inv(z)
