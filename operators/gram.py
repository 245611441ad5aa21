r"""Damped least squares in the space of the measurements, where few iterations are enough.

The minimiser of :math:`|b - A d|^2 + \delta |d|^2` is

.. math:: d = A^H u, \qquad (A A^H + \delta I)\, u = b,

which holds for delta = 0 as well, where d is the solution of least norm. For line integrals A A^H
is close to a diagonal matrix times a filter: D has the squared norms of the rows, and views overlap
below the frequency f_c at which their distance on the circle of frequencies is that of two
frequencies of the image (the central slice theorem), so that

.. math:: A A^H \approx D^{1/2} F D^{1/2}, \qquad F(f) = 1 + f_c / |f|.

Conjugate gradients with the inverse of this matrix as preconditioner need three or four iterations
where those on A^H A need forty. The noise of a ray, which differs by orders of magnitude between
rays, is a part of D and costs no iterations.

The posterior mean of images with the covariance C needs the inverse of A C A^H + delta I. Line
integrals of an image with the power spectrum S have that spectrum along each view (the same
theorem). So D is multiplied by the mean variance along the ray, and F by S relative to the mean
variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from medscore.operators.linalg import dot, wide

EMPTY = 1e-6
"""Squared norm of a row, relative to the largest, below which the row counts as zero."""

NYQUIST = 0.5
"""The largest frequency of an image in cycles per pixel."""

Power: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Gram:
    """An approximation of A A^H, or of A C A^H.

    Attributes:
        norms: squared norms of the rows of A, broadcastable to measurements (batch, channel, views,
            detectors); zero where nothing is measured.
        corner: f_c in cycles per detector, along the last axis; broadcastable to ``norms``.
        pixel: side of a pixel of the images in detectors.
        power: power spectrum of C relative to its mean variance, a function of frequencies in
            cycles per pixel, (frequencies,) to (batch, frequencies); None for C = I.
    """

    norms: Tensor
    corner: Tensor
    pixel: float = 1.0
    power: Power | None = None

    def times(self, factor: Tensor | float) -> Gram:
        """The approximation for an operator whose rows are multiplied.

        Args:
            factor: square of the factor of each row.
        """
        return replace(self, norms=self.norms * factor)

    def coloured(self, variance: Tensor, power: Power) -> Gram:
        """The approximation of A C A^H.

        Args:
            variance: mean variance of the pixels along each ray, broadcastable to ``norms``.
            power: power spectrum of C relative to its mean variance, as the attribute.
        """
        return replace(self, norms=self.norms * variance, power=power)

    def inverse(self, damping: Tensor) -> Callable[[Tensor], Tensor]:
        """The inverse of A A^H + delta I or A C A^H + delta I, symmetric and positive.

        Args:
            damping: delta >= 0 of each sample, (batch,).
        """
        d = self.norms
        least = EMPTY * d.amax(tuple(range(1, d.ndim)), keepdim=True)
        seen = d > least
        delta = wide(damping, d)
        root = torch.where(seen, (d + delta).clamp_min(1e-30).rsqrt(), 0.0)
        count = seen.sum(tuple(range(1, d.ndim)), keepdim=True).clamp_min(1)
        share = (d * root**2).sum(tuple(range(1, d.ndim)), keepdim=True) / count
        n = d.shape[-1]
        frequency = torch.fft.rfftfreq(2 * n, device=d.device).clamp_min(0.5 / n).to(d.dtype)
        overlap = 1 + self.corner / frequency
        if self.power is not None:
            seen_as = (frequency * self.pixel).clamp_max(NYQUIST)
            overlap = overlap * self.power(seen_as)[:, None, None]
        gain = 1 / (1 - share + share * overlap)

        def apply(r: Tensor) -> Tensor:
            spectrum = torch.fft.rfft(root * r, 2 * n) * gain
            filtered: Tensor = root * torch.fft.irfft(spectrum, 2 * n)[..., :n]
            return filtered

        return apply


@runtime_checkable
class Measures(Protocol):
    """What :func:`by_rows` needs of an operator."""

    def forward(self, x: Tensor) -> Tensor:
        """A x."""

    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y."""


def by_rows(
    operator: Measures, b: Tensor, damping: Tensor, gram: Gram, tol: float, iterations: int
) -> Tensor:
    r"""The minimiser of :math:`|b - A d|^2 + \delta |d|^2`, preconditioned by ``gram``.

    Args:
        operator: A.
        b: right-hand sides, (batch, ...), zero where nothing is measured.
        damping: delta >= 0 of each sample, (batch,).
        gram: an approximation of A A^H.
        tol: relative residual to reach.
        iterations: maximum number of iterations.
    """
    delta = damping.to(b.dtype)
    inverse = gram.inverse(delta)
    return damped_by_rows(
        operator.forward, operator.adjoint, b, delta, inverse, tol=tol, max_iter=iterations
    )


def damped_by_rows(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    b: Tensor,
    damping: Tensor,
    inverse: Callable[[Tensor], Tensor],
    *,
    tol: float,
    max_iter: int,
) -> Tensor:
    r"""The minimiser of :math:`|b - A d|^2 + \delta |d|^2`, by conjugate gradients for u.

    A sample is frozen once its residual, in the norm of the preconditioner, has fallen to ``tol``
    of that of b; so results do not depend on the rest of the batch. It is also frozen once a
    direction has no positive curvature, as can happen if ``adjoint`` is only approximate.

    Args:
        forward: A on batched arrays.
        adjoint: the adjoint of A; or C A^H, for the posterior mean d = C A^H u of images with the
            covariance C.
        b: right-hand sides, (batch, ...).
        damping: delta >= 0 of each sample, (batch,).
        inverse: approximate inverse of A A^H + delta I, symmetric and positive.
        tol: relative residual to reach.
        max_iter: maximum number of iterations.
    """
    delta = wide(damping, b)
    u, r = torch.zeros_like(b), b
    p = z = inverse(r)
    rho = dot(r, z)
    still = tol**2 * rho
    active = rho > still
    for _ in range(max_iter):
        if not bool(active.any()):
            break
        q = forward(adjoint(p)) + delta * p
        curvature = dot(p, q)
        active = active & (curvature > 0)
        step = torch.where(active, rho / torch.where(active, curvature, 1.0), 0.0)
        u, r = u + wide(step, u) * p, r - wide(step, r) * q
        z = inverse(r)
        new = dot(r, z)
        p = z + wide(new / rho.clamp_min(1e-38), p) * p
        rho, active = new, active & (new > still)
    return adjoint(u)
