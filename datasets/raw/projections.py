r"""CT projections: stacks in NumPy, MATLAB, HDF5 or TIFF files, with the geometry of the scan.

The order of the axes is stated, or found from the number of views: an array is (view, detector) or
(slice, view, detector), or else (detector, view) or, as in Data Exchange files of TomoPy,
(view, slice, detector). Counts I become transmissions with the flat field
I_0 and the dark field D, and transmissions become line integrals,

.. math:: p = -\ln \frac{I - D}{I_0 - D}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.flat_field import logarithm, transmissions
from medscore.datasets.raw.helsinki import helsinki_geometry
from medscore.datasets.raw.scan_geometry import (
    AXES,
    ScanGeometry,
    check_keys,
    checked_geometry,
    read_geometry,
)
from medscore.datasets.raw.units import check_unit
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.io.array_files import open_arrays
from medscore.io.arrays import Arrays
from medscore.io.opening import file_sha256

__all__ = ["Projections", "ScanGeometry", "checked_geometry", "read_geometry", "read_projections"]

EXCHANGE = {"array": "exchange/data", "angles": "exchange/theta", "flat": "exchange/data_white",
            "dark": "exchange/data_dark"}  # fmt: skip
"""Arrays of a Data Exchange file (De Carlo et al. 2014)."""

HINT = "see docs/measurement.md"


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


def read_projections(
    path: str | Path,
    geometry: ScanGeometry | Mapping[str, Any],
    where: str | Path | None = None,
) -> Projections:
    """Read a stack of projections; an array with two axes is one slice.

    Args:
        path: NumPy, MATLAB, HDF5 or TIFF file.
        geometry: geometry of the scan, or its fields, which complete what the file states.
        where: file of the geometry, to name in errors about it; ``path`` by default.

    Raises:
        MedscoreError: the file has another format, holds several arrays without a name in the
            geometry, contradicts the geometry, or holds invalid values.
    """
    path = Path(path)
    with open_arrays(path) as arrays:
        geometry = _completed(geometry, arrays, where or path)
        name = arrays.one(geometry.array or geometry.dataset, (2, 3), "biuf")
        stored = arrays.read(name)
        if stored.dtype.kind not in "biuf":
            raise MedscoreError(
                f"{name or 'the array'} holds {stored.dtype}, expected real numbers", where=path,
                hint="set array in the geometry",
            )  # fmt: skip
        order = axis_order(stored.shape, geometry, path)
        data = _in_order(stored, order)
        flat = _field(geometry.flat, arrays, order, data.shape)
        dark = _field(geometry.dark, arrays, order, data.shape)
    if not data.size or not np.isfinite(data).all() or not data.any():
        raise MedscoreError("holds NaN, infinity, or nothing", where=path, hint="export it again")
    values = geometry.values or "line-integrals"
    notes = _square(stored.shape, geometry)
    if values == "counts":
        data, starved = transmissions(data, flat, dark, path)
        notes += starved
        values = "transmission"
    elif values == "line-integrals":
        data = data * np.float32(geometry.scale)
    check_unit(data, values, path)
    if values == "transmission":
        data = logarithm(data, path)
    return Projections(data, geometry, Source("projections", file_sha256(path), notes=notes))


def _completed(
    geometry: ScanGeometry | Mapping[str, Any], arrays: Arrays, where: str | Path
) -> ScanGeometry:
    """The geometry with what the file states, and its angles as numbers."""
    if isinstance(geometry, ScanGeometry):
        geometry = {name: getattr(geometry, name) for name in geometry.model_fields_set}
    check_keys(geometry, tuple(ScanGeometry.model_fields), where)
    fields = {**_stated(geometry, arrays), **geometry}
    if fields.get("flat") is not None:
        fields.setdefault("values", "counts")
    if isinstance(fields.get("angles"), str):
        name = arrays.named(fields["angles"])
        found = arrays.read(name)
        if found.dtype.kind not in "iuf" or found.size != max(found.shape, default=0):
            raise MedscoreError(
                f"{name} is {found.dtype} of shape {found.shape}, expected a list of angles",
                where=where, hint="set angles to another array, or to a list",
            )  # fmt: skip
        fields["angles"] = tuple(found.ravel().astype(np.float64).tolist())
        unit = UNITS.get(arrays.entry(name).unit.strip().lower())
        if unit is not None:
            fields.setdefault("angle_unit", unit)
    completed = checked_geometry(fields, where, hint=HINT)
    if not completed.count:
        raise MedscoreError("set either views or angles", where=where, hint=HINT)
    return completed


def _stated(geometry: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """What a file states about its geometry; angles yield to the number of views."""
    named = geometry.get("array", geometry.get("dataset"))
    stated = helsinki_geometry(arrays)
    if named in (None, EXCHANGE["array"]) and EXCHANGE["array"] in arrays.entries:
        stated = {part: name for part, name in EXCHANGE.items() if name in arrays.entries}
        if _shape(arrays, "array")[:1] != _shape(arrays, "angles"):
            stated.pop("angles", None)
        if "flat" not in stated or geometry.get("values") in ("line-integrals", "transmission"):
            stated.pop("flat", None)
            stated.pop("dark", None)
    if geometry.get("views") is not None:
        stated.pop("angles", None)
    if geometry.get("dataset") is not None:
        stated.pop("array", None)
    return stated


UNITS = {"degrees": "degrees", "degree": "degrees", "deg": "degrees", "radians": "radians",
         "radian": "radians", "rad": "radians"}  # fmt: skip


def _shape(arrays: Arrays, part: str) -> tuple[int, ...]:
    name = EXCHANGE[part]
    return arrays.entries[name].shape if name in arrays.entries else ()


def axis_order(shape: tuple[int, ...], geometry: ScanGeometry, where: Path) -> tuple[str, ...]:
    """Names of the axes of an array: as stated, or found from the number of views.

    Args:
        shape: shape of the array.
        geometry: geometry of the scan.
        where: file to name in errors.

    Raises:
        MedscoreError: the array has neither 2 nor 3 axes, the views have another number, or the
            numbers do not tell the order.
    """
    if len(shape) not in (2, 3):
        raise MedscoreError(f"has shape {shape}", where=where, hint="use a stack of 3 axes")
    if geometry.axes is not None:
        names = geometry.axes
        if len(shape) < len(names):
            names = tuple(name for name in names if name != "slice")
        if len(names) != len(shape):
            raise MedscoreError(
                f"has shape {shape}, and axes names {len(names)}", where=where,
                hint="name all three axes",
            )  # fmt: skip
        views = shape[names.index("view")]
        if views != geometry.count:
            raise _other_views(views, geometry, where)
        return names
    places = [axis for axis, n in enumerate(shape) if n == geometry.count]
    usual = len(shape) - 2
    if not places:
        raise _other_views(shape[usual], geometry, where)
    if usual in places:
        return AXES[3 - len(shape) :]
    if len(shape) == 2:
        return ("detector", "view")
    if places == [0]:
        return ("view", "slice", "detector")
    raise MedscoreError(
        f"has shape {shape}, with the views in the last axis", where=where,
        hint="set axes in the geometry, such as [slice, detector, view]",
    )  # fmt: skip


def _square(shape: tuple[int, ...], geometry: ScanGeometry) -> tuple[str, ...]:
    """What to note where the number of views does not tell the order of the axes."""
    if geometry.axes is not None or shape.count(geometry.count) < 2:
        return ()
    order = ", ".join(AXES[3 - len(shape) :])
    return (f"an array of shape {shape} is taken as ({order}): set axes if it is another",)


def _other_views(found: int, geometry: ScanGeometry, where: Path) -> MedscoreError:
    return MedscoreError(
        f"there are {found} views, the geometry has {geometry.count}",
        where=where,
        hint="correct views, angles or axes in the geometry file",
    )


def _in_order(values: NDArray[Any], order: tuple[str, ...]) -> NDArray[np.float32]:
    """The array as (slice, view, detector) in single precision."""
    if "slice" not in order:
        values, order = values[None], ("slice", *order)
    placed = values.transpose([order.index(name) for name in AXES])
    with np.errstate(over="ignore"):  # becomes infinite, which is refused later
        return np.ascontiguousarray(placed, dtype=np.float32)


def _field(
    value: float | str | None, arrays: Arrays, order: tuple[str, ...], shape: tuple[int, ...]
) -> NDArray[np.float32] | None:
    """A flat or dark field that fits (slice, view, detector); the mean over its exposures."""
    if value is None or not isinstance(value, str):
        return None if value is None else np.full((1, 1, 1), value, np.float32)
    name = arrays.named(value)
    found = arrays.read(name)
    if found.dtype.kind not in "biuf" or not 1 <= found.ndim <= 3:
        fits = False
    elif found.ndim == len(order):
        found = _in_order(found, order).mean(axis=1, keepdims=True)
        fits = True
    else:
        found = found.reshape((1,) * (2 - found.ndim) + found.shape)[:, None].astype(np.float32)
        if order.index("detector") < (order.index("slice") if "slice" in order else -1):
            found = found.transpose(2, 1, 0)
        fits = found.ndim == 3
    if not fits or found.shape[2] != shape[2] or found.shape[0] not in (1, shape[0]):
        raise MedscoreError(
            f"{name} of shape {arrays.entry(name).shape} does not fit the data of {shape[0]} "
            f"slices and {shape[2]} detectors", where=arrays.where,
            hint="set flat and dark to others",
        )  # fmt: skip
    return found
