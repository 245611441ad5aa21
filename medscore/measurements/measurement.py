"""The measurement file: data, operator, units and geometry in one HDF5 file, without identity.

Layout of a measurement file (format medscore-measurement-2), after a user block with a checksum of
the rest (:func:`medscore.io.hdf5.sealed`)::

    attributes   format, task, modality, image_unit, mu_water_per_mm (CT), noise, source_sha256,
                 medscore
    data         (slices, channel or coil, *grid) float32 or complex64, zero where nothing was
                 measured
    operator     attribute kind, and its arguments (medscore.operators.store)
    geometry     attribute kind; affine (4, 4); uids/ attributes; instances (slices,)

The operator acts on images in ``image_unit``: attenuation in 1/mm, HU, or a magnitude in the
scanner's unit.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from pydicom.uid import UID

from medscore import __version__
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.io.files import atomic_write
from medscore.io.hdf5 import SEAL_SIZE, array, checked_sha256, is_sealed, sealed
from medscore.operators import store
from medscore.operators.base import Operator
from medscore.operators.ct.radon import Radon

FORMAT = "medscore-measurement-2"

LARGEST = 1e6
"""Largest line integral that a scan can have; a metre of lead has some 10^4."""

ATTENUATION, HU, MAGNITUDE = "1/mm", "HU", "magnitude"
IMAGE_UNITS = {ATTENUATION: "CT", HU: "CT", MAGNITUDE: "MR"}
"""Unit of the images that operators act on, and the modality that has it."""

AGAIN = "make it again with `medscore simulate` or `medscore measure`"


@dataclass(frozen=True)
class Measurement:
    """A simulated or imported measurement.

    Attributes:
        data: (slices, channel or coil, *operator.grid_shape) float32 or complex64, zero where
            nothing was measured.
        operator: measurement operator on images in ``image_unit``.
        task: name of the task, such as "sparse-ct" or "mri-multicoil".
        modality: "CT" or "MR".
        image_unit: "1/mm" (attenuation), "HU" or "magnitude".
        mu_water: attenuation of water in 1/mm, which ties HU to 1/mm; ``None`` for MR.
        noise: "none", "gaussian:STD", "poisson:PHOTONS", "estimate", "estimate:uniform" or
            "unknown".
        affine: (4, 4) map from voxel (column, row, slice) to RAS mm, of the image to reconstruct.
        source: provenance of the image or raw data.
        file_sha256: hash of the measurement file that it was read from, else empty.
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


def write_measurement(path: str | Path, m: Measurement) -> None:
    """Write a measurement file atomically.

    Args:
        path: file to write.
        m: measurement to store.

    Raises:
        MedscoreError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=SEAL_SIZE) as file:
        file.attrs.update(
            format=FORMAT,
            task=m.task,
            modality=m.modality,
            image_unit=m.image_unit,
            noise=m.noise,
            source_sha256=m.source.sha256,
            medscore=__version__,
        )
        if m.mu_water is not None:
            file.attrs["mu_water_per_mm"] = m.mu_water
        file.create_dataset("data", data=m.data, compression="gzip", shuffle=True)
        try:
            store.write(file.create_group("operator"), m.operator)
        except ValueError as error:  # an operator made of functions
            raise MedscoreError(
                str(error), where=path, hint="keep the data, and make the operator again"
            ) from error
        geometry = file.create_group("geometry")
        geometry.attrs["kind"] = m.source.kind
        geometry.create_dataset("affine", data=m.affine)
        geometry.create_group("uids").attrs.update(m.source.uids)
        geometry.create_dataset(
            "instances", data=list(m.source.instances), dtype=h5py.string_dtype()
        )
    atomic_write(path, sealed(buffer.getvalue()))


def is_measurement(path: str | Path) -> bool:
    """True if a file is a measurement file, by its seal or the format that it states.

    A file that cannot be opened counts as one, so that :func:`read_measurement` says why.

    Args:
        path: any file.
    """
    path = Path(path)
    if not path.is_file() or is_sealed(path):
        return True
    try:
        with h5py.File(path, "r") as file:
            return "format" in file.attrs or not ({"kspace", "dataset"} & set(file))
    except (OSError, RuntimeError, TypeError):
        return True


def read_measurement(path: str | Path) -> Measurement:
    """Read and check a measurement file; its hash is recorded as ``file_sha256``.

    Args:
        path: measurement file.

    Raises:
        MedscoreError: there is no such file, it is not HDF5 or of another format, a field is
            missing or invalid, or the data are not finite or do not fit the operator.
    """
    path = Path(path)
    if not path.is_file():
        raise MedscoreError("no such measurement file", where=path, hint="see `medscore simulate`")
    with reading("a measurement", path, AGAIN), path.open("rb") as opened:
        sha256 = checked_sha256(opened)
        with h5py.File(opened, "r") as file:
            try:
                measurement = _parse(path, file)
            except KeyError as error:
                raise _broken(path, f"lacks a field: {error.args[0]}") from error
    _check(path, measurement)
    return replace(measurement, file_sha256=sha256)


def _parse(path: Path, file: Any) -> Measurement:
    attrs = file.attrs
    if attrs.get("format") != FORMAT:
        raise MedscoreError(
            f"format is {attrs.get('format')!r}, expected {FORMAT!r}",
            where=path,
            hint=AGAIN,
        )
    geometry = file["geometry"]
    image_unit = str(attrs["image_unit"])
    return Measurement(
        data=array(file["data"], "iufc"),
        operator=store.read(file["operator"]),
        task=str(attrs["task"]),
        modality=str(attrs["modality"]),
        image_unit=image_unit,
        mu_water=float(attrs["mu_water_per_mm"]) if IMAGE_UNITS.get(image_unit) == "CT" else None,
        noise=str(attrs["noise"]),
        affine=np.asarray(array(geometry["affine"], "iuf"), dtype=np.float64),
        source=Source(
            kind=str(geometry.attrs["kind"]),
            sha256=str(attrs["source_sha256"]),
            uids={k: str(v) for k, v in geometry["uids"].attrs.items()},
            instances=tuple(v.decode() for v in array(geometry["instances"], "O")),
        ),
    )


def _check(path: Path, m: Measurement) -> None:
    if IMAGE_UNITS.get(m.image_unit) != m.modality:
        raise _broken(
            path, f"image_unit is {m.image_unit!r} of modality {m.modality!r}, expected one of "
            f"{', '.join(f'{unit} ({modality})' for unit, modality in IMAGE_UNITS.items())}"
        )  # fmt: skip
    if not isinstance(m.operator, Operator):
        raise _broken(path, "operator/ holds a part of an operator, not a whole one")
    if isinstance(m.operator, Radon) != (m.image_unit == ATTENUATION):
        raise _broken(path, f"image_unit is {m.image_unit!r}, which {m.operator} does not measure")
    if m.data.ndim != 4 or not len(m.data):
        raise _broken(path, f"data have shape {m.data.shape}, expected (slices, channel, y, x)")
    _check_data(path, m)
    if not _of_a_kind(m):
        raise _broken(path, f"data are {m.data.dtype}, which {m.operator} does not measure")
    if m.affine.shape != (4, 4) or not np.isfinite(m.affine).all():
        raise _broken(path, "geometry/affine is not a finite 4x4 matrix")
    if tuple(m.affine[3]) != (0, 0, 0, 1):
        raise _broken(path, f"geometry/affine ends in {m.affine[3].tolist()}, not in 0, 0, 0, 1")
    for name, uid in m.source.uids.items():
        if not UID(uid, validation_mode=pydicom.config.IGNORE).is_valid:
            raise _broken(path, f"geometry/uids/{name} is {uid[:70]!r}, which is not a DICOM UID")
    if abs(np.linalg.det(m.affine)) < 1e-9:
        raise _broken(path, "geometry/affine is singular")
    if isinstance(m.operator, Radon):
        pixel = m.operator.geometry.spacing
        if not np.allclose(m.spacing, pixel, 2e-3):
            raise _broken(path, f"geometry/affine does not have pixels of {pixel:g} mm")
    if m.mu_water is not None and not 0.01 < m.mu_water < 0.05:
        raise _broken(path, f"mu_water_per_mm is {m.mu_water:g}, water has 0.015 to 0.03 per mm")


def _check_data(path: Path, m: Measurement) -> None:
    """Slice by slice, so that no copy of all data is made."""
    masks = m.operator.diagonal
    each = masks.ndim > len(m.operator.grid_shape) and len(masks) > 1
    if each and len(masks) != len(m.data):
        raise _broken(path, f"masks of {len(masks)} slices do not fit data of {len(m.data)} slices")
    if not bool(masks.any()):
        raise _broken(path, "the mask is zero everywhere: nothing was measured")
    largest = 0.0
    for index, slice_ in enumerate(m.data):
        try:
            m.operator.select([index]).check(torch.from_numpy(slice_)[None])
        except ValueError as error:
            raise _broken(path, str(error)) from error
        largest = max(largest, float(np.abs(slice_).max()))
    if largest == 0:
        raise _broken(path, "data are zero everywhere")
    if m.image_unit == ATTENUATION and largest > LARGEST:
        raise _broken(path, f"data reach {largest:g}, which no line integral does")


def _of_a_kind(m: Measurement) -> bool:
    """True if the data are real or complex as the operator requires."""
    if isinstance(m.operator, Radon):
        return m.data.dtype.kind == "f"
    operator, first = m.operator.select([0]), torch.from_numpy(m.data[:1])
    try:
        return operator.forward(operator.adjoint(first)).dtype == first.dtype
    except (RuntimeError, ValueError, TypeError):
        return False


def _broken(path: Path, what: str) -> MedscoreError:
    return MedscoreError(what, where=path, hint=AGAIN)
