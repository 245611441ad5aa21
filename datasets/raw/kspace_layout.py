"""What an array of k-space does not state: its axes, pixel spacing, reference lines, coil maps.

It comes from a small YAML file, or a mapping::

    array: kspace                          # name in the file, where it holds several arrays
    axes: [readout, phase, coil]           # order of the array
    spacing: [1.3, 1.0]                    # mm between columns and between rows of the image
    slice_spacing: 4.0
    readout_oversampling: 2                # sampled over intended field of view of the readout
    reference: refscan                     # array of lines of the centre, with the same axes
    sensitivities: maps.cfl                # coil maps of a BART file instead of estimates
    trajectory: trajectory                 # array of positions in k-space, if it is not on a grid
    trajectory_unit: cycles-per-fov        # or radians-per-pixel, cycles-per-pixel
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medscore.datasets.raw.scan_geometry import check_keys
from medscore.errors import MedscoreError
from medscore.io.specs import faults

USUAL = ("slice", "coil", "readout", "phase")
"""Order of an array of four axes whose axes are not stated; shorter ones lack the first."""

TrajectoryUnit = Literal["radians-per-pixel", "cycles-per-pixel", "cycles-per-fov"]
"""Units of positions in k-space."""

AXES = (*USUAL, "partition", "average")
"""All names of axes."""


class KspaceLayout(BaseModel):
    """How an array of k-space is to be read.

    Attributes:
        array: name of the array in the file; by default the only complex one.
        axes: names of its axes in their order; by default the last ones of ``USUAL``.
        spacing: distance between columns and between rows of the image in mm.
        slice_spacing: distance between slices in mm; by default that between columns.
        readout_oversampling: sampled over intended field of view along the readout.
        reference: name of an array of reference lines around the centre of k-space.
        sensitivities: BART file of coil sensitivities on the grid of the image; of k-space along a
            trajectory, the name of an array.
        trajectory: name of an array of positions in k-space, kx before ky.
        trajectory_unit: their unit: "radians-per-pixel" (-pi to pi), "cycles-per-pixel" (-0.5 to
            0.5) or "cycles-per-fov" (minus to plus half the matrix).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    array: str | None = None
    axes: tuple[str, ...] | None = None
    spacing: tuple[float, float] | None = None
    slice_spacing: float | None = Field(default=None, gt=0, le=1000)
    readout_oversampling: float = Field(default=1.0, ge=1, le=16)
    reference: str | None = None
    sensitivities: str | None = None
    trajectory: str | None = None
    trajectory_unit: TrajectoryUnit | None = None

    @model_validator(mode="after")
    def _whole(self) -> KspaceLayout:
        for name in self.axes or ():
            if name in ("kx", "ky", "x", "y"):
                raise ValueError(f"axes names {name}: say which one is the readout, and the phase")
            if name not in AXES:
                raise ValueError(f"axes names {name[:40]}: use some of {', '.join(AXES)}")
        if self.axes is not None and (
            len(set(self.axes)) < len(self.axes) or not {"readout", "phase"} <= set(self.axes)
        ):
            raise ValueError("axes must name readout and phase, and each axis once")
        if self.trajectory is None and self.trajectory_unit is not None:
            raise ValueError("trajectory_unit needs trajectory, the name of its array")
        if self.spacing is not None and not all(0.01 <= mm <= 100 for mm in self.spacing):
            raise ValueError("spacing must be two numbers from 0.01 to 100 mm")
        return self

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance between columns, rows and slices in mm; ``None`` where it is not stated."""
        if self.spacing is None:
            return None
        return (*self.spacing, self.slice_spacing or self.spacing[0])


def checked_layout(content: Mapping[str, Any] | None, where: str | Path) -> KspaceLayout:
    """Validate the fields of a layout.

    Args:
        content: fields by name; a single number as ``spacing`` counts for columns and rows.
        where: file to name in the error.

    Raises:
        MedscoreError: a field is unknown or out of range.
    """
    fields = dict(content or {})
    check_keys(fields, tuple(KspaceLayout.model_fields), where)
    if isinstance(fields.get("spacing"), int | float):
        fields["spacing"] = (fields["spacing"], fields["spacing"])
    try:
        return KspaceLayout.model_validate(fields)
    except ValidationError as error:
        raise MedscoreError(
            faults(error, KspaceLayout), where=where, hint="see docs/measurement.md"
        ) from None
