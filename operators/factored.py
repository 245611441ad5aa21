r"""A measurement process in the factored form A = P(Lambda) T (Song et al. 2022, Prop. 8.1).

T maps the image to the full measurement grid (Radon, Fourier); Lambda, a 0/1 mask on that grid,
selects the entries that are measured. Measurements keep the full grid with zeros where nothing is
measured, so P(Lambda) and its right inverse are both "multiply by the mask", and Lambda may differ
from sample to sample. :class:`~medscore.operators.base.Operator` adds the algebra of operators.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from medscore.operators.autograd import remember
from medscore.operators.gram import by_rows
from medscore.operators.grid import OperatorError, check_mask, per_sample
from medscore.operators.linalg import Solution, cgls, damped, largest_eigenvalue, norm, wide
from medscore.operators.noise import Noiseless, NoiseModel
from medscore.operators.parts import in_parts
from medscore.operators.projection import project_onto_ball
from medscore.operators.structure import Structure, by_images

Own = TypeVar("Own", bound="Factored")


class Factored(Structure, ABC):
    """A = P(Lambda) T on batches of images; every method is linear and batched.

    Args:
        mask: diag Lambda, 0 or 1: of ``grid_shape`` or broadcastable to it, shared by all samples;
            or with the leading axes of a batch of measurements, one mask for each sample.
        image_shape: the last axes of an image, without the channel if all are treated alike.
        grid_shape: the last axes of a full measurement ``T(x)``.
        noise: noise model of the instrument; noiseless by default.

    Raises:
        OperatorError: the mask does not fit the grid, has values other than 0 and 1, or no 1.
    """

    surjective: bool = False
    """True if every full measurement grid is T of some image (T square). Otherwise, as in
    the discrete Radon transform, data consistency is reached by ``pinv``, not by ``T_inv``."""

    zero_filled_is_pinv: bool = False
    """True if A^+ = T^-1 P^-1(Lambda), as for a unitary or circulant T; otherwise CG is used."""

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
        self._cache: dict[Any, Any] = {}  # derived tensors by dtype and device
        self._count = [0]  # shared with the copies that `select` and `to` return

    @abstractmethod
    def T(self, x: Tensor) -> Tensor:
        """The full, noise-free measurement of ``x``."""

    @abstractmethod
    def T_adjoint(self, z: Tensor) -> Tensor:
        """The exact adjoint of ``T``, applied to a full grid ``z``."""

    def T_inv(self, z: Tensor) -> Tensor:
        """A linear left inverse of ``T``, exact or with a stated loss.

        Args:
            z: a full measurement grid.

        Raises:
            OperatorError: no inverse is known for this operator.
        """
        raise OperatorError(
            f"T_inv is not known for {self!r}: use a method that needs only A and its adjoint, "
            "such as diffpir, dds or dps"
        )

    def settings(self) -> dict[str, Any]:
        """The arguments that construct this operator again, as a file stores them.

        Raises:
            OperatorError: the operator cannot be stored in a file.
        """
        raise OperatorError(f"{self!r} cannot be stored in a file: it has no settings")

    @property
    def calls(self) -> int:
        """Number of batched calls of A, its adjoint or T_inv so far; a call of an iterative T_inv
        counts once (Radon: four T and five T^T)."""
        return self._count[0]

    @property
    def diagonal(self) -> Tensor:
        """diag Lambda as passed to the constructor, bool."""
        return self._mask

    def mask(self, like: Tensor) -> Tensor:
        """diag Lambda in the real dtype and on the device of ``like``."""
        dtype = like.dtype.to_real() if like.is_complex() else like.dtype
        cast: Tensor = remember(
            self._cache, ("mask", dtype, like.device), lambda: self._mask.to(like.device, dtype)
        )
        return cast

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

    def select(self: Own, samples: Sequence[int]) -> Own:
        """This operator for some samples of the batch; itself if all samples share Lambda.

        Args:
            samples: indices into the batch; they may repeat.
        """
        if not per_sample(self._mask, self.grid_shape):
            return self
        chosen = copy.copy(self)
        chosen._mask, chosen._cache = self._mask[list(samples)], {}
        return chosen

    def to(self: Own, device: torch.device | str) -> Own:
        """A copy whose tensors lie on ``device``, which saves copying them in every call.

        Args:
            device: where to put them.
        """
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor | Factored):
                setattr(moved, name, value.to(device))
        moved._cache = {}
        return moved

    def pinv(self, y: Tensor, *, tol: float | Tensor = 8e-6, max_iter: int = 2000) -> Solution:
        """A^+ y, the least-squares solution of least norm.

        In closed form where ``zero_filled_is_pinv``, otherwise by conjugate gradients from zero.
        They stop for each sample when ``|y - A x| <= tol |y|`` or |A^H (y - A x)| has fallen to
        ``0.001 tol`` of the first (data outside the range of A).

        Args:
            y: measurements.
            tol: relative residual to reach, one number or one per sample.
            max_iter: maximum number of iterations.
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

        The second form is used: where T_inv is lossy, its loss then affects the correction and
        not ``x``. The result minimises Eq. 8.8 if T is ``surjective``, else it approaches it.

        Args:
            x: images.
            y: measurements.
            lam: lambda in [0, 1], the weight of the measurements.
        """
        return x + lam * self.zero_filled(y - self.forward(x))

    @in_parts
    def data_consistency(
        self, x: Tensor, y: Tensor, lam: float, *, iterations: int = 8, tol: float = 1e-3
    ) -> Tensor:
        """One data-consistency step of strength ``lam``, as the samplers take it.

        Where T is ``surjective`` this is Eq. 8.9. Elsewhere T_inv mask T is no projection and,
        repeated on a noisy state, would remove noise that the score network expects; there the
        step is x + lam A^+ (y - A x), by conjugate gradients.

        Args:
            x: images.
            y: measurements.
            lam: lambda in [0, 1], the weight of the measurements.
            iterations: maximum number of conjugate gradient iterations.
            tol: relative residual to reach.
        """
        if self.surjective:
            return self.proximal(x, y, lam)
        gap, gram = self.mask(y) * y - self.forward(x), self.gram(y)
        if gram is None:
            return x + lam * self.pinv(gap, tol=tol, max_iter=iterations).x
        return x + lam * by_rows(self, gap, gap.new_zeros(len(gap)), gram, tol, iterations)

    @in_parts
    def tikhonov(
        self, x: Tensor, y: Tensor, damping: Tensor, *, iterations: int = 8, tol: float = 1e-8
    ) -> Tensor:
        r"""The minimiser of :math:`|y - A x'|^2 + \delta |x' - x|^2`, by conjugate gradients.

        With :math:`\delta = \sigma_y^2 / r^2` it is the posterior mean of an image with prior
        mean ``x`` and covariance r^2 I, given ``y`` with white noise of variance sigma_y^2.

        Args:
            x: images.
            y: measurements.
            damping: delta > 0 for each sample, (batch,).
            iterations: maximum number of iterations.
            tol: relative residual to reach, if :meth:`gram` or :meth:`normal` is known.
        """
        gap, gram = self.mask(y) * y - self.forward(x), self.gram(y)
        if gram is not None:
            return x + by_rows(self, gap, damping, gram, tol, iterations)
        normal = self.normal(y)
        if normal is None:
            return x + damped(self.forward, self.adjoint, gap, damping, max_iter=iterations)
        return x + by_images(normal, self.adjoint(gap), damping, tol, iterations)

    def norm_squared(self, y: Tensor, *, steps: int = 30) -> Tensor:
        """|A|^2 for each sample, (batch,): a lower estimate of the largest eigenvalue of A^H A.

        Args:
            y: measurements of the shape, dtype and device in question; their values do not matter.
            steps: number of power iterations, from the same start for all samples.
        """
        v = self.adjoint(y)
        start = torch.randn(v.shape[1:], generator=torch.Generator().manual_seed(0))
        start = start.to(v).expand(v.shape)
        return largest_eigenvalue(lambda x: self.adjoint(self.forward(x)), start, steps=steps)

    def project_exact(self, x: Tensor, y: Tensor, *, tol: float = 8e-6) -> Solution:
        """The image nearest to ``x`` that fits the measurements: x + A^+ (y - A x).

        Where A is nearly singular, a ``tol`` that takes more than about 20 iterations amplifies
        the rounding of ``x``, because conjugate gradients lose their orthogonality.

        Args:
            x: images.
            y: measurements.
            tol: residual to reach, relative to ``y``, or to A x where ``y`` is nearly zero.
        """
        y, gap, size = self._gap(x, y)
        change = self.pinv(gap, tol=tol * size / norm(gap).clamp_min(1e-30))
        fitted = x + change.x
        return Solution(fitted, self.residual(fitted, y), change.iterations)

    def project_ball(self, x: Tensor, y: Tensor, *, tol: float) -> Solution:
        """The image nearest to ``x`` whose residual is at most ``tol``.

        In closed form where ``zero_filled_is_pinv``. As it projects onto a convex set, two ``x``
        that differ by rounding stay as close to each other, even where A is nearly singular.

        Args:
            x: images.
            y: measurements.
            tol: largest residual, relative as in :meth:`project_exact`.
        """
        if self.zero_filled_is_pinv:
            return self.project_exact(x, y)
        y, gap, size = self._gap(x, y)
        change = project_onto_ball(
            self.forward, self.adjoint, gap, radius=tol * size, accuracy=1e-5 * norm(x)
        )
        fitted = x + change.x
        return Solution(fitted, self.residual(fitted, y), change.iterations)

    def _gap(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The masked y, y - A x, and the norm to which a residual is relative."""
        y, now = self.mask(y) * y, self.forward(x)
        of_y, of_now = norm(y), norm(now)
        return y, y - now, torch.where(of_y > 1e-3 * of_now, of_y, of_now)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """|y - A x| / |y| of each sample, shape (batch,); |A x| where y is zero."""
        y = self.mask(y) * y
        largest = y.flatten(1).abs().amax(1)
        unit = wide(torch.where(largest > 0, largest, 1.0), y)  # squares overflow beyond 1e19
        of_y = norm(y / unit)
        return norm((y - self.forward(x)) / unit) / torch.where(of_y > 0, of_y, 1.0)
