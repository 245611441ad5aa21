r"""k-space along a trajectory, in NumPy, MATLAB and HDF5 files of arrays.

The file holds complex samples (..., \*S) and their positions (\*S, 2) or (2, \*S), kx before ky,
where \*S is one axis of samples or arms and samples. kx is along the rows of the image, to the
right, and ky along its columns, downwards; kz may be a third coordinate that is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.kspace import single_precision
from medscore.datasets.raw.kspace_layout import KspaceLayout
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.io.array_files import is_array_file, open_arrays
from medscore.io.arrays import Arrays
from medscore.io.opening import file_sha256

INNER = 0.25
"""Share of the radius of k-space that holds more than its part of the energy of any image."""

MORE = 1.5
"""Mean energy there over the mean of all samples, below which samples and positions do not fit."""


@dataclass(frozen=True)
class AlongTrajectory:
    """k-space along a trajectory, as a file holds it.

    Attributes:
        kspace: (slices, coils, samples) complex64.
        positions: (2, samples), ky and kx in ``unit``.
        unit: see :class:`~medscore.datasets.raw.kspace_layout.KspaceLayout`.
        arms: number of arms, which stand one after the other; 1 where the file does not tell.
        spacing: distance between columns, rows and slices in mm; ``None`` where it is not stated.
        source: hash and notes, without identity.
        maps: coil sensitivities (slices or 1, coils, rows, columns), where the file has them.
    """

    kspace: NDArray[np.complex64]
    positions: NDArray[np.float64]
    unit: str
    arms: int
    spacing: tuple[float, float, float] | None
    source: Source
    maps: NDArray[np.complex64] | None = None

    def select(self, start: int, stop: int) -> AlongTrajectory:
        """Select a range of slices.

        Args:
            start: index of the first slice.
            stop: index after the last slice.
        """
        maps = self.maps if self.maps is None or len(self.maps) == 1 else self.maps[start:stop]
        return replace(self, kspace=self.kspace[start:stop], maps=maps)


def read_along(path: Path, layout: KspaceLayout) -> AlongTrajectory:
    """Read k-space and its trajectory from the arrays of a file.

    Args:
        path: .npz, .mat or HDF5 file.
        layout: names of the arrays, and what the file does not record.

    Raises:
        MedscoreError: another kind of file, arrays that are missing or do not fit each other, or
            values that are not finite.
    """
    if not is_array_file(path):
        raise MedscoreError(
            "trajectory names an array of a .npz, .mat or HDF5 file", where=path,
            hint="save k-space and trajectory with numpy.savez",
        )  # fmt: skip
    for name in ("axes", "reference"):
        if getattr(layout, name) is not None:
            raise MedscoreError(
                f"{name} does not apply to k-space along a trajectory", where=path,
                hint="leave it out: the last axes are those of the trajectory",
            )  # fmt: skip
    if layout.trajectory_unit is None:
        raise MedscoreError(
            "the unit of the trajectory is not stated", where=path,
            hint="set trajectory_unit to radians-per-pixel, cycles-per-pixel or cycles-per-fov",
        )  # fmt: skip
    with open_arrays(path) as arrays:
        positions, shape = _positions(arrays, _named(arrays, "trajectory", layout.trajectory))
        kspace = _kspace(arrays, layout, shape)
        maps = None if layout.sensitivities is None else _maps(arrays, layout, kspace.shape)
    _check_centre(kspace, positions, path)
    return AlongTrajectory(
        kspace=kspace,
        positions=positions,
        unit=layout.trajectory_unit,
        arms=shape[0] if len(shape) > 1 else 1,
        spacing=layout.spacing_mm,
        source=Source("kspace", file_sha256(path)),
        maps=maps,
    )


def _named(arrays: Arrays, key: str, name: str | None) -> str:
    """The name of an array of the layout, as the file spells it."""
    found = None if name is None else arrays.spelled(name)
    if found is None:
        raise MedscoreError(
            f"{key} is {name}, and the file has no such array", where=arrays.where,
            hint=f"set {key} to one of {', '.join(list(arrays.entries)[:6])}",
        )  # fmt: skip
    return found


def _positions(arrays: Arrays, name: str) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """ky and kx (2, samples), and the axes of the samples."""
    stored = arrays.read(arrays.named(name))
    last, first = stored.shape[-1:], stored.shape[:1]
    if stored.dtype.kind not in "iuf" or stored.ndim not in (2, 3) or not (
        last in ((2,), (3,)) or first in ((2,), (3,))
    ):  # fmt: skip
        raise MedscoreError(
            f"the trajectory {name} is {stored.dtype} of shape {stored.shape}",
            where=arrays.where, hint="give kx and ky, (samples, 2) or (arms, samples, 2)",
        )  # fmt: skip
    points = stored.astype(np.float64)
    points = np.moveaxis(points, -1, 0) if last in ((2,), (3,)) else points
    shape = points.shape[1:]
    points = points.reshape(len(points), -1)
    if not np.isfinite(points).all():
        raise MedscoreError(
            f"the trajectory {name} holds NaN or infinity", where=arrays.where,
            hint="export it again",
        )  # fmt: skip
    if len(points) == 3 and points[2].any():
        raise MedscoreError(
            f"the trajectory {name} has kz other than 0", where=arrays.where,
            hint="transform the partitions first: 2-D trajectories are read",
        )  # fmt: skip
    return np.ascontiguousarray(points[1::-1]), shape


def _kspace(arrays: Arrays, layout: KspaceLayout, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """The samples (slices, coils, samples)."""
    stored = arrays.read(arrays.one(layout.array, (1, 2, 3, 4), "c"))
    before = stored.shape[: stored.ndim - len(shape)]
    if stored.dtype.kind != "c" or stored.shape[len(before) :] != shape or len(before) > 2:
        raise MedscoreError(
            f"k-space is {stored.dtype} of shape {stored.shape}, and the trajectory has samples of "
            f"shape {shape}", where=arrays.where,
            hint="put the axes in the order slice, coil, and those of the trajectory",
        )  # fmt: skip
    flat = stored.reshape(*(1,) * (2 - len(before)), *before, math.prod(shape))
    kspace = single_precision(np.ascontiguousarray(flat), arrays.where)
    empty = [i for i, one in enumerate(kspace) if not one.any()]
    if empty or not kspace.size:
        raise MedscoreError(
            f"k-space is zero everywhere in slice {(empty or [0])[0]}", where=arrays.where,
            hint="export it again",
        )  # fmt: skip
    return kspace


def _maps(arrays: Arrays, layout: KspaceLayout, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    name = _named(arrays, "sensitivities", layout.sensitivities)
    stored = arrays.read(name)
    maps: NDArray[Any] = stored[None] if stored.ndim == 3 else stored
    slices, coils, _ = shape
    fits = maps.ndim == 4 and maps.shape[0] in (1, slices) and maps.shape[1] == coils
    if maps.dtype.kind != "c" or not fits:
        raise MedscoreError(
            f"the coil maps {name} are {stored.dtype} of shape {stored.shape}, and k-space has "
            f"{coils} coils in {slices} slices", where=arrays.where,
            hint="give complex maps (coil, rows, columns)",
        )  # fmt: skip
    return single_precision(np.ascontiguousarray(maps), arrays.where)


def _check_centre(
    kspace: NDArray[np.complex64], positions: NDArray[np.float64], where: Path
) -> None:
    """Reject samples whose energy does not lie in the centre of the trajectory."""
    radius = np.hypot(*positions)
    inner = radius <= INNER * radius.max()
    peak = float(np.abs(kspace).max())
    energy = np.square(np.abs(kspace) / peak).mean(axis=(0, 1), dtype=np.float64)
    if not energy[inner].sum() >= MORE * energy.mean() * max(1, np.count_nonzero(inner)):
        raise MedscoreError(
            "k-space is not largest where the trajectory is near the centre",
            where=where,
            hint="check that samples and positions have the same order, with 0 at the centre",
        )
