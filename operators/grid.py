"""The 0/1 mask on the measurement grid: checks, and how shapes without a channel axis compare."""

from __future__ import annotations

from torch import Tensor


def check_mask(mask: Tensor, grid_shape: tuple[int, ...]) -> None:
    """Reject a tensor that is not a mask on the measurement grid.

    Args:
        mask: diag Lambda, broadcastable to ``grid_shape``, with or without batch axes in front.
        grid_shape: the last axes of a full measurement.

    Raises:
        ValueError: the mask does not fit the grid, has values other than 0 and 1, or no 1 at all.
    """
    trailing = tuple(mask.shape[-len(grid_shape) :])
    expected = grid_shape[len(grid_shape) - len(trailing) :]
    if any(n not in (1, m) for n, m in zip(trailing, expected, strict=True)):
        raise ValueError(f"the mask has shape {tuple(mask.shape)}, the grid {grid_shape}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("the mask must contain only 0 and 1")
    if not bool(mask.any()):
        raise ValueError("the mask has no 1: nothing is measured")


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
