"""Order and geometry of a stack of DICOM frames, and its irregularities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.dicom.frames import Frame, Vector
from medscore.errors import MedscoreError

EVEN = 0.02
"""Tolerance of the slice distances, as a share of their median."""

UPRIGHT = 0.1
"""Tolerance of the angle in degrees between stack and slice normal; more is gantry tilt."""


@dataclass(frozen=True)
class Stack:
    """Frames in order along the normal of their common plane.

    Attributes:
        frames: frames in order.
        along: (n,) distance of each frame from the first along the normal in mm.
        drift: (n, 2) in-plane shift of each frame against the first, along rows and down columns,
            in mm.
        step: median distance of neighbours in mm; for one frame, that of the header.
    """

    frames: tuple[Frame, ...]
    along: Vector
    drift: Vector
    step: float

    @property
    def even(self) -> bool:
        """True if distances and shifts of neighbours are equal, as an affine requires."""
        gaps = np.diff(np.column_stack([self.along, self.drift]), axis=0)
        return len(gaps) == 0 or bool(np.ptp(gaps, axis=0).max() <= EVEN * self.step)

    @property
    def tilt(self) -> float:
        """Angle between stack and slice normal in degrees."""
        lean = np.linalg.norm(self.drift[-1]) if len(self.drift) > 1 else 0.0
        return float(np.degrees(np.arctan2(lean, self.along[-1]))) if lean else 0.0

    @property
    def affine(self) -> NDArray[np.float64]:
        """Map from voxel (column, row, slice) to RAS mm (DICOM PS3.3 C.7.6.2.1.1, x and y negated);
        for an uneven stack, from its ends.
        """
        first = self.frames[0]
        across = first.normal * self.step
        if len(self.frames) > 1:
            ends = first.normal * self.along[-1] + self.drift[-1] @ first.cosines
            across = ends / (len(self.frames) - 1)
        return affine_of(first, across)

    def faults(self) -> list[str]:
        """Irregularities that a user should know of, one line each."""
        found = []
        gaps = np.diff(self.along)
        if len(gaps) and np.ptp(gaps) > EVEN * self.step:
            whole = np.rint(gaps / self.step)
            if (whole >= 1).all() and np.abs(gaps - whole * self.step).max() <= EVEN * self.step:
                missing = int((whole - 1).sum())
                places = ", ".join(f"{self.along[i]:g}" for i in np.flatnonzero(whole > 1)[:3])
                found.append(f"missing slices: {missing}, after {places} mm")
            else:
                found.append(f"slices are {gaps.min():g} to {gaps.max():g} mm apart")
        if self.tilt > UPRIGHT:
            found.append(f"the gantry was tilted by {self.tilt:.1f} degrees")
        return found


def stack(frames: Sequence[Frame], where: Path) -> Stack:
    """Sort frames along their normal.

    Args:
        frames: frames of one series.
        where: file or folder to name in errors.

    Raises:
        MedscoreError: frames differ in orientation or pixel spacing, lack a position, or coincide.
    """
    first = frames[0]
    for frame in frames:
        if np.abs(frame.cosines - first.cosines).max() > 1e-3:
            raise _differ("ImageOrientationPatient", frame, first, where)
        if not np.allclose(frame.spacing, first.spacing, rtol=1e-4):
            raise _differ("PixelSpacing", frame, first, where)
    if len(frames) == 1:
        return Stack((first,), np.zeros(1), np.zeros((1, 2)), first.step)
    positions = np.array([_position(frame) for frame in frames])
    order = np.argsort(positions @ first.normal, kind="stable")
    offsets = positions[order] - positions[order[0]]
    along = offsets @ first.normal
    gaps = np.diff(along)
    if gaps.min() < 1e-3:
        at = int(gaps.argmin())
        names = " and ".join(frames[order[i]].path.name for i in (at, at + 1))
        raise MedscoreError(
            f"two slices have the same position: {names}",
            where=where,
            hint="remove one, or export a single echo or phase",
        )
    ordered = tuple(frames[i] for i in order)
    return Stack(ordered, along, offsets @ first.cosines.T, float(np.median(gaps)))


def affine_of(first: Frame, across: Vector) -> NDArray[np.float64]:
    """Affine (4, 4), voxel to RAS mm, of a stack.

    Args:
        first: first frame.
        across: (3,) vector from a slice to the next in LPS mm.
    """
    row_mm, column_mm = first.spacing
    affine = np.eye(4)
    affine[:3, 0] = first.cosines[0] * column_mm
    affine[:3, 1] = first.cosines[1] * row_mm
    affine[:3, 2] = across
    affine[:3, 3] = (0, 0, 0) if first.position is None else first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _position(frame: Frame) -> Vector:
    if frame.position is None:
        raise MedscoreError(
            "has no ImagePositionPatient", where=frame.path, hint="use the slices one by one"
        )
    return frame.position


def _differ(what: str, one: Frame, other: Frame, where: Path) -> MedscoreError:
    pair = {
        "PixelSpacing": (one.spacing, other.spacing),
        "ImageOrientationPatient": tuple(
            [round(float(v), 3) for v in f.cosines.ravel()] for f in (one, other)
        ),
    }[what]
    return MedscoreError(
        f"slices differ in {what}: {pair[0]} and {pair[1]}",
        where=where,
        hint="leave out the scout image, or put one series in a folder",
    )
