r"""Operators and their algebra: every result of it is an operator again.

.. math:: (A^H)^H = A, \qquad (A B)^H = B^H A^H, \qquad (A + B)^H = A^H + B^H, \qquad
          (c A)^H = c A^H \text{ for real } c.

What an operator offers is in :mod:`medscore.operators.factored`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar, SupportsFloat, final

import torch
from torch import Tensor

from medscore.operators.factored import Factored
from medscore.operators.gram import Gram
from medscore.operators.grid import (
    OperatorError,
    check_image,
    check_mask,
    extra,
    is_real,
    same_shape,
)
from medscore.operators.linalg import norm

__all__ = ["Adjoint", "Composition", "Operator", "Scaled", "Sum", "check_mask", "norm"]


class Operator(Factored):
    """A measurement process A = P(Lambda) T; subclasses provide T and its adjoint.

    ``A(x)`` is A x; ``A.H`` is the adjoint, so that ``A.H @ A`` is the normal operator; ``A @ B``
    is the composition, ``A + B`` and ``A - B`` are sums, and ``c * A``, ``A * c`` and ``-A`` are
    multiples by a real number. The constructor's arguments are those of
    :class:`~medscore.operators.factored.Factored`.
    """

    __array_ufunc__: ClassVar[None] = None  # NumPy numbers leave ``c * A`` to __rmul__

    def __call__(self, x: Tensor) -> Tensor:
        """A x; an ``x`` of another shape, or of integers, is refused."""
        check_image(x, self.image_shape)
        return self.forward(x)

    def measure(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A x with the noise of the instrument.

        Args:
            x: images.
            generator: a CPU generator, from which the noise is drawn.
        """
        y = self.forward(x)
        return self.noise_model(y, self.mask(y), generator)

    def check(self, y: Tensor) -> None:
        """Reject measurements that this operator cannot have produced.

        Args:
            y: measurements, (batch, channel or coil, *grid).

        Raises:
            OperatorError: another shape, NaN or infinity, or data where nothing is measured.
        """
        if tuple(y.shape[-len(self.grid_shape) :]) != self.grid_shape:
            raise OperatorError(
                f"the data have shape {tuple(y.shape)}, expected (batch, ..., "
                f"{', '.join(map(str, self.grid_shape))}) for {self!r}"
            )
        if not bool(torch.isfinite(y).all()):
            raise OperatorError("the data contain NaN or infinity")
        if not torch.equal(self.mask(y) * y, y):
            raise OperatorError("the data are not zero where the mask says nothing was measured")

    @property
    def H(self) -> Operator:
        """The adjoint A^H as an operator: from measurements to images."""
        return Adjoint(self)

    def __matmul__(self, other: Operator) -> Operator:
        """The composition: ``(A @ B)(x)`` is A B x."""
        return Composition(self, other) if isinstance(other, Operator) else NotImplemented

    def __add__(self, other: Operator) -> Operator:
        """The sum of two operators on the same images and grid."""
        return Sum(self, other) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other: Operator) -> Operator:
        """The difference of two operators on the same images and grid."""
        return Sum(self, -other) if isinstance(other, Operator) else NotImplemented

    def __mul__(self, factor: SupportsFloat) -> Operator:
        """The multiple by a real number of Python, NumPy or PyTorch; others are refused."""
        return Scaled(self, float(factor)) if is_real(factor) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Operator:
        """-A."""
        return Scaled(self, -1.0)


@final
class Adjoint(Operator):
    """A^H as an operator from measurements (batch, ..., *grid) to images; noiseless.

    Args:
        inner: the operator A.
    """

    def __init__(self, inner: Operator) -> None:
        self.inner = inner
        everything = torch.ones(inner.image_shape, dtype=torch.bool, device=inner.diagonal.device)
        super().__init__(everything, image_shape=inner.grid_shape, grid_shape=inner.image_shape)

    def __repr__(self) -> str:
        return f"Adjoint({self.inner!r})"

    @property
    def H(self) -> Operator:
        return self.inner

    def settings(self) -> dict[str, Any]:
        return {"inner": self.inner}

    def select(self, samples: Sequence[int]) -> Adjoint:
        chosen = copy.copy(self)
        chosen.inner = self.inner.select(samples)
        return chosen

    def T(self, x: Tensor) -> Tensor:
        return self.inner.adjoint(x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self.inner.forward(z)


@final
class Composition(Operator):
    """A B: ``outer`` applied to what ``inner`` measures, with the mask and the noise of ``outer``.

    T_inv is known if both operators have one and ``inner`` measures its full grid.

    Args:
        outer: the operator A.
        inner: the operator B.

    Raises:
        OperatorError: the grid of ``inner`` is not the image of ``outer``.
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        if same_shape(outer.image_shape, inner.grid_shape) is None:
            raise OperatorError(
                f"the operators cannot be composed: the left one takes images of shape "
                f"{outer.image_shape}, the right one returns {inner.grid_shape}",
                hint="use operators on the same grid",
            )
        self.outer, self.inner = outer, inner
        self._invertible = bool(inner.diagonal.all())
        self.surjective = outer.surjective and inner.surjective and self._invertible
        super().__init__(
            outer.diagonal,
            image_shape=extra(outer.image_shape, inner.grid_shape) + inner.image_shape,
            grid_shape=extra(inner.grid_shape, outer.image_shape) + outer.grid_shape,
            noise=outer.noise_model,
        )

    def __repr__(self) -> str:
        return f"Composition({self.outer!r} @ {self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {"outer": self.outer, "inner": self.inner}

    def select(self, samples: Sequence[int]) -> Composition:
        chosen = copy.copy(super().select(samples))
        chosen.outer, chosen.inner = self.outer.select(samples), self.inner.select(samples)
        return chosen

    def T(self, x: Tensor) -> Tensor:
        return self.outer.T(self.inner.forward(x))

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.T_adjoint(z))

    def T_inv(self, z: Tensor) -> Tensor:
        if not self._invertible:
            return super().T_inv(z)
        return self.inner.T_inv(self.outer.T_inv(z))

    def forward(self, x: Tensor) -> Tensor:
        self._count[0] += 1
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        self._count[0] += 1
        return self.inner.adjoint(self.outer.adjoint(y))


@final
class Sum(Operator):
    """A + B, measured where either of them measures; noiseless.

    Args:
        first: the operator A.
        second: the operator B, on the same images and grid.

    Raises:
        OperatorError: the operators have different images or grids.
    """

    def __init__(self, first: Operator, second: Operator) -> None:
        image = same_shape(first.image_shape, second.image_shape)
        grid = same_shape(first.grid_shape, second.grid_shape)
        if image is None or grid is None:
            raise OperatorError(
                f"the operators cannot be added: one maps {first.image_shape} to "
                f"{first.grid_shape}, the other {second.image_shape} to {second.grid_shape}",
                hint="use operators on the same grid",
            )
        self.first, self.second = first, second
        either = first.diagonal | second.diagonal.to(first.diagonal.device)
        super().__init__(either, image_shape=image, grid_shape=grid)

    def __repr__(self) -> str:
        return f"Sum({self.first!r} + {self.second!r})"

    def settings(self) -> dict[str, Any]:
        return {"first": self.first, "second": self.second}

    def select(self, samples: Sequence[int]) -> Sum:
        chosen = copy.copy(super().select(samples))
        chosen.first, chosen.second = self.first.select(samples), self.second.select(samples)
        return chosen

    def T(self, x: Tensor) -> Tensor:
        return self.first.forward(x) + self.second.forward(x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self.first.adjoint(z) + self.second.adjoint(z)


@final
class Scaled(Operator):
    """c A with the mask of A; noiseless.

    Args:
        inner: the operator A.
        factor: the real number c, not zero.

    Raises:
        OperatorError: ``factor`` is zero, infinite or NaN.
    """

    def __init__(self, inner: Operator, factor: float) -> None:
        if not math.isfinite(factor) or factor == 0:
            raise OperatorError(
                f"`factor` is {factor}, expected a finite number other than 0", hint="use 1"
            )
        self.inner, self.factor = inner, factor
        self.surjective, self.zero_filled_is_pinv = inner.surjective, inner.zero_filled_is_pinv
        super().__init__(inner.diagonal, image_shape=inner.image_shape, grid_shape=inner.grid_shape)

    def __repr__(self) -> str:
        return f"Scaled({self.factor:g} * {self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {"inner": self.inner, "factor": self.factor}

    def select(self, samples: Sequence[int]) -> Scaled:
        chosen = copy.copy(super().select(samples))
        chosen.inner = self.inner.select(samples)
        return chosen

    def gram(self, y: Tensor) -> Gram | None:
        inner = self.inner.gram(y)
        return None if inner is None else inner.times(self.factor**2)

    def T(self, x: Tensor) -> Tensor:
        return self.factor * self.inner.T(x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self.factor * self.inner.T_adjoint(z)

    def T_inv(self, z: Tensor) -> Tensor:
        return self.inner.T_inv(z) / self.factor

    def forward(self, x: Tensor) -> Tensor:
        self._count[0] += 1
        return self.factor * self.inner.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        self._count[0] += 1
        return self.factor * self.inner.adjoint(y)
