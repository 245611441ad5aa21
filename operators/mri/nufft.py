r"""Non-Cartesian MRI: T is the Fourier transform at arbitrary points of k-space.

.. math:: z_j = \frac{1}{\sqrt{HW}} \sum_n x_n\, e^{-i \omega_j \cdot (n - c)}, \qquad
          c = (\lfloor H/2\rfloor, \lfloor W/2\rfloor),

computed by torchkbnufft (Muckley et al. 2020), the extra ``medscore[nufft]``: gridding with a
Kaiser-Bessel kernel, with a relative error of about 1e-4 in its default setting. Its adjoint is the
exact adjoint of the gridding.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from medscore.errors import optional_module
from medscore.operators.autograd import linear_map, outside
from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.linalg import chebyshev, largest_eigenvalue
from medscore.operators.noise import NoiseModel
from medscore.types import ComplexImages

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
        MedscoreError: torchkbnufft is not installed.
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
        forward, _ = _modules(self.image_shape, x.dtype)
        images = x.reshape(-1, *x.shape[-3:])  # torchkbnufft takes (batch, channel, H, W) only
        z: Tensor = forward.to(x.device)(images, self._points(x))
        return z.reshape(*x.shape[:-2], -1) / math.sqrt(math.prod(self.image_shape))

    def _adjoint_transform(self, z: Tensor) -> Tensor:
        _, adjoint = _modules(self.image_shape, z.dtype)
        x: Tensor = adjoint.to(z.device)(z.reshape(-1, *z.shape[-2:]), self._points(z))
        return x.reshape(*z.shape[:-1], *self.image_shape) / math.sqrt(math.prod(self.image_shape))

    def _points(self, like: Tensor) -> Tensor:
        return self.trajectory.to(like.device, like.dtype.to_real())

    def _density(self, like: Tensor) -> Tensor:
        return self._compensation[0].to(like.device, like.dtype.to_real())

    def _largest(self) -> float:
        return self._compensation[1]

    @cached_property
    def _compensation(self) -> tuple[Tensor, float]:
        points = self.trajectory.cpu().numpy().tobytes()
        return outside(lambda: _weights_and_gain(points, self.image_shape))


@lru_cache(maxsize=4)
def _weights_and_gain(trajectory: bytes, shape: tuple[int, ...]) -> tuple[Tensor, float]:
    """Density compensation w of a trajectory (bytes of float64), and lambda_max of T^H w T."""
    points = torch.frombuffer(bytearray(trajectory), dtype=torch.float64).reshape(2, -1)
    weights = density_compensation(points, shape)
    forward, adjoint = _modules(shape, torch.complex64)
    single, pixels = points.float(), math.prod(shape)
    parts = torch.randn(1, 1, *shape, 2, generator=torch.Generator().manual_seed(0))
    gain = largest_eigenvalue(
        lambda v: adjoint(weights.float() * forward(v, single), single) / pixels,
        torch.view_as_complex(parts),
    )
    return weights, float(gain)


def density_compensation(trajectory: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Weights w (samples,) for which T^H diag(w) T is close to the identity (Pipe and Menon 1999).

    They are scaled to a mean gain of 1.

    Args:
        trajectory: (2, samples), in radians per pixel.
        shape: (H, W) of the image.
    """
    forward, adjoint = _modules(tuple(shape), torch.complex128)
    points = trajectory.double()
    weights = _library().calc_density_compensation_function(points, im_size=tuple(shape))
    weights = weights.abs()[0, 0]
    parts = torch.randn(
        4, 1, *shape, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    x = torch.view_as_complex(parts)
    again = adjoint(weights * forward(x, points), points) / math.prod(shape)
    scale = float(x.abs().square().sum() / (x.conj() * again).sum().real)
    compensation: Tensor = scale * weights
    return compensation


def radial_trajectory(size: int, spokes: int) -> Tensor:
    """Equally spaced lines through the centre over 180 degrees, (2, spokes * 2 size).

    Args:
        size: side of the image; a spoke has twice as many samples.
        spokes: number of lines, one after the other in the result.
    """
    r = (torch.arange(2 * size, dtype=torch.float64) - size) * (math.pi / size)
    angle = torch.arange(spokes, dtype=torch.float64)[:, None] * (math.pi / spokes)
    return torch.stack([(r * angle.sin()).flatten(), (r * angle.cos()).flatten()])


@lru_cache(maxsize=4)
def _modules(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Any, Any]:
    with _without_warnings():
        return (
            _library().KbNufft(im_size=shape, dtype=dtype),
            _library().KbNufftAdjoint(im_size=shape, dtype=dtype),
        )


def _library() -> Any:
    with _without_warnings():
        return optional_module(
            "torchkbnufft", "a non-uniform Fourier transform", install="medscore[nufft]"
        )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence the warnings of torchkbnufft about its use of torch.jit and of torch.meshgrid."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(torch.jit|meshgrid).*")
        yield
