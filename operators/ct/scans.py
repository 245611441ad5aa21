"""Common partial CT scans: sparse views, limited angle, lists of views, a sparse fan beam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from medscore.operators.ct.geometry import FanBeam, ParallelAngles, ParallelBeam, check_angles
from medscore.operators.ct.radon import Radon
from medscore.operators.noise import NoiseModel


def full_grid(measured: int, size: int) -> int:
    """Number of views of the full grid.

    It is the smallest multiple of ``measured`` that is at least 180 and ``size``, and divisible by
    4. With as many views as pixels per side the transform has more samples than unknowns, so it has
    a left inverse; and every measured view lies on the grid, so Lambda is exact.

    Args:
        measured: number of measured views.
        size: number of pixels per side.
    """
    step = math.lcm(measured, 4)
    return step * math.ceil(max(180, size) / step)


def sparse_view(size: int, spacing: float, views: int, noise: NoiseModel | None = None) -> Radon:
    """A parallel beam with few equally spaced views over 180 degrees.

    Args:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        views: number of measured views; the full grid is that of :func:`full_grid`.
        noise: noise of the scan.
    """
    grid = full_grid(views, size)
    return Radon(ParallelBeam(size, spacing, grid), _every(grid, grid // views), noise)


def limited_angle(
    size: int, spacing: float, start: float, stop: float, noise: NoiseModel | None = None
) -> Radon:
    """A parallel beam with all views of the full grid within an arc.

    Args:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        start: first angle in radians.
        stop: end of the arc in radians, exclusive.
        noise: noise of the scan.

    Raises:
        ValueError: not 0 <= start < stop <= pi.
    """
    if not 0 <= start < stop <= math.pi + 1e-9:
        raise ValueError(
            f"the arc extends from {start:g} to {stop:g}, expected radians in [0, pi] - convert "
            "degrees with math.radians"
        )
    geometry = ParallelBeam(size, spacing, full_grid(1, size))
    inside = (geometry.angles >= start - 1e-9) & (geometry.angles < stop - 1e-9)
    return Radon(geometry, inside[:, None], noise)


def view_list(
    size: int, spacing: float, angles: Sequence[float], noise: NoiseModel | None = None
) -> Radon:
    """A parallel beam with views at arbitrary angles.

    The full grid consists of these views and of additional ones in every gap that is wider than the
    spacing of :func:`full_grid`: over half a turn, or over a full one if the views span more.

    Args:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        angles: angles in radians, in order, within 360 degrees; some may be equal.
        noise: noise of the scan.

    Raises:
        ValueError: the angles decrease, span too much, or look like degrees.
    """
    check_angles(angles, span=2 * math.pi)
    turn = math.pi if angles[-1] - angles[0] < math.pi else 2 * math.pi
    grid, measured = _filled(angles, turn, math.pi / full_grid(1, size))
    return Radon(ParallelAngles(size, spacing, grid), measured, noise)


def fan_sparse_view(
    size: int,
    spacing: float,
    views: int,
    *,
    source_distance: float,
    detector_distance: float,
    detector_shape: str = "flat",
    noise: NoiseModel | None = None,
) -> Radon:
    """A fan beam with few equally spaced views over 360 degrees.

    Args:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        views: number of measured views.
        source_distance: distance from the source to the centre of rotation in mm.
        detector_distance: distance from the source to the detector in mm.
        detector_shape: ``flat`` or ``curved``.
        noise: noise of the scan.

    Raises:
        ValueError: a number is out of range, or the source lies within the image.
    """
    grid = math.lcm(views, 4)
    grid *= math.ceil(2 * max(180, size) / grid)
    geometry = FanBeam(
        size, spacing, grid, source_distance, detector_distance, detector_shape=detector_shape
    )
    return Radon(geometry, _every(grid, grid // views), noise)


def fan_view_list(
    size: int,
    spacing: float,
    angles: Sequence[float],
    *,
    source_distance: float,
    detector_distance: float,
    detector_shape: str = "flat",
    noise: NoiseModel | None = None,
) -> Radon:
    """A fan beam with views at arbitrary angles, such as those of a short scan.

    The full grid consists of these views and of additional ones in every gap of the turn that is
    wider than the spacing of :func:`fan_sparse_view`.

    Args:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        angles: angles in radians, in order, within 360 degrees; some may be equal.
        source_distance: distance from the source to the centre of rotation in mm.
        detector_distance: distance from the source to the detector in mm.
        detector_shape: ``flat`` or ``curved``.
        noise: noise of the scan.

    Raises:
        ValueError: the angles decrease, span too much, or look like degrees, a number is out of
            range, or the source lies within the image.
    """
    check_angles(angles, span=2 * math.pi)
    grid, measured = _filled(angles, 2 * math.pi, math.pi / max(180, size))
    geometry = FanBeam(
        size, spacing, len(grid), source_distance, detector_distance,
        detector_shape=detector_shape, list_of_angles=grid,
    )  # fmt: skip
    return Radon(geometry, measured, noise)


def _filled(
    angles: Sequence[float], turn: float, step: float
) -> tuple[tuple[float, ...], torch.Tensor]:
    """The angles with further ones in gaps wider than ``step``, and the mask of the given ones."""
    grid: list[float] = []
    measured: list[bool] = []
    for a, b in pairwise([*angles, angles[0] + turn]):
        parts = max(1, math.ceil((b - a) / step - 1e-9))
        grid += [float(a + (b - a) * k / parts) for k in range(parts)]
        measured += [k == 0 for k in range(parts)]
    return _within_turns(grid), torch.tensor(measured)[:, None]


def _within_turns(grid: list[float]) -> tuple[float, ...]:
    """The angles, a full turn less if they reach beyond 360 degrees."""
    turn = 2 * math.pi
    return tuple(a - turn for a in grid) if grid[-1] > turn and grid[0] >= 0 else tuple(grid)


def _every(grid: int, step: int) -> torch.Tensor:
    return (torch.arange(grid) % step == 0)[:, None]
