"""The measurement file: data, mask, operator, units and geometry in one HDF5, no identity.

Layout of ``meas.h5`` (format medscore-measurement-1)::

    attributes   format, task, modality, unit, mu_water_per_mm, noise, source_sha256, medscore
    data         (slices, 1, views, detectors) float32, zero where nothing was measured
    mask         (views,) uint8
    operator     attributes kind, size, spacing_mm, views
    geometry     attribute kind; affine (4, 4); uids/ attributes; instances (slices,)
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydicom.uid import UID

from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.files import atomic_write

FORMAT = "medscore-measurement-1"

LARGEST = 1e6
"""Line integrals beyond this (a metre of lead has some 10^4) come from no scan."""

LINE_INTEGRAL = "1"
"""Unit of CT data: attenuation (1/mm) integrated over mm has none."""


class OperatorSpec(BaseModel):
    """Which operator measured, and its grid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    size: int = Field(gt=1)
    spacing_mm: float = Field(gt=0)
    views: int = Field(gt=0)


@dataclass(frozen=True)
class Measurement:
    """A simulated or imported measurement.

    Attributes:
        data: (slices, 1, views, detectors) float32 line integrals.
        mask: (views,) 0/1.
        operator: the grid. noise: as given to ``simulate --noise``.
        mu_water: attenuation of water in 1/mm, which ties HU to 1/mm.
        affine: voxel (column, row, slice) to RAS mm of the image to be reconstructed.
    """

    data: NDArray[np.float32]
    mask: NDArray[np.uint8]
    operator: OperatorSpec
    task: str
    modality: str
    unit: str
    mu_water: float
    noise: str
    affine: NDArray[np.float64]
    source: Source


def write_measurement(path: Path, m: Measurement, *, version: str) -> None:
    """Write atomically.

    Raises:
        MedscoreError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(
            format=FORMAT,
            task=m.task,
            modality=m.modality,
            unit=m.unit,
            mu_water_per_mm=m.mu_water,
            noise=m.noise,
            source_sha256=m.source.sha256,
            medscore=version,
        )
        file.create_dataset("data", data=m.data, compression="gzip", shuffle=True)
        file.create_dataset("mask", data=m.mask)
        file.create_group("operator").attrs.update(m.operator.model_dump())
        geometry = file.create_group("geometry")
        geometry.attrs["kind"] = m.source.kind
        geometry.create_dataset("affine", data=m.affine)
        geometry.create_group("uids").attrs.update(m.source.uids)
        geometry.create_dataset(
            "instances", data=list(m.source.instances), dtype=h5py.string_dtype()
        )
    atomic_write(path, buffer.getvalue())


def read_measurement(path: Path) -> Measurement:
    """Read and check a measurement file.

    Raises:
        MedscoreError: no such file, not HDF5, another format, a missing field, a wrong unit, or
            data that are not finite or do not fit the operator.
    """
    if not path.is_file():
        raise MedscoreError("no such measurement file", where=path, mend="see `medscore simulate`")
    try:
        with h5py.File(path, "r") as file:
            measurement = _parse(path, file)
    except KeyError as error:
        raise _broken(path, f"lacks a field: {error.args[0]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _broken(path, f"operator.{field}: {first['msg']}") from None
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise _broken(path, f"cannot be read ({str(error).splitlines()[0]})") from error
    _check(path, measurement)
    return measurement


def _parse(path: Path, file: Any) -> Measurement:
    attrs = file.attrs
    if attrs.get("format") != FORMAT:
        raise MedscoreError(
            f"format is {attrs.get('format')!r}, expected {FORMAT!r}",
            where=path,
            mend="make it with `medscore simulate`",
        )
    data = file["data"]
    if data.size * 4 > 2**34:
        raise _broken(path, f"declares {data.size * 4 / 2**30:.0f} GiB of data")
    if data.dtype.kind not in "iuf":
        raise _broken(path, f"data are {data.dtype}, expected real numbers")
    mask = file["mask"]
    if mask.ndim != 1 or mask.size > 2**20:
        raise _broken(path, f"mask has shape {mask.shape}, expected one number per view")
    mask = mask[()]
    if not np.isin(mask, (0, 1)).all():
        raise _broken(path, "mask must be 0/1")
    geometry = file["geometry"]
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        values = np.asarray(data[()], dtype=np.float32)
    return Measurement(
        data=values,
        mask=np.asarray(mask, dtype=np.uint8),
        operator=OperatorSpec.model_validate(
            {k: v.item() if hasattr(v, "item") else v for k, v in file["operator"].attrs.items()}
        ),
        task=str(attrs["task"]),
        modality=str(attrs["modality"]),
        unit=str(attrs["unit"]),
        mu_water=float(attrs["mu_water_per_mm"]),
        noise=str(attrs["noise"]),
        affine=np.asarray(geometry["affine"][()], dtype=np.float64),
        source=Source(
            kind=str(geometry.attrs["kind"]),
            sha256=str(attrs["source_sha256"]),
            uids={k: str(v) for k, v in geometry["uids"].attrs.items()},
            instances=tuple(v.decode() for v in geometry["instances"][()]),
        ),
    )


def _check(path: Path, m: Measurement) -> None:
    if m.unit != LINE_INTEGRAL:
        raise _broken(path, f"unit is {m.unit!r}, expected {LINE_INTEGRAL!r} (attenuation x mm)")
    if m.data.ndim != 4 or m.data.shape[1:3] != (1, m.operator.views) or not len(m.data):
        raise _broken(
            path,
            f"data have shape {m.data.shape}, expected (slices, 1, {m.operator.views}, detectors)",
        )
    if m.mask.shape != (m.operator.views,):
        raise _broken(path, f"mask has shape {m.mask.shape}, expected ({m.operator.views},)")
    if not m.mask.any():
        raise _broken(path, "mask is zero everywhere: nothing was measured")
    if not np.isfinite(m.data).all():
        raise _broken(path, "data hold NaN or infinity")
    if np.abs(m.data).max() > LARGEST:
        raise _broken(path, f"data reach {np.abs(m.data).max():g}, no line integral does")
    if not m.data.any():
        raise _broken(path, "data are zero everywhere")
    if m.affine.shape != (4, 4) or not np.isfinite(m.affine).all():
        raise _broken(path, "geometry/affine is not a finite 4x4 matrix")
    if tuple(m.affine[3]) != (0, 0, 0, 1):
        raise _broken(path, f"geometry/affine ends in {m.affine[3].tolist()}, not in 0, 0, 0, 1")
    for name, uid in m.source.uids.items():
        if not UID(uid, validation_mode=pydicom.config.IGNORE).is_valid:
            raise _broken(path, f"geometry/uids/{name} is {uid[:70]!r}, no DICOM UID")
    pixel = np.linalg.norm(m.affine[:3, :2], axis=0)
    if abs(np.linalg.det(m.affine)) < 1e-9 or not np.allclose(pixel, m.operator.spacing_mm, 2e-3):
        raise _broken(path, f"geometry/affine does not have pixels of {m.operator.spacing_mm:g} mm")
    if not 0.01 < m.mu_water < 0.05:
        raise _broken(path, f"mu_water_per_mm is {m.mu_water:g}, water has 0.015 to 0.03 per mm")


def _broken(path: Path, what: str) -> MedscoreError:
    return MedscoreError(what, where=path, mend="make it again with `medscore simulate`")
