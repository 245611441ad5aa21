"""What a measurement holds, and the check that it is consistent, in memory and in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from medscore.datasets.dicom.uids import is_valid
from medscore.datasets.volume import AXES, POSITIONS, Source
from medscore.datasets.voxel_grid import grid_fault
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import VoxelGrid
from medscore.operators.ct.radon import Radon
from medscore.operators.linear import LinearOperator
from medscore.operators.wrappers.padded import Padded

LARGEST = 1e6
"""Largest line integral that a scan can have; a metre of lead has some 10^4."""

ATTENUATION, HU, MAGNITUDE = "1/mm", "HU", "magnitude"
IMAGE_UNITS = {ATTENUATION: "CT", HU: "CT", MAGNITUDE: "MR"}
"""Unit of the images that operators act on, and the modality that has it."""

VOLUME_AXES = 4
"""Number of axes (channel, Z, Y, X) of the images of operators on volumes."""

Fault = Callable[[str], MedscoreError]
"""The error for a fault, with the place and the hint of the one who checks."""


@dataclass(frozen=True)
class Measurement:
    """A simulated or imported measurement.

    A scan of separate slices has data for each of them. A scan of a whole volume, such as one with
    a cone beam, has one item of data, and an operator on volumes (1, Z, Y, X).

    Attributes:
        data: (slices, channel or coil, *operator.grid_shape) float32 or complex64, zero where
            nothing was measured; (1, 1, views, rows, columns) of a cone-beam scan.
        operator: measurement operator on images, or volumes, in ``image_unit``.
        task: name of the task, such as "sparse-ct" or "mri-multicoil".
        modality: "CT" or "MR".
        image_unit: "1/mm" (attenuation), "HU" or "magnitude".
        mu_water: attenuation of water in 1/mm, which ties HU to 1/mm; ``None`` for MR.
        noise: "none", "gaussian:STD", "poisson:PHOTONS", "poisson:PHOTONS,ELECTRONIC",
            "estimate", "estimate:uniform", alone or with a model after a plus sign, or
            "unknown".
        affine: (4, 4) map from voxel (column, row, slice) to RAS mm, of the image to reconstruct.
        source: provenance of the image or raw data.
        file_sha256: hash of the measurement file that it was read from, else empty.
        metal: HU (slices, H, W) of the scanner's own image in metal implants whose rays are left
            out, NaN elsewhere; ``None`` without implants.
    """

    data: NDArray[np.float32] | NDArray[np.complex64]
    operator: Operator
    task: str
    modality: str
    image_unit: str
    mu_water: float | None
    noise: str
    affine: NDArray[np.float64]
    source: Source
    file_sha256: str = ""
    metal: NDArray[np.float32] | None = None

    @property
    def whole(self) -> bool:
        """True if the scan is one of a whole volume, and not of separate slices."""
        return len(self.operator.image_shape) == VOLUME_AXES

    @property
    def slices(self) -> int:
        """Number of slices of the image."""
        return self.operator.image_shape[-3] if self.whole else len(self.data)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        rows, columns = self.operator.image_shape[-2:]
        return rows, columns

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance between columns and between rows of the image in mm."""
        column, row = np.linalg.norm(self.affine[:3, :2], axis=0)
        return float(column), float(row)

    @property
    def metal_mask(self) -> NDArray[np.bool_] | None:
        """The pixels (slices, H, W) of metal implants; ``None`` without implants."""
        return None if self.metal is None else ~np.isnan(self.metal)


def parts(operator: Operator) -> Iterator[Operator]:
    """An operator and all operators that it is composed of.

    Args:
        operator: an operator, such as a multiple or a sum of others.
    """
    yield operator
    for value in vars(operator).values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            if isinstance(inner, Operator):
                yield from parts(inner)


def pixel_of(operator: Operator) -> float | None:
    """Pixel spacing in mm that the line integrals of an operator assume; ``None`` without them.

    Args:
        operator: the operator of a measurement.
    """
    if (grid := voxels_of(operator)) is not None:
        return grid.spacing[2]
    size = operator.image_shape[-2:]
    for part in parts(operator):
        if isinstance(part, Padded) and part.image_shape[-2:] == size:
            size = part.inner.image_shape[-2:]
        if isinstance(part, Radon) and part.image_shape == size:
            return float(part.geometry.spacing)
    return None


def voxels_of(operator: Operator) -> VoxelGrid | None:
    """The voxels of a cone-beam scan; ``None`` of other operators.

    Args:
        operator: the operator of a measurement.
    """
    shape = operator.image_shape
    found = (p.geometry.grid for p in parts(operator) if isinstance(p, ConeBeam))
    return next((grid for grid in found if (1, *grid.shape) == shape), None)


def check_measurement(m: Measurement, fault: Fault) -> None:
    """Check that data, operator, unit and geometry fit each other.

    Args:
        m: the measurement.
        fault: makes the error from the description of the fault.

    Raises:
        MedscoreError: any fault.
    """
    _check_unit(m, fault)
    if m.data.size == 0 or m.data.ndim < 2:
        raise fault(f"data have shape {m.data.shape}, expected (slices, channel, y, x)")
    if m.whole and len(m.data) != 1:
        raise fault(f"data of {len(m.data)} volumes, expected one")
    _check_data(m, fault)
    if not _of_a_kind(m):
        raise fault(
            f"data are {m.data.dtype} of shape {m.data.shape}, which {m.operator} does not measure"
        )
    _check_affine(m, fault)
    if m.source.position not in ("", *POSITIONS):
        raise fault(f"geometry@position is {m.source.position[:20]!r}, which is no position")
    if m.source.axes and "".join(sorted(m.source.axes)) not in {"".join(sorted(a)) for a in AXES}:
        raise fault(f"geometry@axes is {m.source.axes[:20]!r}, which is no order of axes")
    _check_metal(m, fault)
    for name, uid in m.source.uids.items():
        if not is_valid(uid):
            raise fault(f"geometry/uids/{name} is {uid[:70]!r}, which is not a DICOM UID")
    for uid in m.source.instances:
        if uid and not is_valid(uid):
            raise fault(f"geometry/instances holds {uid[:70]!r}, which is not a DICOM UID")
    if m.mu_water is not None and not 0.01 < m.mu_water < 0.05:
        raise fault(f"mu_water_per_mm is {m.mu_water:g}, water has 0.015 to 0.03 per mm")


def _check_unit(m: Measurement, fault: Fault) -> None:
    if IMAGE_UNITS.get(m.image_unit) != m.modality:
        raise fault(
            f"image_unit is {m.image_unit!r} of modality {m.modality!r}, expected one of "
            f"{', '.join(f'{unit} ({modality})' for unit, modality in IMAGE_UNITS.items())}"
        )
    if not isinstance(m.operator, Operator):
        raise fault("operator/ holds a part of an operator, not a whole one")
    kinds = {type(part) for part in parts(m.operator)}
    rays, unknown = bool({Radon, ConeBeam} & kinds), LinearOperator in kinds
    if (rays != (m.image_unit == ATTENUATION)) and (rays or not unknown):
        raise fault(f"image_unit is {m.image_unit!r}, which {m.operator} does not measure")
    shape = m.operator.image_shape
    if not 2 <= len(shape) <= VOLUME_AXES or any(n > 2 for n in shape[: -3 if m.whole else -2]):
        raise fault(f"{m.operator} acts on images of shape {shape}, expected one channel")


def _check_affine(m: Measurement, fault: Fault) -> None:
    if m.affine.shape != (4, 4) or not np.isfinite(m.affine).all():
        raise fault("geometry/affine is not a finite 4x4 matrix")
    if tuple(m.affine[3]) != (0, 0, 0, 1):
        raise fault(f"geometry/affine ends in {m.affine[3].tolist()}, not in 0, 0, 0, 1")
    if found := grid_fault(m.affine):
        raise fault(f"geometry/affine: {found[0]}")
    pixel = None if m.whole else pixel_of(m.operator)
    if pixel is not None and not np.allclose(m.spacing, pixel, 2e-3):
        raise fault(f"geometry/affine does not have pixels of {pixel:g} mm")
    if (grid := voxels_of(m.operator)) is not None:
        voxel = np.linalg.norm(m.affine[:3, :3], axis=0)
        if not np.allclose(voxel, grid.spacing[::-1], 2e-3):
            sides = " x ".join(f"{side:g}" for side in grid.spacing[::-1])
            raise fault(f"geometry/affine does not have voxels of {sides} mm")


def _check_metal(m: Measurement, fault: Fault) -> None:
    if m.metal is None:
        return
    if m.modality != "CT":
        raise fault(f"metal holds HU, but the modality is {m.modality}")
    if m.metal.shape != (m.slices, *m.size) or m.metal.dtype != np.float32:
        raise fault(
            f"metal is {m.metal.dtype} of shape {m.metal.shape}, expected float32 of shape "
            f"{(m.slices, *m.size)}"
        )
    if np.isinf(m.metal).any():
        raise fault("metal holds infinity")
    if np.isnan(m.metal).all():
        raise fault("metal is NaN in every pixel: there is none")


def _check_data(m: Measurement, fault: Fault) -> None:
    """Slice by slice, so that no copy of all data is made."""
    for what, slices in _of_slices(m.operator):
        if slices != len(m.data):
            raise fault(f"{what} of {slices} slices do not fit data of {len(m.data)} slices")
    if not bool(m.operator.diagonal.any()):
        raise fault("the mask is zero everywhere: nothing was measured")
    largest = 0.0
    for index, slice_ in enumerate(m.data):
        try:
            m.operator.select([index]).check(torch.from_numpy(slice_)[None])
        except ValueError as error:
            raise fault(str(error)) from error
        largest = max(largest, float(np.abs(slice_).max()))
    if largest == 0:
        raise fault("data are zero everywhere")
    if m.image_unit == ATTENUATION and largest > LARGEST:
        raise fault(f"data reach {largest:g}, which no line integral does")


def _of_slices(operator: Operator) -> Iterator[tuple[str, int]]:
    """What differs between slices in an operator and its parts, and for how many slices."""
    for part in parts(operator):
        grid = len(part.grid_shape)
        axes = {
            "diagonal": ("masks", grid), "sensitivity": ("coil sensitivities", 3),
            "phase": ("phases", 2), "std": ("standard deviations", grid),
        }  # fmt: skip
        for name, (what, shared) in axes.items():
            value = getattr(part, name, None)
            if isinstance(value, torch.Tensor) and value.ndim > shared and len(value) > 1:
                yield what, len(value)


def _of_a_kind(m: Measurement) -> bool:
    """True if the data are real or complex as the operator requires."""
    if isinstance(m.operator, Radon | ConeBeam):  # the test below takes a second and more
        return m.data.dtype.kind == "f" and m.data.ndim == (5 if m.whole else 4)
    operator, first = m.operator.select([0]), torch.from_numpy(m.data[:1])
    try:
        again = operator.forward(operator.adjoint(first))
    except (RuntimeError, ValueError, TypeError):
        return False
    return again.dtype == first.dtype and again.shape == first.shape
