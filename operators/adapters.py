"""Operators of other libraries: deepinv's ``LinearPhysics`` and sigpy's ``Linop``.

Neither library is imported: the adapters rely on the interfaces of their objects alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from medscore.operators.autograd import Map, linear_map
from medscore.operators.grid import OperatorError
from medscore.operators.linear import LinearOperator
from medscore.operators.noise import NoiseModel


@runtime_checkable
class Physics(Protocol):
    """The part of deepinv's ``LinearPhysics`` that is used."""

    def A(self, x: Any) -> Any:
        """Noise-free measurements (batch, ...) of images ``x`` (batch, channel, H, W)."""

    def A_adjoint(self, y: Any) -> Any:
        """The adjoint of ``A``, applied to measurements ``y``."""


@runtime_checkable
class Linop(Protocol):
    """The part of sigpy's ``Linop`` that is used."""

    ishape: Any
    """Shape of the input."""
    oshape: Any
    """Shape of the output."""

    @property
    def H(self) -> Any:
        """The adjoint, a ``Linop``."""

    def apply(self, input: Any) -> Any:
        """The output for one array ``input`` of shape ``ishape``, without a batch axis."""


def from_deepinv(
    physics: Physics,
    image_shape: tuple[int, ...],
    *,
    noise: NoiseModel | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check: bool = True,
) -> LinearOperator:
    """An operator from a ``deepinv.physics.LinearPhysics``; its noise model is not taken over.

    The physics defines how complex images are represented: deepinv's MRI uses two real channels.

    Args:
        physics: an object with ``A`` and ``A_adjoint``, applied to tensors.
        image_shape: shape of one image without the batch axis, (channel, H, W).
        noise: noise model of the instrument; noiseless by default.
        dtype: data type of the images; see :class:`~medscore.operators.linear.LinearOperator`.
        device: device of the physics.
        check: whether to test the adjoint.

    Raises:
        OperatorError: ``physics`` lacks one of the methods, returns a list of measurements, or its
            ``A_adjoint`` is not the adjoint of ``A``.
    """
    if not isinstance(physics, Physics):
        raise OperatorError(
            f"`physics` is a {type(physics).__name__} without A or A_adjoint",
            hint="give a deepinv.physics.LinearPhysics",
        )
    return LinearOperator(
        physics.A,
        physics.A_adjoint,
        image_shape,
        noise=noise,
        dtype=dtype,
        device=device,
        check=check,
    )


def from_sigpy(
    linop: Linop, *, noise: NoiseModel | None = None, check: bool = True
) -> LinearOperator:
    """An operator on complex images from a ``sigpy.linop.Linop``.

    Images are (batch, *ishape) and measurements (batch, *oshape), where a shape of two axes gets a
    channel axis: (batch, 1, H, W). The samples of a batch are computed one after the other by NumPy
    on the CPU, in the complex type of the argument (complex64 or complex128). PyTorch cannot
    differentiate NumPy code: the gradient is the linop's adjoint.

    Args:
        linop: the linear operator, on arrays without a batch axis.
        noise: noise model of the instrument; noiseless by default.
        check: whether to test the adjoint.

    Raises:
        OperatorError: ``linop`` is no Linop, or its adjoint is not exact; images must be complex.
    """
    if not isinstance(linop, Linop):
        raise OperatorError(
            f"`linop` is a {type(linop).__name__}, expected a sigpy.linop.Linop",
            hint="give the Linop itself",
        )
    image, measurement = tuple(linop.ishape), tuple(linop.oshape)
    forward = _over_samples(linop.apply, image, measurement)
    adjoint = _over_samples(linop.H.apply, measurement, image)
    return LinearOperator(
        lambda x: linear_map(_complex(x), forward, adjoint),
        lambda y: linear_map(_complex(y), adjoint, forward),
        image,
        _with_channel(measurement),
        noise=noise,
        dtype=torch.complex64,
        check=check,
    )


def _with_channel(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *shape) if len(shape) == 2 else shape


def _over_samples(
    apply: Callable[[Any], Any], taken: tuple[int, ...], given: tuple[int, ...]
) -> Map:
    """``apply``, from arrays of shape ``taken`` to ``given``, on tensors with leading axes."""

    def run(x: Tensor) -> Tensor:
        leading = x.shape[: x.ndim - len(_with_channel(taken))]
        arrays = x.detach().resolve_conj().cpu().numpy().reshape(-1, *taken)
        results = np.stack([np.asarray(apply(array), dtype=arrays.dtype) for array in arrays])
        return torch.from_numpy(results).to(x.device).reshape(*leading, *_with_channel(given))

    return run


def _complex(x: Tensor) -> Tensor:
    if not x.is_complex():
        raise OperatorError(
            f"sigpy operators work on complex numbers, not {x.dtype}", hint="use torch.complex"
        )
    return x
