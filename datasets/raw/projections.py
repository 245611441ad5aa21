"""CT projections: stacks in HDF5 or TIFF with a small geometry file in YAML.

The geometry file, lengths in mm, angles in degrees::

    beam: parallel              # or fan
    size: 512                   # pixels per side of the image
    spacing: 0.7                # pixel spacing of the image
    views: 180                  # equally spaced over 180 degrees (fan: 360), the first at 0
    angles: [0, 3, 7.5]         # instead of views, in the order of the views in the file
    detector_spacing: 0.7       # along the arc if the detector is curved
    centre_of_rotation: 255.5   # detector, from 0, onto which the axis of rotation is projected
    detector_offset: 0.0        # or: the middle of the detector on its axis
    source_distance: 595        # fan: from the source to the centre of rotation
    detector_distance: 1085     # fan: from the source to the detector
    detector_shape: curved      # fan: curved or flat
    axes: [slice, view, detector]        # order of the array; [view, slice, detector] is common too
    values: line-integrals      # or transmission (I / I0)
    dataset: exchange/data      # name in the HDF5 file, where it holds several arrays
    slice_spacing: 1.0
    mu_water: 0.01929           # attenuation of water in 1/mm, which ties HU to attenuation

The conventions of angles and detectors are those of ``medscore.operators.ct.geometry``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medscore.datasets.raw.units import check_unit
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.hounsfield import MU_WATER
from medscore.io.budget import check_memory
from medscore.io.hdf5 import INFLATES, array, member, open_hdf5
from medscore.io.opening import file_sha256, regular_file
from medscore.io.specs import faults
from medscore.io.yaml_files import read_yaml


class ScanGeometry(BaseModel):
    """Content of the geometry file; lengths in mm, angles in degrees.

    Attributes:
        beam: "parallel" or "fan".
        size: pixels per side of the image.
        spacing: pixel spacing of the image.
        views: number of equally spaced views over 180 degrees (fan: 360), the first at 0.
        angles: angle of each view, in any order, instead of ``views``.
        detector_spacing: distance between detectors, along the arc if the detector is curved.
        centre_of_rotation: detector onto which the axis of rotation is projected, counted from 0,
            with fractions; by default the middle, (detectors - 1) / 2.
        detector_offset: position of the middle of the detector on the detector axis (along the arc
            if it is curved), instead of ``centre_of_rotation``.
        source_distance: distance from the source to the centre of rotation (fan).
        detector_distance: distance from the source to the detector (fan).
        detector_shape: "flat" or "curved" (fan).
        axes: order of the array's axes.
        values: "line-integrals" or "transmission" (I / I0).
        dataset: name of the array in an HDF5 file; by default its only one.
        slice_spacing: distance between slices.
        mu_water: attenuation of water in 1/mm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    beam: Literal["parallel", "fan"]
    size: int = Field(ge=8, le=8192)
    spacing: float = Field(gt=0, le=100)
    views: int | None = Field(default=None, ge=1, le=100_000)
    angles: tuple[float, ...] | None = None
    detector_spacing: float = Field(gt=0, le=100)
    centre_of_rotation: float | None = Field(default=None, allow_inf_nan=False)
    detector_offset: float | None = Field(default=None, allow_inf_nan=False)
    source_distance: float | None = Field(default=None, gt=0)
    detector_distance: float | None = Field(default=None, gt=0)
    detector_shape: Literal["flat", "curved"] = "flat"
    axes: tuple[str, str, str] = ("slice", "view", "detector")
    values: Literal["line-integrals", "transmission"] = "line-integrals"
    dataset: str | None = None
    slice_spacing: float = Field(default=1.0, gt=0)
    mu_water: float = Field(default=MU_WATER, gt=0.01, lt=0.05)

    @model_validator(mode="after")
    def _whole(self) -> ScanGeometry:
        if (self.views is None) == (self.angles is None):
            raise ValueError("set either views or angles")
        if self.angles is not None:
            check_degrees(self.angles)
        if self.centre_of_rotation is not None and self.detector_offset is not None:
            raise ValueError("set either centre_of_rotation or detector_offset")
        if self.beam == "fan" and None in (self.source_distance, self.detector_distance):
            raise ValueError("a fan beam requires source_distance and detector_distance")
        if self.beam == "parallel" and (self.source_distance or self.detector_distance):
            raise ValueError("source_distance and detector_distance are those of a fan beam")
        if (self.detector_distance or math.inf) < (self.source_distance or 0):
            raise ValueError(
                f"detector_distance is {self.detector_distance:g}, less than source_distance: it "
                "counts from the source, not from the centre of rotation"
            )
        if sorted(self.axes) != ["detector", "slice", "view"]:
            raise ValueError("axes must be slice, view and detector in some order")
        return self

    @property
    def count(self) -> int:
        """Number of views."""
        return len(self.angles) if self.angles is not None else int(self.views or 0)

    def offset(self, detectors: int) -> float:
        """Position in mm of the middle of the detector on the detector axis.

        Args:
            detectors: number of detectors.
        """
        if self.centre_of_rotation is None:
            return self.detector_offset or 0.0
        return ((detectors - 1) / 2 - self.centre_of_rotation) * self.detector_spacing


def check_degrees(angles: tuple[float, ...]) -> None:
    """Reject lists that are no angles in degrees.

    Args:
        angles: the list of a geometry file.

    Raises:
        ValueError: it is empty, not finite, reaches beyond 100 turns, or looks like radians: eight
            views or more that span between 0.5 and 2 pi, or up to four turns of 2 pi each.
    """
    if not angles or not all(abs(a) <= 36_000 for a in angles):
        raise ValueError("angles must be a list of degrees, at least one")
    low, high = min(angles), max(angles)
    span, views = high - low, len(angles)
    halves = np.array([span, span * views / max(views - 1, 1)]) / math.pi
    turns = np.abs(halves - np.rint(halves)).min() < 5e-4 and span <= 8.01 * math.pi
    if views >= 8 and span >= 0.5 and (span <= 6.3 or turns):
        raise ValueError(
            f"angles run from {low:g} to {high:g} degrees: they look like radians, multiply them "
            "by 180 / pi"
        )


@dataclass(frozen=True)
class Projections:
    """Measured line integrals.

    Attributes:
        data: (slices, views, detectors) float32.
        geometry: geometry of the scan and of the image.
        source: hash and notes, without identity.
    """

    data: NDArray[np.float32]
    geometry: ScanGeometry
    source: Source


def read_geometry(path: str | Path) -> ScanGeometry:
    """Read a geometry file.

    Args:
        path: YAML file.

    Raises:
        MedscoreError: it is not YAML, or a field is missing, unknown or out of range.
    """
    content = read_yaml(path, like="docs/measurement.md", what="geometry file")
    return checked_geometry(content, path, hint="see docs/measurement.md")


def checked_geometry(content: Any, where: str | Path, *, hint: str) -> ScanGeometry:
    """Validate the fields of a geometry.

    Args:
        content: fields by name.
        where: file to name in the error.
        hint: hint of the error.

    Raises:
        MedscoreError: a field is missing, unknown or out of range.
    """
    try:
        return ScanGeometry.model_validate(content)
    except ValidationError as error:
        raise MedscoreError(faults(error, ScanGeometry), where=where, hint=hint) from None


def read_projections(path: str | Path, geometry: ScanGeometry) -> Projections:
    """Read a stack of projections; an array with two axes is one slice.

    Args:
        path: HDF5 or TIFF file.
        geometry: geometry of the scan.

    Raises:
        MedscoreError: the file is neither HDF5 nor TIFF, holds several arrays without a name in the
            geometry, contradicts the geometry, or holds invalid values.
    """
    path = regular_file(path)
    data = _tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _hdf5(path, geometry)
    if data.ndim == 2:
        place = geometry.axes.index("slice")
        data = np.expand_dims(data, place)
    if data.ndim != 3:
        raise MedscoreError(f"has shape {data.shape}", where=path, hint="use a stack of 3 axes")
    order = [geometry.axes.index(name) for name in ("slice", "view", "detector")]
    data = np.ascontiguousarray(data.transpose(order), dtype=np.float32)
    if data.shape[1] != geometry.count:
        raise MedscoreError(
            f"there are {data.shape[1]} views, the geometry has {geometry.count}",
            where=path,
            hint="correct views, angles or axes in the geometry file",
        )
    if not data.size or not np.isfinite(data).all() or not data.any():
        raise MedscoreError("holds NaN, infinity, or nothing", where=path, hint="export it again")
    check_unit(data, geometry.values, path)
    if geometry.values == "transmission":
        data = _logarithm(data, path)
    return Projections(data, geometry, Source("projections", file_sha256(path)))


def _logarithm(data: NDArray[np.float32], where: Path) -> NDArray[np.float32]:
    if not bool((data > 0).all()):
        raise MedscoreError(
            f"{int((~(data > 0)).sum())} transmissions are not greater than 0",
            where=where,
            hint="correct for the dark field, replace those values, or set `values` to "
            "line-integrals if they are logarithms",
        )
    made: NDArray[np.float32] = -np.log(data)
    return made


def _tiff(path: Path) -> NDArray[Any]:
    """The stack of a TIFF file; pages that were written one by one are put in their order."""
    with reading("TIFF", path), tifffile.TiffFile(path) as file:
        series = [s for s in file.series if not s.keyframe.is_reduced]
        shapes = list(dict.fromkeys((s.shape, str(s.dtype)) for s in series))
        if len(shapes) != 1 or (len(series) > 1 and len(series[0].shape) != 2):
            raise MedscoreError(
                f"holds {len(series)} images, of {' and '.join(map(_described, shapes[:3]))}",
                where=path,
                hint="save one stack, or pages of one size and type",
            )
        declared = len(series) * math.prod(series[0].shape) * series[0].dtype.itemsize
        if declared > INFLATES * path.stat().st_size:
            raise ValueError(f"declares {declared / 2**30:.2g} GiB that the file does not hold")
        check_memory(4 * len(series) * math.prod(series[0].shape), path, "pixels")
        pages: list[NDArray[Any]] = [s.asarray() for s in series]
    values = pages[0] if len(pages) == 1 else np.stack(pages)
    if values.dtype.kind not in "iuf":
        raise MedscoreError(f"holds {values.dtype}", where=path, hint="use grey values")
    return values


def _described(kind: tuple[tuple[int, ...], str]) -> str:
    shape, dtype = kind
    return f"{' x '.join(map(str, shape))} {dtype}"


def _hdf5(path: Path, geometry: ScanGeometry) -> NDArray[Any]:
    with open_hdf5(path) as file:
        name = geometry.dataset or _only(file)
        try:
            return array(member(file, name), "iuf")
        except KeyError:
            raise MedscoreError(
                f"has no dataset {name!r}", where=path, hint="correct the geometry file"
            ) from None


def _only(file: Any) -> str:
    """Name of the only array with 2 or 3 axes."""
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (2, 3):
            found.append(name)

    file.visititems(visit)
    if len(found) != 1:
        raise ValueError(f"{len(found)} arrays: set dataset in the geometry file")
    return found[0]
