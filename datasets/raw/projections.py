"""CT projections: stacks in HDF5 or TIFF with a small geometry file in YAML.

The geometry file, lengths in mm, angles in degrees::

    beam: parallel              # or fan
    size: 512                   # image: pixels per side
    spacing: 0.7                #        and their distance
    views: 180                  # equally spaced, over 180 degrees (fan: 360), the first at 0
    angles: [0, 3, 7.5]         # parallel: instead of views, increasing, less than 180 apart
    detector_spacing: 0.7       # along the arc, if curved
    source_distance: 595        # fan: from the source to the centre of rotation
    detector_distance: 1085     #      and to the detector
    detector_shape: curved      #      or flat
    axes: [slice, view, detector]        # of the array; [view, slice, detector] is usual too
    values: line-integrals      # or transmission (I / I0)
    dataset: exchange/data      # of HDF5, where it holds several
    slice_spacing: 1.0
    mu_water: 0.01929           # 1/mm, ties HU to attenuation

Conventions of angles and detectors are those of ``medscore.operators.ct.geometry``.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medscore.datasets.probe import look
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.hounsfield import MU_WATER
from medscore.io.hdf5 import INFLATES, array


class ScanGeometry(BaseModel):
    """What the geometry file says; see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beam: Literal["parallel", "fan"]
    size: int = Field(ge=8, le=8192)
    spacing: float = Field(gt=0, le=100)
    views: int | None = Field(default=None, ge=1, le=100_000)
    angles: tuple[float, ...] | None = None
    detector_spacing: float = Field(gt=0, le=100)
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
            raise ValueError("give views or angles, one of them")
        if self.angles is not None and self.beam == "fan":
            raise ValueError("a fan beam's views are equally spaced: give views")
        if self.beam == "fan" and None in (self.source_distance, self.detector_distance):
            raise ValueError("a fan beam needs source_distance and detector_distance")
        if sorted(self.axes) != ["detector", "slice", "view"]:
            raise ValueError("axes must be slice, view and detector in some order")
        return self

    @property
    def count(self) -> int:
        """Views."""
        return len(self.angles) if self.angles is not None else int(self.views or 0)


@dataclass(frozen=True)
class Projections:
    """Line integrals (slices, views, detectors) float32, and where they run."""

    data: NDArray[np.float32]
    geometry: ScanGeometry
    source: Source


def read_geometry(path: str | Path) -> ScanGeometry:
    """The geometry file.

    Raises:
        MedscoreError: no YAML, a field that is missing, unknown or out of range.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MedscoreError(
            "is no YAML that can be read", where=path, hint="see docs/measurement.md"
        ) from error
    return checked_geometry(content, path, hint="see docs/measurement.md")


def checked_geometry(content: Any, where: str | Path, *, hint: str) -> ScanGeometry:
    """The geometry of these fields.

    Raises:
        MedscoreError: a field that is missing, unknown or out of range.
    """
    try:
        return ScanGeometry.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise MedscoreError(
            f"{field + ': ' if field else ''}{first['msg']}", where=where, hint=hint
        ) from None


def read_projections(path: Path, geometry: ScanGeometry) -> Projections:
    """A stack of projections; two axes are one slice.

    Raises:
        MedscoreError: neither HDF5 nor TIFF, several arrays and none named, other shapes than the
            geometry says, or values that are none.
    """
    data = _tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _hdf5(path, geometry)
    if data.ndim == 2:
        place = geometry.axes.index("slice")
        data = np.expand_dims(data, place)
    if data.ndim != 3:
        raise MedscoreError(f"has shape {data.shape}", where=path, hint="give a stack of 3 axes")
    order = [geometry.axes.index(name) for name in ("slice", "view", "detector")]
    data = np.ascontiguousarray(data.transpose(order), dtype=np.float32)
    if data.shape[1] != geometry.count:
        raise MedscoreError(
            f"there are {data.shape[1]} views, the geometry has {geometry.count}",
            where=path,
            hint="correct views, angles or axes in the geometry file",
        )
    if geometry.values == "transmission":
        data = _logarithm(data, path)
    if not data.size or not np.isfinite(data).all() or not data.any():
        raise MedscoreError("holds NaN, infinity, or nothing", where=path, hint="export it again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Projections(data, geometry, Source("projections", digest))


def _logarithm(data: NDArray[np.float32], where: Path) -> NDArray[np.float32]:
    if not bool((data > 0).all()):
        raise MedscoreError(
            f"{int((~(data > 0)).sum())} transmissions are not above 0",
            where=where,
            hint="correct for the dark field, or replace them",
        )
    made: NDArray[np.float32] = -np.log(data)
    return made


def _tiff(path: Path) -> NDArray[Any]:
    with reading("TIFF", path), tifffile.TiffFile(path) as file:
        series = file.series[0]
        declared = math.prod(series.shape) * series.dtype.itemsize
        if declared > INFLATES * path.stat().st_size:
            raise ValueError(f"declares {declared / 2**30:.2g} GiB that it does not hold")
        values: NDArray[Any] = series.asarray()
    if values.dtype.kind not in "iuf":
        raise MedscoreError(f"holds {values.dtype}", where=path, hint="give grey values")
    return values


def _hdf5(path: Path, geometry: ScanGeometry) -> NDArray[Any]:
    look(path)
    with reading("HDF5", path), h5py.File(path, "r") as file:
        name = geometry.dataset or _only(file)
        if name not in file:
            raise MedscoreError(
                f"has no dataset {name!r}", where=path, hint="correct the geometry file"
            )
        return array(file[name], "iuf")


def _only(file: Any) -> str:
    """The one array with 2 or 3 axes."""
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (2, 3):
            found.append(name)

    file.visititems(visit)
    if len(found) != 1:
        raise ValueError(f"{len(found)} arrays, name one as dataset in the geometry file")
    return found[0]
