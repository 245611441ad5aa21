"""From k-space along a trajectory to a measurement: grid of the image, coil maps, undersampling."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from medscore.datasets.raw.along import AlongTrajectory
from medscore.datasets.volume import centred_affine
from medscore.errors import MedscoreError
from medscore.measurements.coil_maps import coil_maps
from medscore.measurements.from_kspace import mr_measurement
from medscore.measurements.measurement import Measurement
from medscore.measurements.trajectory import evenly
from medscore.operators.base import Operator
from medscore.operators.mri.centre import gridded, sampled_cells
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.noise_level import trajectory_ends

LEAST = 0.25
"""Smallest share of the radius of k-space that the samples of an image reach."""


def from_trajectory(
    raw: AlongTrajectory,
    *,
    size: int | None,
    spacing: tuple[float, float] | None,
    maps: str,
    acceleration: float | None,
    where: str | Path,
) -> Measurement:
    """Measurement of k-space along a trajectory.

    Args:
        raw: k-space as a file holds it.
        size: pixels per side of the image; by default those of the coil maps, or, of a trajectory
            in cycles per field of view, twice its largest coordinate.
        spacing: distance between columns and between rows in mm, unless ``raw`` states it.
        maps: estimator of the coil sensitivities, a key of
            :data:`~medscore.measurements.coil_maps.MAPS`.
        acceleration: all arms over those that are kept, for experiments; all by default.
        where: file to name in errors.

    Raises:
        MedscoreError: the size or the pixel spacing is unknown or does not fit, the centre does not
            suffice for the maps, or no arm is left.
    """
    shape, trajectory = _grid(raw, size, where)
    measured = _kept(raw, acceleration, where)
    kspace = torch.from_numpy(raw.kspace) * measured
    alone = NonuniformFourier(trajectory, measured, *shape)
    operator: Operator = alone
    if kspace.shape[1] > 1:
        operator = MulticoilNonuniform(_maps(raw, alone, kspace, maps, where), trajectory, measured)
    try:
        level = float(trajectory_ends(kspace, measured, trajectory).median())
    except ValueError:
        level = 0.0
    affine = centred_affine(*shape, _spacing(raw, spacing, where))
    return mr_measurement(kspace, operator, level, affine, raw.source)


def _grid(
    raw: AlongTrajectory, size: int | None, where: str | Path
) -> tuple[tuple[int, int], Tensor]:
    """Rows and columns of the image, and the trajectory in radians per pixel."""
    positions = torch.from_numpy(raw.positions)
    largest = float(positions.abs().max())
    of_maps = None if raw.maps is None else (int(raw.maps.shape[-2]), int(raw.maps.shape[-1]))
    if size is not None and of_maps not in (None, (size, size)):
        raise MedscoreError(
            f"`size` is {size}, and the coil maps have {of_maps[0]} x {of_maps[1]} pixels",
            where=where, hint="leave `size` out",
        )  # fmt: skip
    shape = of_maps or (None if size is None else (size, size))
    if shape is None and raw.unit == "cycles-per-fov":
        side = 2 * math.ceil(largest - 1e-6)
        shape = side, side
    if shape is None:
        raise MedscoreError("the number of pixels is unknown", where=where, hint="set `size`")
    radians = {
        "radians-per-pixel": (1.0, 1.0),
        "cycles-per-pixel": (2 * math.pi, 2 * math.pi),
        "cycles-per-fov": (2 * math.pi / shape[0], 2 * math.pi / shape[1]),
    }
    per_unit = torch.tensor(radians[raw.unit], dtype=torch.float64)[:, None]
    trajectory = per_unit * positions
    reach = float(trajectory.abs().max())
    if not LEAST * math.pi <= reach <= math.pi * (1 + 1e-6):
        raise MedscoreError(
            f"the trajectory reaches {largest:.4g} in {raw.unit}, which is {reach:.4g} radians per "
            f"pixel of {shape[0]} x {shape[1]} pixels, not up to 3.14", where=where,
            hint="check trajectory_unit"
            + (", or increase `size`" if raw.unit == "cycles-per-fov" and reach > math.pi else ""),
        )  # fmt: skip
    return shape, trajectory.clamp(-math.pi, math.pi)


def _kept(raw: AlongTrajectory, acceleration: float | None, where: str | Path) -> Tensor:
    """Mask of the samples, (samples,)."""
    samples = raw.positions.shape[1]
    if acceleration is None:
        return torch.ones(samples, dtype=torch.bool)
    if raw.arms == 1:
        raise MedscoreError(
            f"`acceleration` is {acceleration:g}, and the file does not tell the arms apart",
            where=where, hint="give a trajectory of shape (arms, samples, 2)",
        )  # fmt: skip
    return evenly(raw.arms, acceleration, "arms").repeat_interleave(samples // raw.arms)


def _maps(
    raw: AlongTrajectory, alone: NonuniformFourier, kspace: Tensor, name: str, where: str | Path
) -> Tensor:
    """Coil sensitivities of the file, or estimated from the centre of k-space."""
    if raw.maps is not None:
        given = torch.from_numpy(raw.maps)
        return given.expand(len(kspace), -1, -1, -1)
    sampled = sampled_cells(alone)
    try:
        return coil_maps(name, gridded(alone, kspace) * sampled, sampled)
    except ValueError as error:
        raise MedscoreError(
            f"coil maps cannot be estimated: {error}",
            where=where,
            hint="sample more of the centre of k-space, give sensitivities, or use another "
            "estimator",
        ) from error


def _spacing(
    raw: AlongTrajectory, given: tuple[float, float] | None, where: str | Path
) -> tuple[float, float, float]:
    if given is not None and raw.spacing is not None:
        raise MedscoreError(
            "`spacing` is set, and the geometry states spacing as well", where=where,
            hint="leave one of them out",
        )  # fmt: skip
    if given is None and raw.spacing is None:
        raise MedscoreError("the pixel spacing is unknown", where=where, hint="set `spacing` in mm")
    return raw.spacing or (*given, given[0])  # type: ignore[misc,index]
