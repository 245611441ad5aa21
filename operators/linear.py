r"""An operator from two functions, A and its adjoint, for those who have no factorisation A = P T.

T is the function itself and Lambda measures all of its output. Without a left inverse of T, all
methods that need only A and A^H work, by conjugate gradients: ``pinv``, ``data_consistency``,
``tikhonov``, ``project_exact``, ``project_ball``, ``norm_squared`` and ``residual``.

The adjoint is verified when the operator is constructed. For random x and for y in and out of the
range of A, with the real inner product (which suffices for complex data too, as y is random),

.. math:: |\langle A x, y\rangle - \langle x, A^H y\rangle| \le 10^{-4}\, \|A x\|\, \|y\|.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from medscore.errors import MedscoreError, reason
from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.linalg import norm
from medscore.operators.noise import NoiseModel

TOLERANCE = 1e-4
"""Largest mismatch of the dot test; rounding in float32 is about 1e-6."""

Function = Callable[[Tensor], Tensor]
"""A linear function on a batch."""


@final
class LinearOperator(Operator):
    """An operator from a function and its adjoint: ``LinearOperator(f, g, shape)``.

    Args:
        forward: A, from images (batch, channel, H, W) to measurements (batch, ...).
        adjoint: A^H, from measurements to images.
        image_shape: shape of one image without the batch axis, (channel, H, W); (H, W) stands for
            images (batch, channel, H, W) of any number of channels, as in other operators.
        measurement_shape: shape of one measurement without the batch axis; by default that of
            ``forward`` applied once to a zero image.
        inverse: a linear left inverse of ``forward``; without it ``T_inv``, ``zero_filled`` and
            ``proximal`` raise an error.
        mask: 0 or 1, broadcastable to the measurement (or one for each sample): the entries that
            are measured; all of them by default.
        noise: noise model of the instrument; noiseless by default.
        dtype: data type of the images in the tests of the constructor; by default float32, or
            complex64 if ``adjoint`` returns complex numbers. The operator itself uses the type of
            its argument.
        device: device of the images in the tests of the constructor, and of the default mask.
        check: whether to test that ``adjoint`` is the adjoint of ``forward``.

    Raises:
        OperatorError: a shape or the mask is invalid, a function raises an exception or returns
            another shape or no tensor, or ``adjoint`` is not the adjoint of ``forward``; the
            message states the mismatch.
    """

    def __init__(
        self,
        forward: Function,
        adjoint: Function,
        image_shape: tuple[int, ...],
        measurement_shape: tuple[int, ...] | None = None,
        *,
        inverse: Function | None = None,
        mask: Tensor | None = None,
        noise: NoiseModel | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        check: bool = True,
    ) -> None:
        _check_functions(forward=forward, adjoint=adjoint, inverse=inverse)
        self._forward, self._adjoint, self._inverse = forward, adjoint, inverse
        shape = _shape(image_shape, "image_shape", least=2)
        one = shape if len(shape) != 2 else (1, *shape)
        zero = torch.zeros(1, *one, dtype=dtype or torch.float32, device=device)
        if measurement_shape is None:
            measurement_shape = tuple(
                _tensor(_run(forward, zero, "forward"), "forward", 1).shape[1:]
            )
        grid = _shape(measurement_shape, "measurement_shape", least=1)
        if check:
            _check_adjoint(forward, adjoint, zero, grid, infer=dtype is None)
        if mask is None:
            mask = torch.ones(grid, dtype=torch.bool, device=device)
        super().__init__(mask, image_shape=shape, grid_shape=grid, noise=noise)

    def __repr__(self) -> str:
        return f"LinearOperator({self.image_shape} to {self.grid_shape})"

    def settings(self) -> dict[str, Any]:
        raise OperatorError(
            f"{self!r} cannot be stored in a file, because it is made of functions: construct it "
            "again where it is needed"
        )

    def T(self, x: Tensor) -> Tensor:
        return self._forward(x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return self._adjoint(z)

    def T_inv(self, z: Tensor) -> Tensor:
        if self._inverse is None:
            raise OperatorError(
                "T_inv is not known: give `inverse`, or use a method that needs only A and its "
                "adjoint, such as diffpir, dds or dps"
            )
        return self._inverse(z)


def _check_functions(**functions: object) -> None:
    for name, function in functions.items():
        if not callable(function) and not (name == "inverse" and function is None):
            raise OperatorError(
                f"`{name}` is {function!r}, expected a function", hint="give a linear function"
            )


def _shape(given: object, name: str, *, least: int) -> tuple[int, ...]:
    """``given`` as a tuple, if it holds at least ``least`` positive integers."""
    shape = tuple(given) if isinstance(given, tuple | list) else ()
    if len(shape) < least or not all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in shape
    ):
        raise OperatorError(
            f"`{name}` is {given!r}, expected positive integers",
            hint="use a tuple such as (1, 32, 32)",
        )
    return tuple(int(n) for n in shape)


def _run(function: Function, x: Tensor, name: str) -> object:
    """What a function of the user's returns in the tests of the constructor."""
    try:
        return function(x)
    except MedscoreError:
        raise
    except Exception as error:
        raise OperatorError(
            f"`{name}` raises {type(error).__name__} for the shape {tuple(x.shape)} "
            f"({reason(error)})",
            hint="correct the function, `image_shape`, `dtype` or `device`",
        ) from error


def _check_adjoint(
    forward: Function, adjoint: Function, zero: Tensor, grid: tuple[int, ...], *, infer: bool
) -> None:
    """The dot test, for each of two samples in a batch; ``infer`` complex images from ``adjoint``.

    Raises:
        OperatorError: the functions do not fit each other.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(like: Tensor) -> Tensor:
        drawn = torch.randn(2, *like.shape[1:], generator=generator, dtype=torch.float64)
        if like.is_complex():
            imaginary = torch.randn(drawn.shape, generator=generator, dtype=torch.float64)
            drawn = torch.complex(drawn, imaginary)
        return drawn.to(like)

    x = draw(zero)
    ax = _measurement(_run(forward, x, "forward"), grid)
    back = _image(_run(adjoint, ax, "adjoint"), x)
    if infer and back.is_complex() and not x.is_complex():
        x = draw(zero.to(torch.complex64))
        ax = _measurement(_run(forward, x, "forward"), grid)
        back = _image(_run(adjoint, ax, "adjoint"), x)
    if back.dtype != x.dtype:
        raise OperatorError(
            f"`adjoint` returns {back.dtype} for images of {x.dtype}: both must be of one type",
            hint="set `dtype`",
        )
    length = norm(ax)
    if not bool((length > 0).all()):
        raise OperatorError(
            "`forward` maps random images to zero or to NaN: it measures nothing",
            hint="check `forward`",
        )
    unknown = draw(ax)
    other = _image(_run(adjoint, unknown, "adjoint"), x)
    for y, aty in ((ax, back), (unknown, other)):
        gap = (_inner(ax, y) - _inner(x, aty)).abs() / (length * norm(y))
        mismatch = float(gap.max())
        if not mismatch <= TOLERANCE:
            raise OperatorError(
                "`adjoint` is not the adjoint of `forward`: <A x, y> and <x, A^H y> differ by "
                f"{mismatch:.2g} of |A x| |y|, expected at most {TOLERANCE:g}",
                hint="correct `adjoint`, or omit the test with check=False",
            )


def _measurement(z: object, grid: tuple[int, ...]) -> Tensor:
    z = _tensor(z, "forward", 2)
    if tuple(z.shape[1:]) != grid:
        raise OperatorError(
            f"`forward` returns the shape {tuple(z.shape)}, expected {(2, *grid)}",
            hint="correct `measurement_shape` or `forward`",
        )
    return z


def _image(back: object, x: Tensor) -> Tensor:
    back = _tensor(back, "adjoint", len(x))
    if back.shape != x.shape:
        raise OperatorError(
            f"`adjoint` returns the shape {tuple(back.shape)}, expected {tuple(x.shape)}",
            hint="correct `image_shape` or `adjoint`",
        )
    return back


def _tensor(value: object, name: str, batch: int) -> Tensor:
    """``value``, if it is a tensor with a batch axis."""
    if not isinstance(value, Tensor):
        raise OperatorError(
            f"`{name}` returns a {type(value).__name__}, expected a tensor",
            hint="return a torch.Tensor",
        )
    if value.ndim < 2 or len(value) != batch:
        raise OperatorError(
            f"`{name}` returns the shape {tuple(value.shape)} for a batch of {batch}",
            hint="the first axis must be the batch",
        )
    return value


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """The real inner product of each sample, (batch,), in float64."""
    dtype = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    product = a.to(dtype).conj() * b.to(dtype)
    return product.flatten(1).sum(1).real
