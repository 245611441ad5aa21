"""The geometry of CT projections that a file does not state: a small YAML file, or a mapping.

Lengths are in mm, and angles in degrees unless ``angle_unit`` is radians::

    beam: parallel              # or fan
    size: 512                   # pixels per side of the image; by default one for each detector
    spacing: 0.7                # pixel spacing; by default the field of view over `size`
    views: 180                  # equally spaced over 180 degrees (fan: 360), the first at 0
    first_angle: 0              # with views: the angle of the first view ...
    last_angle: 360             # ... and of the last one
    angles: [0, 3, 7.5]         # instead of views, in the order of the views in the file,
                                # or the name of an array in the file, such as exchange/theta
    angle_unit: degrees         # or radians
    rotation: anticlockwise     # or clockwise: sense in which the angles increase
    detector_spacing: 0.7       # along the arc if the detector is curved
    centre_of_rotation: 255.5   # detector, from 0, onto which the axis of rotation is projected
    detector_offset: 0.0        # or: the middle of the detector on its axis
    source_distance: 595        # fan: from the source to the centre of rotation
    detector_distance: 1085     # fan: from the source to the detector
    detector_shape: curved      # fan: curved or flat
    axes: [slice, view, detector]        # order of the array; found from the number of views
    values: line-integrals      # or transmission (I / I0), or counts with flat and dark
    flat: 53000                 # counts without an object: a number, or the name of an array
    dark: 100                   # counts without radiation, likewise
    scale: 0.001                # factor on line integrals that were stored in another unit
    array: exchange/data        # name in the file, where it holds several arrays
    slice_spacing: 1.0
    mu_water: 0.01929           # attenuation of water in 1/mm, which ties HU to attenuation

The conventions of angles and detectors are those of ``medscore.operators.ct.geometry``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medscore.datasets.raw.angles import check_angles
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER
from medscore.io.specs import faults, listed, nearest, unknown_key
from medscore.io.yaml_files import read_yaml

AXES = ("slice", "view", "detector")

SPELLINGS = {
    "center_of_rotation": "centre_of_rotation", "center": "centre_of_rotation",
    "source_origin_distance": "source_distance", "dso": "source_distance",
    "source_detector_distance": "detector_distance", "dsd": "detector_distance",
    "pixel_size": "spacing", "voxel_size": "spacing", "detector_pixel_size": "detector_spacing",
    "pitch": "detector_spacing", "theta": "angles", "theta_unit": "angle_unit",
    "angle_units": "angle_unit", "units": "angle_unit", "geometry": "beam", "white": "flat",
    "data_white": "flat", "data_dark": "dark", "variable": "array", "key": "array",
    "unit": "values", "direction": "rotation", "slice_thickness": "slice_spacing",
}  # fmt: skip
"""Other names for keys, which a message answers with ours."""


class ScanGeometry(BaseModel):
    """Content of the geometry file; lengths in mm.

    Attributes:
        beam: "parallel" or "fan".
        size: pixels per side of the image; by default see :meth:`grid`.
        spacing: pixel spacing of the image; by default see :meth:`grid`.
        views: number of equally spaced views over 180 degrees (fan: 360), the first at 0.
        first_angle: angle of the first of the ``views``, where ``last_angle`` is given.
        last_angle: angle of the last of the ``views``.
        angles: angle of each view, in any order, instead of ``views``, or the name of the array in
            the file that holds them.
        angle_unit: "degrees" or "radians"; degrees by default, and lists that look like radians are
            then refused.
        rotation: sense in which angles increase, seen with x to the right and y upwards.
        detector_spacing: distance between detectors, along the arc if the detector is curved.
        centre_of_rotation: detector onto which the axis of rotation is projected, counted from 0,
            with fractions; by default the middle, (detectors - 1) / 2.
        detector_offset: position of the middle of the detector on the detector axis (along the arc
            if it is curved), instead of ``centre_of_rotation``.
        source_distance: distance from the source to the centre of rotation (fan).
        detector_distance: distance from the source to the detector (fan).
        detector_shape: "flat" or "curved" (fan).
        axes: order of the array's axes; by default found from the number of views.
        values: "line-integrals" (the default), "transmission" (I / I0) or "counts".
        flat: counts without an object, of all detectors or as an array of the file.
        dark: counts without radiation, likewise.
        scale: factor by which line integrals are multiplied.
        array: name of the array in the file; by default its only one.
        dataset: another name for ``array``.
        slice_spacing: distance between slices.
        mu_water: attenuation of water in 1/mm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    beam: Literal["parallel", "fan"]
    size: int | None = Field(default=None, ge=8, le=8192)
    spacing: float | None = Field(default=None, gt=0, le=100)
    views: int | None = Field(default=None, ge=1, le=100_000)
    first_angle: float | None = Field(default=None, ge=-36_000, le=36_000)
    last_angle: float | None = Field(default=None, ge=-36_000, le=36_000)
    angles: tuple[float, ...] | str | None = None
    angle_unit: Literal["degrees", "radians"] | None = None
    rotation: Literal["anticlockwise", "clockwise"] = "anticlockwise"
    detector_spacing: float = Field(gt=0, le=100)
    centre_of_rotation: float | None = Field(default=None, allow_inf_nan=False)
    detector_offset: float | None = Field(default=None, allow_inf_nan=False)
    source_distance: float | None = Field(default=None, gt=0)
    detector_distance: float | None = Field(default=None, gt=0)
    detector_shape: Literal["flat", "curved"] = "flat"
    axes: tuple[str, ...] | None = None
    values: Literal["line-integrals", "transmission", "counts"] | None = None
    flat: float | str | None = None
    dark: float | str | None = None
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    array: str | None = None
    dataset: str | None = None
    slice_spacing: float = Field(default=1.0, gt=0, le=1000)
    mu_water: float = Field(default=MU_WATER, gt=0.01, lt=0.05)

    @model_validator(mode="after")
    def _whole(self) -> ScanGeometry:
        if self.views is not None and self.angles is not None:
            raise ValueError("set either views or angles")
        if isinstance(self.angles, tuple):
            check_angles(self.angles, self.angle_unit)
        if (self.first_angle is None) != (self.last_angle is None):
            raise ValueError("first_angle and last_angle go together")
        if self.first_angle is not None and self.views is None:
            raise ValueError("first_angle and last_angle go with views")
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
        if self.axes is not None and set(self.axes) not in (set(AXES), set(AXES[1:])):
            raise ValueError("axes must be slice, view and detector in some order")
        if self.array is not None and self.dataset is not None:
            raise ValueError("array and dataset are the same: set one of them")
        if (self.flat is not None or self.dark is not None) and self.values in (
            "line-integrals",
            "transmission",
        ):
            raise ValueError("flat and dark belong to values: counts")
        return self

    @property
    def count(self) -> int:
        """Number of views; 0 where only the file states it."""
        return len(self.angles) if isinstance(self.angles, tuple) else int(self.views or 0)

    @property
    def degrees(self) -> tuple[float, ...] | None:
        """Anticlockwise angle of each view in degrees; ``None`` for plain equally spaced views."""
        unit = 180 / math.pi if self.angle_unit == "radians" else 1.0
        sense = -unit if self.rotation == "clockwise" else unit
        if isinstance(self.angles, tuple):
            return tuple(sense * a for a in self.angles)
        if self.first_angle is not None and self.last_angle is not None:
            placed = np.linspace(self.first_angle, self.last_angle, self.count)
            return tuple(sense * float(a) for a in placed)
        if self.rotation == "clockwise":
            arc = 360 if self.beam == "fan" else 180
            return tuple(-arc * k / self.count for k in range(self.count))
        return None

    def offset(self, detectors: int) -> float:
        """Position in mm of the middle of the detector on the detector axis.

        Args:
            detectors: number of detectors.
        """
        if self.centre_of_rotation is None:
            return self.detector_offset or 0.0
        return ((detectors - 1) / 2 - self.centre_of_rotation) * self.detector_spacing

    def grid(self, detectors: int) -> tuple[int, float]:
        """Pixels per side of the image and their spacing in mm.

        By default the image is as wide as the detector at the axis of rotation, and has a pixel for
        each detector. Where the detector is displaced by an eighth of its width or more, both sides
        of the axis get what the longer one sees.

        Args:
            detectors: number of detectors.
        """
        pitch = self.detector_spacing * (self.source_distance or 1) / (self.detector_distance or 1)
        offset = abs(self.offset(detectors)) * pitch / self.detector_spacing
        width = detectors * pitch
        width += 2 * offset if offset >= width / 8 else 0
        if self.size is not None:
            return self.size, self.spacing or width / self.size
        spacing = self.spacing or pitch
        return min(8192, max(8, math.ceil(width / spacing - 1e-6))), spacing


def read_geometry(path: str | Path) -> dict[str, Any]:
    """Read the fields of a geometry file.

    Args:
        path: YAML file.

    Raises:
        MedscoreError: it is not YAML, or no mapping.
    """
    content = read_yaml(path, like="docs/measurement.md", what="geometry file")
    if not isinstance(content, Mapping):
        raise MedscoreError(
            f"holds {type(content).__name__}, expected fields such as beam: parallel",
            where=path, hint="see docs/measurement.md",
        )  # fmt: skip
    return dict(content)


def checked_geometry(content: Any, where: str | Path, *, hint: str) -> ScanGeometry:
    """Validate the fields of a geometry.

    Args:
        content: fields by name.
        where: file to name in the error.
        hint: hint of the error.

    Raises:
        MedscoreError: a field is missing, unknown or out of range.
    """
    check_keys(content, tuple(ScanGeometry.model_fields), where)
    try:
        return ScanGeometry.model_validate(content)
    except ValidationError as error:
        raise MedscoreError(faults(error, ScanGeometry), where=where, hint=hint) from None


def check_keys(content: Any, known: tuple[str, ...], where: str | Path) -> None:
    """Reject unknown keys, each with the nearest known one as advice.

    Args:
        content: fields by name.
        known: names of the fields.
        where: file to name in the error.

    Raises:
        MedscoreError: there is an unknown key.
    """
    unknown = [key for key in content if key not in known] if isinstance(content, Mapping) else []
    if unknown:
        told = listed([unknown_key(str(k), nearest(str(k), known, SPELLINGS)) for k in unknown])
        raise MedscoreError(told, where=where, hint=f"use some of: {', '.join(known)}")
