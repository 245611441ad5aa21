r"""Non-Cartesian MRI: T is the Fourier transform at arbitrary points of k-space.

.. math:: z_j = \frac{1}{\sqrt{HW}} \sum_n x_n\, e^{-i \omega_j \cdot (n - c)}, \qquad
          c = (\lfloor H/2\rfloor, \lfloor W/2\rfloor),

computed by finufft (Barnett et al. 2019), the extra ``medscore[nufft]``: gridding with a relative
error below ``TOLERANCES``. The adjoint is that of the gridding, exact up to rounding. It runs on
the CPU. Off-resonance and the decay of the signal along a readout are not part of the model.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.errors import optional_module
from medscore.operators.autograd import linear_map, outside
from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.linalg import chebyshev, largest_eigenvalue
from medscore.operators.noise import NoiseModel
from medscore.types import ComplexImages

TOLERANCES = {"complex64": 1e-5, "complex128": 1e-12}
"""Relative error of the transforms by precision."""

AT_ONCE = 8
"""Largest number of images that are transformed at once."""

DENSITY_STEPS = 20
"""Iterations of the density compensation."""

REFINEMENTS = 10
"""Chebyshev steps after the density-compensated adjoint in ``T_inv``."""

SMALLEST_EIGENVALUE = 0.1
"""Lower end of the Chebyshev interval; components below it (the corners that a radial trajectory
does not cover) are the loss of ``T_inv``."""


class NonuniformFourier(Operator):
    """k-space samples (batch, channel, samples) of complex images (batch, channel, H, W).

    T is the whole trajectory, dense enough to determine the image; Lambda selects the measured
    samples, for example some spokes of a radial trajectory. ``T_inv`` is the adjoint with density
    compensation (Pipe and Menon 1999), refined by Chebyshev steps.

    Args:
        trajectory: (2, samples), ky and kx of each sample in radians per pixel, within [-pi, pi].
        mask: (samples,) or (batch, 1, samples).
        height: number of rows of the image.
        width: number of columns of the image.
        noise: noise of the receiver.

    Raises:
        MedscoreError: finufft is not installed.
        OperatorError: a trajectory of another shape, or outside of [-pi, pi].
    """

    surjective = False

    def __init__(
        self,
        trajectory: Tensor,
        mask: Tensor,
        height: int,
        width: int,
        noise: NoiseModel | None = None,
    ) -> None:
        _library()
        if trajectory.ndim != 2 or trajectory.shape[0] != 2:
            raise OperatorError(
                f"the trajectory has shape {tuple(trajectory.shape)}, expected (2, samples)"
            )
        if not bool((trajectory.abs() <= math.pi + 1e-6).all()):  # NaN too
            raise OperatorError("the trajectory leaves [-pi, pi]: give radians per pixel")
        super().__init__(
            mask, image_shape=(height, width), grid_shape=(trajectory.shape[1],), noise=noise
        )
        self.trajectory = trajectory.double()

    def __repr__(self) -> str:
        (h, w), (samples,) = self.image_shape, self.grid_shape
        share = 100 * float(self._mask.float().mean())
        return f"NonuniformFourier({h}x{w}, {share:.3g} % of {samples} samples measured)"

    def settings(self) -> dict[str, Any]:
        h, w = self.image_shape
        return {
            "trajectory": self.trajectory,
            "mask": self._mask,
            "height": h,
            "width": w,
            "noise": self.noise_model,
        }

    def T(self, x: ComplexImages) -> Tensor:
        return linear_map(x, self._transform, self._adjoint_transform)

    def T_adjoint(self, z: Tensor) -> ComplexImages:
        return linear_map(z, self._adjoint_transform, self._transform)

    def T_inv(self, z: Tensor) -> ComplexImages:
        def compensated(samples: Tensor) -> Tensor:
            return self.T_adjoint(self._density(samples) * samples)

        return chebyshev(
            lambda x: compensated(self.T(x)),
            compensated(z),
            low=SMALLEST_EIGENVALUE,
            high=1.02 * self._largest(),
            steps=REFINEMENTS,
        )

    def _transform(self, x: Tensor) -> Tensor:
        z = _to_samples(self._points, self.image_shape, x)
        return z / math.sqrt(math.prod(self.image_shape))

    def _adjoint_transform(self, z: Tensor) -> Tensor:
        x = _to_images(self._points, self.image_shape, z)
        return x / math.sqrt(math.prod(self.image_shape))

    @cached_property
    def _points(self) -> bytes:
        return self.trajectory.cpu().numpy().tobytes()

    def _density(self, like: Tensor) -> Tensor:
        return self._compensation[0].to(like.device, like.dtype.to_real())

    def _largest(self) -> float:
        return self._compensation[1]

    @cached_property
    def _compensation(self) -> tuple[Tensor, float]:
        return outside(lambda: _weights_and_gain(self._points, self.image_shape))


@lru_cache(maxsize=4)
def _weights_and_gain(trajectory: bytes, shape: tuple[int, ...]) -> tuple[Tensor, float]:
    """Density compensation w of a trajectory (bytes of float64), and lambda_max of T^H w T."""
    points = torch.frombuffer(bytearray(trajectory), dtype=torch.float64).reshape(2, -1)
    weights = density_compensation(points, shape)
    gain = largest_eigenvalue(lambda v: _again(trajectory, weights, v), _random(1, shape))
    return weights, float(gain)


def density_compensation(trajectory: Tensor, shape: tuple[int, ...]) -> Tensor:
    r"""Weights w (samples,) for which T^H diag(w) T is close to the identity (Pipe and Menon 1999).

    They are the fixed point of :math:`w \leftarrow w / (C w)`, where :math:`C_{jk}` is a positive
    kernel of the distance of the samples j and k that is zero at the distance of two Cartesian
    samples: here the squared sinc, whose Fourier transform is a triangle of twice the image's
    width, so that :math:`C w = \hat T\, \text{tri}\, \hat T^H w` with the transform of a larger
    image. They are in Cartesian samples: the area of k-space that a sample stands for, 1 for one
    that is alone.

    Args:
        trajectory: (2, samples), in radians per pixel.
        shape: (H, W) of the image.

    Raises:
        MedscoreError: finufft is not installed.
    """
    points = trajectory.double().cpu().numpy().tobytes()
    twice = 2 * shape[0], 2 * shape[1]
    down, across = (1 - (torch.arange(2 * n) - n).abs() / n for n in shape)
    triangle = (down[:, None] * across).to(torch.complex64)
    weights = torch.ones(1, 1, trajectory.shape[1], dtype=torch.complex64)
    for _ in range(DENSITY_STEPS):
        spread = _to_samples(points, twice, triangle * _to_images(points, twice, weights))
        weights = weights / spread.real.clamp_min(torch.finfo(torch.float32).tiny)
    return weights[0, 0].real.double() * math.prod(shape)  # the sum of the triangle, C_jj


def _again(points: bytes, weights: Tensor, x: Tensor) -> Tensor:
    """T^H diag(w) T x."""
    z = weights.to(x.real.dtype) * _to_samples(points, tuple(x.shape[-2:]), x)
    return _to_images(points, tuple(x.shape[-2:]), z) / math.prod(x.shape[-2:])


def _random(count: int, shape: tuple[int, ...]) -> Tensor:
    parts = torch.randn(count, 1, *shape, 2, generator=torch.Generator().manual_seed(0))
    return torch.view_as_complex(parts)


def _to_samples(points: bytes, shape: tuple[int, ...], x: Tensor) -> Tensor:
    """Sums over the pixels of images (..., H, W), without a factor: (..., samples)."""
    return _applied(2, points, shape, x, x.shape[:-2])


def _to_images(points: bytes, shape: tuple[int, ...], z: Tensor) -> Tensor:
    """The adjoint: sums over the samples (..., samples), for all pixels (..., H, W)."""
    return _applied(1, points, shape, z, z.shape[:-1])


def _applied(
    kind: int, points: bytes, shape: tuple[int, ...], given: Tensor, batch: torch.Size
) -> Tensor:
    """A transform from the grid (kind 2) or to the grid (kind 1) for every member of the batch."""
    values = given.detach().cpu().reshape(-1, *given.shape[len(batch) :]).contiguous().numpy()
    found = [
        _plan(kind, points, shape, len(part), values.dtype.name, torch.get_num_threads())(part)
        for part in np.array_split(values, range(AT_ONCE, len(values), AT_ONCE))
    ]
    made = torch.from_numpy(np.concatenate(found))
    return made.reshape(*batch, *made.shape[1:]).to(given.device)


class _Plan:
    """A prepared transform of ``count`` images at once, in the precision of ``dtype``."""

    def __init__(
        self, kind: int, points: bytes, shape: tuple[int, ...], count: int, dtype: str, threads: int
    ) -> None:
        real = np.float32 if dtype == "complex64" else np.float64
        tolerance = TOLERANCES[dtype]
        self.plan = _library().Plan(
            kind, shape, n_trans=count, eps=tolerance, isign=1 if kind == 1 else -1, dtype=dtype,
            nthreads=threads,
        )  # fmt: skip
        ky, kx = np.frombuffer(points, np.float64).reshape(2, -1).astype(real)
        self.points, self.count = (ky, kx), count  # finufft keeps no copy of them
        self.plan.setpts(*self.points)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self.plan.execute(values[0] if self.count == 1 else values)
        return found[None] if self.count == 1 else found


_plan = lru_cache(maxsize=8)(_Plan)  # each holds the grids of its images


def _library() -> Any:
    return optional_module("finufft", "a non-uniform Fourier transform", install="medscore[nufft]")
