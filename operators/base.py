r"""A measurement process in the factored form A = P(Lambda) T (Song et al. 2022, Prop. 8.1).

T takes the image to the full measurement grid (Radon, Fourier); Lambda, a 0/1 mask on that grid,
says what was measured. Measurements keep the full grid with zeros where nothing was measured, so
P(Lambda) and its right inverse are both "multiply by the mask", and Lambda may differ per sample.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medscore.operators.linalg import Solution, cgls, damped, wide
from medscore.operators.noise import Noiseless, NoiseModel
from medscore.operators.projection import nearest


class Operator(ABC):
    """A = P(Lambda) T on batches of images; every method is linear and batched.

    Args:
        mask: diag Lambda, 0 or 1: of ``grid_shape`` or broadcastable to it, the same for all; or
            with the axes of a batch of measurements in front, one for each sample.
        image_shape: the last axes of an image. grid_shape: the last axes of T of it.
        noise: what the instrument adds to ``A x``.

    Raises:
        ValueError: the mask does not fit the grid, has values other than 0 and 1, or no 1 at all.
    """

    surjective: bool
    """Whether every full measurement grid is T of some image (T square). Where it is not, as in
    the discrete Radon transform, data consistency is reached by ``pinv``, not by ``T_inv``."""

    zero_filled_is_pinv: bool = False
    """Whether A^+ = T^-1 P^-1(Lambda), as for a unitary or a circulant T; else it takes CG."""

    def __init__(
        self,
        mask: Tensor,
        *,
        image_shape: tuple[int, ...],
        grid_shape: tuple[int, ...],
        noise: NoiseModel | None = None,
    ) -> None:
        check_mask(mask, grid_shape)
        self.image_shape, self.grid_shape = image_shape, grid_shape
        self.noise_model: NoiseModel = Noiseless() if noise is None else noise
        self._mask = mask.bool()
        self._cast: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self._count = [0]  # shared with what `select` returns

    @abstractmethod
    def T(self, x: Tensor) -> Tensor:
        """The full, noise-free measurement of ``x``."""

    @abstractmethod
    def T_adjoint(self, z: Tensor) -> Tensor:
        """The exact adjoint of ``T``."""

    @abstractmethod
    def T_inv(self, z: Tensor) -> Tensor:
        """A linear left inverse of ``T``, exact or with a stated loss."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The arguments that make this operator again: what a file keeps of it."""

    @property
    def calls(self) -> int:
        """Batched calls of A, its adjoint or T_inv so far, residuals included; a call of an
        iterated T_inv is one, whatever it takes (Radon: four T and five T^T).
        """
        return self._count[0]

    @property
    def diagonal(self) -> Tensor:
        """diag Lambda as it was given, bool."""
        return self._mask

    def mask(self, like: Tensor) -> Tensor:
        """diag Lambda in the real dtype and on the device of ``like``."""
        key = like.dtype.to_real() if like.is_complex() else like.dtype, like.device
        if key not in self._cast:
            self._cast[key] = self._mask.to(dtype=key[0], device=key[1])
        return self._cast[key]

    def forward(self, x: Tensor) -> Tensor:
        """A x, zero where nothing is measured."""
        self._count[0] += 1
        z = self.T(x)
        return self.mask(z) * z

    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y."""
        self._count[0] += 1
        return self.T_adjoint(self.mask(y) * y)

    def zero_filled(self, y: Tensor) -> Tensor:
        """T^-1 P^-1(Lambda) y: unmeasured entries taken as zero."""
        self._count[0] += 1
        return self.T_inv(self.mask(y) * y)

    def measure(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A x with the noise of the instrument, drawn on the CPU from ``generator``."""
        y = self.forward(x)
        return self.noise_model(y, self.mask(y), generator)

    def select(self, samples: Sequence[int]) -> Operator:
        """This operator for some samples of the batch; itself if all samples share Lambda."""
        if not _per_sample(self._mask, self.grid_shape):
            return self
        chosen = copy.copy(self)
        chosen._mask, chosen._cast = self._mask[list(samples)], {}
        return chosen

    def pinv(self, y: Tensor, *, tol: float | Tensor = 8e-6, max_iter: int = 2000) -> Solution:
        """A^+ y, the least-squares solution of least norm.

        In closed form where ``zero_filled_is_pinv``. Else by conjugate gradients from zero, which
        stop per sample when ``|y - A x| <= tol |y|``, or when the gradient A^H (y - A x) has
        fallen to ``0.001 tol`` of the first (data that no image has).
        """
        y = self.mask(y) * y
        if self.zero_filled_is_pinv:
            x = self.zero_filled(y)
            return Solution(x, self.residual(x, y), 0)
        return cgls(self.forward, self.adjoint, y, tol=tol, max_iter=max_iter)

    def proximal(self, x: Tensor, y: Tensor, lam: float) -> Tensor:
        r"""One data-consistency step, Theorem 8.1 / Eq. 8.9.

        .. math:: x' = T^{-1}[\lambda\Lambda y + (1-\lambda)\Lambda T x + (I-\Lambda) T x]
                     = x + \lambda\, T^{-1} \Lambda (y - T x).

        The second form is used: it is equal where T_inv T = I, and where T_inv loses something the
        loss then touches the correction and not ``x`` itself. It is the minimiser of Eq. 8.8 when
        ``surjective``; otherwise that minimiser is approached from a distance.
        """
        return x + lam * self.zero_filled(y - self.forward(x))

    def data_consistency(self, x: Tensor, y: Tensor, lam: float, *, iterations: int = 8) -> Tensor:
        """One data-consistency step of strength ``lam``, as the samplers take it.

        Where ``surjective`` this is Eq. 8.9. Elsewhere T_inv mask T is no projection: it would
        leave a residual and, repeated on a noisy state, eat the state's noise. There the step is
        x + lam A^+ (y - A x) with ``iterations`` of conjugate gradients, a projection as far as
        they reach.
        """
        if self.surjective:
            return self.proximal(x, y, lam)
        gap = self.mask(y) * y - self.forward(x)
        return x + lam * self.pinv(gap, tol=1e-3, max_iter=iterations).x

    def tikhonov(self, x: Tensor, y: Tensor, damping: Tensor, *, iterations: int = 8) -> Tensor:
        r"""The minimiser of :math:`|y - A x'|^2 + \delta |x' - x|^2`, by conjugate gradients.

        With :math:`\delta = \sigma_y^2 / r^2` it is the mean of an image known to be near ``x`` up
        to white noise of variance r^2 once ``y``, with noise of variance sigma_y^2, has been seen.

        Args:
            damping: delta > 0 for each sample, (batch,). iterations: the most that are taken.
        """
        gap = self.mask(y) * y - self.forward(x)
        return x + damped(self.forward, self.adjoint, gap, damping, max_iter=iterations)

    def norm_squared(self, y: Tensor, *, steps: int = 30) -> Tensor:
        """|A|^2 for each sample of measurements like ``y``, (batch,): the largest eigenvalue of
        A^H A, from below, by power iteration from the same start for all.
        """
        v = self.adjoint(y)
        generator = torch.Generator().manual_seed(0)
        v = torch.randn(v.shape[1:], generator=generator).to(v).expand(v.shape)
        for _ in range(steps):
            v = self.adjoint(self.forward(v / wide(norm(v), v)))
        return norm(v)

    def project_exact(self, x: Tensor, y: Tensor, *, tol: float = 8e-6) -> Solution:
        """The image nearest to ``x`` that fits the measurements: x + A^+ (y - A x).

        Stops at a residual of ``tol`` relative to ``y`` (to A x where ``y`` is next to nothing, as
        in a slice of air); the solution holds the one reached. Where A is nearly singular, a
        ``tol`` that takes more than some 20 iterations also amplifies the rounding of ``x``:
        conjugate gradients lose their orthogonality. :meth:`project_ball` does not.
        """
        y, gap, size = self._gap(x, y)
        change = self.pinv(gap, tol=tol * size / norm(gap).clamp_min(1e-30))
        fitted = x + change.x
        return Solution(fitted, self.residual(fitted, y), change.iterations)

    def project_ball(self, x: Tensor, y: Tensor, *, tol: float) -> Solution:
        """The image nearest to ``x`` whose residual is ``tol`` at most, relative as in
        :meth:`project_exact`; in closed form, with no residual, where ``zero_filled_is_pinv``.

        A projection onto a convex set: two ``x`` that differ by rounding stay as near to each
        other, also where A is nearly singular and A^+ would tear them apart.
        """
        if self.zero_filled_is_pinv:
            return self.project_exact(x, y)
        y, gap, size = self._gap(x, y)
        change = nearest(
            self.forward, self.adjoint, gap, radius=tol * size, accuracy=1e-5 * norm(x)
        )
        fitted = x + change.x
        return Solution(fitted, self.residual(fitted, y), change.iterations)

    def _gap(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The masked y, y - A x and the norm to which a residual is relative."""
        y, now = self.mask(y) * y, self.forward(x)
        of_y, of_now = norm(y), norm(now)
        return y, y - now, torch.where(of_y > 1e-3 * of_now, of_y, of_now)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """|y - A x| / |y| of each sample, shape (batch,); |A x| where y is zero."""
        y = self.mask(y) * y
        of_y = norm(y)
        return norm(y - self.forward(x)) / torch.where(of_y > 0, of_y, 1.0)

    def check(self, y: Tensor) -> None:
        """Refuse measurements that cannot be this operator's.

        Raises:
            ValueError: another shape, NaN or infinity, or data where nothing is measured.
        """
        if tuple(y.shape[-len(self.grid_shape) :]) != self.grid_shape:
            raise ValueError(
                f"the data have shape {tuple(y.shape)}, expected (batch, ..., "
                f"{', '.join(map(str, self.grid_shape))}) for {self!r}"
            )
        if not bool(torch.isfinite(y).all()):
            raise ValueError("the data hold NaN or infinity")
        if not torch.equal(self.mask(y) * y, y):
            raise ValueError("the data are not zero where the mask says nothing was measured")


def check_mask(mask: Tensor, grid_shape: tuple[int, ...]) -> None:
    """Refuse what is no mask on that grid.

    Raises:
        ValueError: another shape, values other than 0 and 1, or no 1 at all.
    """
    trailing = tuple(mask.shape[-len(grid_shape) :])
    wanted = grid_shape[len(grid_shape) - len(trailing) :]
    if any(n not in (1, m) for n, m in zip(trailing, wanted, strict=True)):
        raise ValueError(f"the mask has shape {tuple(mask.shape)}, the grid {grid_shape}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("the mask must hold 0 and 1 alone")
    if not bool(mask.any()):
        raise ValueError("the mask has no 1: nothing is measured")


def norm(z: Tensor) -> Tensor:
    """The Euclidean norm of each sample, (batch,)."""
    length: Tensor = torch.linalg.vector_norm(z.flatten(1), dim=1)
    return length


def _per_sample(mask: Tensor, grid_shape: tuple[int, ...]) -> bool:
    return mask.ndim > len(grid_shape) and mask.shape[0] > 1
