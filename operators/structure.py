r"""What an operator may know of itself that makes damped least squares fast.

- ``gram``: an approximation of A A^H that is easy to invert (:mod:`~medscore.operators.gram`).
- ``normal``: A^H A as one map of images that costs less than A and its adjoint. With k-space lines
  that are measured from end to end, for example, the Fourier transforms along them cancel.

The minimiser of :math:`|b - A d|^2 + \delta |d|^2` solves
:math:`(A^H A + \delta I)\, d = A^H b`, here by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from medscore.operators.gram import Gram
from medscore.operators.linalg import conjugate_gradients, wide

Normal: TypeAlias = Callable[[Tensor], Tensor]
"""A^H A on images (batch, ...)."""

SHARPER = 0.1
"""The residual of the normal equations, relative to the first, for an error of 1: it falls sooner
than that of the measurements, since it holds the larger singular values of A twice."""


class Structure:
    """The structure of an operator; nothing is known by default."""

    _count: list[int]

    def gram(self, y: Tensor) -> Gram | None:
        """An approximation of A A^H that is easy to invert; None if none is known.

        Args:
            y: measurements of the shape, dtype and device in question.
        """
        return None

    def normal(self, y: Tensor) -> Normal | None:
        """A^H A, where it costs less than A and its adjoint; None elsewhere.

        Args:
            y: measurements of the shape, dtype and device in question.
        """
        return None

    def _counted(self, normal: Normal) -> Normal:
        """``normal``, each call of which counts as one of A and one of its adjoint."""

        def counted(x: Tensor) -> Tensor:
            self._count[0] += 2
            return normal(x)

        return counted


def by_images(normal: Normal, b: Tensor, damping: Tensor, tol: float, iterations: int) -> Tensor:
    r"""The solution of :math:`(A^H A + \delta I)\, d = b`.

    Args:
        normal: A^H A.
        b: right-hand sides, images (batch, ...).
        damping: delta >= 0 of each sample, (batch,).
        tol: error to reach, as :func:`~medscore.operators.gram.by_rows` reaches it.
        iterations: maximum number of iterations.
    """
    delta = wide(damping, b)
    return conjugate_gradients(
        lambda d: normal(d) + delta * d, b, tol=SHARPER * tol, max_iter=iterations
    )
