"""Scans of which some views are measured: which these are, and arrays of all views from them."""

from __future__ import annotations

from torch import Tensor


def seen_views(mask: Tensor, views: int, axes: int) -> Tensor:
    """The views with any measured ray: (samples, views), or (1, views) if they share a mask.

    Args:
        mask: measured rays (..., views, detector), where axes of length 1 stand for longer ones.
        views: number of views.
        axes: number of axes of the detector.
    """
    full = mask.reshape((1,) * (1 + axes - mask.ndim) + tuple(mask.shape))
    seen = full.flatten(-axes).any(-1)
    return seen.reshape(-1, seen.shape[-1]).expand(-1, views)


def onto_all_views(rays: Tensor, rows: Tensor, views: int, axis: int) -> Tensor:
    """Rays of some views among zeros for the others.

    Args:
        rays: the rays, with an axis of the views in ``rows``.
        rows: indices of these views.
        views: number of all views.
        axis: the axis of the views, counted from the end, negative.
    """
    shape = list(rays.shape)
    shape[axis] = views
    return rays.new_zeros(shape).index_copy(axis, rows.to(rays.device), rays)
