r"""A measurement process in the factored form A = P(Lambda) T (Song et al. 2022, Prop. 8.1).

T takes the image to the full measurement grid (Radon, Fourier); Lambda, a 0/1 mask on that grid,
says what was measured. Measurements keep the full grid with zeros where nothing was measured, so
P(Lambda) and its right inverse are both "multiply by the mask", and Lambda may differ per sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from medscore.operators.linalg import Solution, cgls
from medscore.types import Images


class Operator(ABC):
    """A = P(Lambda) T on images (batch, channel, H, W); every method is linear and batched.

    Args:
        mask: diag Lambda, 0 or 1, broadcastable to the output of ``T``.

    Raises:
        ValueError: the mask has values other than 0 and 1, or no 1 at all.
    """

    T_is_onto: bool
    """Whether every full measurement grid is T of some image (T square). Where it is not, as in
    the discrete Radon transform, data consistency is reached by ``pinv``, not by ``T_inv``."""

    def __init__(self, mask: Tensor) -> None:
        if not bool(((mask == 0) | (mask == 1)).all()) or not bool(mask.any()):
            raise ValueError("the mask must hold 0 and 1, and at least one 1")
        self._mask = mask.to(torch.float32)
        self.calls = 0
        """Batched calls of A, its adjoint or T_inv so far, residuals included; a call of an
        iterated T_inv is one, whatever it takes (Radon: four T and five T^T)."""

    @abstractmethod
    def T(self, x: Images) -> Tensor:
        """The full, noise-free measurement of ``x``."""

    @abstractmethod
    def T_adjoint(self, z: Tensor) -> Images:
        """The exact adjoint of ``T``."""

    @abstractmethod
    def T_inv(self, z: Tensor) -> Images:
        """A linear left inverse of ``T``, exact or with a stated loss."""

    def mask(self, like: Tensor) -> Tensor:
        """diag Lambda in the dtype and on the device of ``like``."""
        return self._mask.to(dtype=like.dtype, device=like.device)

    def forward(self, x: Images) -> Tensor:
        """A x, zero where nothing is measured."""
        self.calls += 1
        z = self.T(x)
        return self.mask(z) * z

    def adjoint(self, y: Tensor) -> Images:
        """A^T y."""
        self.calls += 1
        return self.T_adjoint(self.mask(y) * y)

    def zero_filled(self, y: Tensor) -> Images:
        """T^-1 P^-1(Lambda) y: unmeasured entries taken as zero."""
        self.calls += 1
        return self.T_inv(self.mask(y) * y)

    def pinv(self, y: Tensor, *, tol: float | Tensor = 8e-6, max_iter: int = 2000) -> Solution:
        """A^+ y, the least-squares solution of least norm, by conjugate gradients from zero.

        Stops per sample when ``|y - A x| <= tol |y|``, or when the gradient A^T (y - A x) has
        fallen to ``0.001 tol`` of the first (data that no image has).
        """
        y = self.mask(y) * y
        return cgls(self.forward, self.adjoint, y, tol=tol, max_iter=max_iter)

    def proximal(self, x: Images, y: Tensor, lam: float) -> Images:
        r"""One data-consistency step, Theorem 8.1 / Eq. 8.9.

        .. math:: x' = T^{-1}[\lambda\Lambda y + (1-\lambda)\Lambda T x + (I-\Lambda) T x]
                     = x + \lambda\, T^{-1} \Lambda (y - T x).

        The second form is used: it is equal where T_inv T = I, and where T_inv loses something the
        loss then touches the correction and not ``x`` itself. It is the minimiser of Eq. 8.8 when
        ``T_is_onto``; otherwise that minimiser is approached from a distance.
        """
        return x + lam * self.zero_filled(y - self.forward(x))

    def consistent(self, x: Images, y: Tensor, lam: float, *, iterations: int = 8) -> Images:
        """One data-consistency step of strength ``lam``, as the samplers take it.

        Where ``T_is_onto`` this is Eq. 8.9. Elsewhere T_inv mask T is no projection: it would leave
        a residual and, repeated on a noisy state, eat the state's noise. There the step is
        x + lam A^+ (y - A x) with ``iterations`` of conjugate gradients, a projection as far as
        they reach.
        """
        if self.T_is_onto:
            return self.proximal(x, y, lam)
        gap = self.mask(y) * y - self.forward(x)
        return x + lam * self.pinv(gap, tol=1e-3, max_iter=iterations).x

    def exact_step(self, x: Images, y: Tensor, *, tol: float = 8e-6) -> Solution:
        """The image nearest to ``x`` that fits the measurements: x + A^+ (y - A x).

        Stops at a residual of ``tol`` relative to ``y`` (to A x where ``y`` is next to nothing, as
        in a slice of air); the solution holds the one reached. Where A is nearly singular, a
        ``tol`` that takes more than some 20 iterations also amplifies the rounding of ``x``:
        conjugate gradients lose their orthogonality.
        """
        y, now = self.mask(y) * y, self.forward(x)
        size = torch.where(_norm(y) > 1e-3 * _norm(now), _norm(y), _norm(now))
        change = self.pinv(y - now, tol=tol * size / _norm(y - now).clamp_min(1e-30))
        fitted = x + change.x
        return Solution(fitted, self.residual(fitted, y), change.iterations)

    def residual(self, x: Images, y: Tensor) -> Tensor:
        """|y - A x| / |y| of each sample, shape (batch,); |A x| where y is zero."""
        y = self.mask(y) * y
        return _norm(y - self.forward(x)) / torch.where(_norm(y) > 0, _norm(y), 1.0)


def _norm(z: Tensor) -> Tensor:
    norm: Tensor = z.flatten(1).norm(dim=1)
    return norm
