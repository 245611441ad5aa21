"""Checks of masks and images, and how shapes without a channel axis compare."""

from __future__ import annotations

from typing import SupportsFloat

from torch import Tensor

from medscore.errors import MedscoreError


class OperatorError(MedscoreError, ValueError):
    """An operator, or an argument of one, that is invalid; a ValueError too."""


def check_mask(mask: Tensor, grid_shape: tuple[int, ...]) -> None:
    """Reject a tensor that is not a mask on the measurement grid.

    Args:
        mask: diag Lambda, broadcastable to ``grid_shape``, with or without batch axes in front.
        grid_shape: the last axes of a full measurement.

    Raises:
        OperatorError: it is no tensor, does not fit the grid, has values other than 0 and 1, or no
            1 at all.
    """
    if not isinstance(mask, Tensor):
        raise OperatorError(
            f"the `mask` is a {type(mask).__name__}, expected a tensor", hint="use torch.as_tensor"
        )
    trailing = tuple(mask.shape[-len(grid_shape) :])
    expected = grid_shape[len(grid_shape) - len(trailing) :]
    if any(n not in (1, m) for n, m in zip(trailing, expected, strict=True)):
        raise OperatorError(
            f"the mask has shape {tuple(mask.shape)}, the grid {grid_shape}",
            hint="give a `mask` that is broadcastable to the grid",
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise OperatorError("the mask must contain only 0 and 1", hint="use `mask` > 0")
    if not bool(mask.any()):
        raise OperatorError(
            "the mask has no 1: nothing is measured", hint="set `mask` to 1 where data exist"
        )


def per_sample(mask: Tensor, grid_shape: tuple[int, ...]) -> bool:
    """True if the mask differs from sample to sample.

    Args:
        mask: diag Lambda.
        grid_shape: the last axes of a full measurement.
    """
    return mask.ndim > len(grid_shape) and mask.shape[0] > 1


def same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The longer of two shapes that agree on the axes they share, else ``None``.

    Operators that treat all channels alike leave the channel axis out of their shapes.

    Args:
        a: the last axes of an array.
        b: the last axes of the same array, according to another operator.
    """
    shared = min(len(a), len(b))
    if a[len(a) - shared :] != b[len(b) - shared :]:
        return None
    return max(a, b, key=len)


def check_image(x: object, image_shape: tuple[int, ...]) -> None:
    """Reject what an operator cannot be applied to, by its type and shape alone.

    Args:
        x: images (batch, ..., *image_shape), real or complex.
        image_shape: the last axes of an image.

    Raises:
        OperatorError: no tensor, integers, or images of another shape.
    """
    if not isinstance(x, Tensor):
        raise OperatorError(f"`x` is a {type(x).__name__}", hint="give a torch.Tensor")
    if not (x.is_floating_point() or x.is_complex()):
        raise OperatorError(f"`x` is of type {x.dtype}", hint="use x.float()")
    if tuple(x.shape[-len(image_shape) :]) != image_shape:
        shape = ", ".join(map(str, image_shape))
        raise OperatorError(f"`x` has shape {tuple(x.shape)}", hint=f"use (batch, ..., {shape})")


def is_real(value: object) -> bool:
    """True if ``value`` is a single real number of Python, NumPy or PyTorch.

    Args:
        value: any object.

    Raises:
        OperatorError: a complex number.
    """
    if getattr(value, "ndim", 0) != 0:
        return False
    if isinstance(value, complex) or "complex" in str(getattr(value, "dtype", "")):
        raise OperatorError(
            f"`factor` is {value}, expected a real number",
            hint="multiply the images or the data by the complex number instead",
        )
    return isinstance(value, SupportsFloat)


def extra(longer: tuple[int, ...], shorter: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes that the one shape has and the other leaves out.

    Args:
        longer: the shape with more axes.
        shorter: the other shape.
    """
    return longer[: max(0, len(longer) - len(shorter))]
