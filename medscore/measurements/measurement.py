"""The measurement file: data, operator, units and geometry in one HDF5 file, without identity.

Layout of a measurement file (format medscore-measurement-2), after a user block with a checksum of
the rest (:func:`medscore.io.hdf5.sealed`)::

    attributes   format, task, modality, image_unit, mu_water_per_mm (CT), noise, source_sha256,
                 medscore
    data         (slices, channel or coil, *grid) float32 or complex64, zero where nothing was
                 measured; k-space along a trajectory is (slices, coil, samples), and cone-beam
                 projections of a volume are (1, 1, views, rows, columns)
    operator     attribute kind, and its arguments (medscore.operators.store)
    metal        (slices, H, W) float32, of patients with implants: HU of the scanner's own image
                 in the metal, NaN elsewhere
    geometry     attribute kind, and perhaps position (of the patient in the scanner) and axes
                 (directions of those of the file); affine (4, 4); uids/ attributes; instances
                 (slices,); taken/ attributes resample, accept and perhaps channel, and of arrays
                 spacing, slices and array: what was read of the file

The operator acts on images in ``image_unit``: attenuation in 1/mm, HU, or a magnitude in the
scanner's unit.
"""

from __future__ import annotations

import io
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from medscore import __version__
from medscore.datasets.selection import WHOLE, Selection, selection
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.io.budget import check_memory
from medscore.io.files import atomic_write
from medscore.io.hdf5 import SEAL_SIZE, array, is_sealed, member, open_hashed, open_hdf5, sealed
from medscore.io.opening import is_regular, regular_file
from medscore.measurements.contents import (
    ATTENUATION,
    HU,
    IMAGE_UNITS,
    LARGEST,
    MAGNITUDE,
    Measurement,
    check_measurement,
)
from medscore.operators import store
from medscore.operators.base import Operator
from medscore.operators.mri.gridding import has_a_trajectory

__all__ = [
    "ATTENUATION", "HU", "IMAGE_UNITS", "LARGEST", "MAGNITUDE", "Measurement",
    "check_measurement", "is_measurement", "read_measurement", "write_measurement",
]  # fmt: skip

FORMAT = "medscore-measurement-2"

TAKEN = ("channel", "spacing", "slices", "array")
"""Attributes of what was read of the file that are only there where they are set."""

AGAIN = "make it again with `medscore simulate` or `medscore measure`"


def write_measurement(path: str | Path, m: Measurement) -> None:
    """Write a measurement file atomically.

    Args:
        path: file to write.
        m: measurement to store.

    Raises:
        MedscoreError: ``m`` is no measurement, its parts do not fit each other, or the folder
            cannot be written.
    """
    path = _path(path)
    if not isinstance(m, Measurement):
        raise MedscoreError(
            f"`m` is a {type(m).__name__}, expected a measurement",
            hint="make one with simulate, measure or make_measurement",
        )
    _check_file(path, m)
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
        if m.metal is not None:
            file.create_dataset("metal", data=m.metal, compression="gzip", shuffle=True)
        try:
            store.write(file.create_group("operator"), m.operator)
        except ValueError as error:  # an operator made of functions
            raise MedscoreError(
                str(error), where=path, hint="keep the data, and make the operator again"
            ) from error
        geometry = file.create_group("geometry")
        geometry.attrs["kind"] = m.source.kind
        if m.source.position:
            geometry.attrs["position"] = m.source.position
        if m.source.axes:
            geometry.attrs["axes"] = m.source.axes
        geometry.create_dataset("affine", data=m.affine)
        geometry.create_group("uids").attrs.update(m.source.uids)
        taken = geometry.create_group("taken").attrs
        taken["resample"], taken["accept"] = (
            m.source.taken.resample,
            ",".join(m.source.taken.accept),
        )
        for name in TAKEN:
            value = getattr(m.source.taken, name)
            if value is not None:
                taken[name] = value
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
    if not is_regular(path) or is_sealed(path):
        return True
    try:
        with open_hdf5(path) as file:
            return "format" in file.attrs or not ({"kspace", "dataset"} & set(file))
    except MedscoreError:
        return True


def read_measurement(path: str | Path) -> Measurement:
    """Read and check a measurement file; its hash is recorded as ``file_sha256``.

    Args:
        path: measurement file.

    Raises:
        MedscoreError: there is no such file, it is not HDF5 or of another format, a field is
            missing or invalid, or the data are not finite or do not fit the operator.
    """
    path = regular_file(_path(path), "measurement file", "see `medscore simulate`")
    with open_hashed(path, "a measurement", AGAIN) as (file, sha256):
        try:
            measurement = _parse(path, file)
        except KeyError as error:
            raise _broken(path, f"lacks a field: {error.args[0]}") from error
    _check_file(path, measurement)
    return replace(measurement, file_sha256=sha256)


def _parse(path: Path, file: Any) -> Measurement:
    attrs = file.attrs
    if attrs.get("format") != FORMAT:
        raise MedscoreError(
            f"format is {attrs.get('format')!r}, expected {FORMAT!r}",
            where=path,
            hint=AGAIN,
        )
    geometry = member(file, "geometry")
    image_unit = str(attrs["image_unit"])
    return Measurement(
        data=array(member(file, "data"), "iufc"),
        operator=store.read(member(file, "operator")),
        task=str(attrs["task"]),
        modality=str(attrs["modality"]),
        image_unit=image_unit,
        mu_water=float(attrs["mu_water_per_mm"]) if IMAGE_UNITS.get(image_unit) == "CT" else None,
        noise=str(attrs["noise"]),
        affine=np.asarray(array(member(geometry, "affine"), "iuf", single=False), np.float64),
        source=Source(
            kind=str(geometry.attrs["kind"]),
            sha256=str(attrs["source_sha256"]),
            uids={k: str(v) for k, v in member(geometry, "uids").attrs.items()},
            instances=tuple(v.decode() for v in array(member(geometry, "instances"), "O")),
            position=str(geometry.attrs.get("position", "")),
            axes=str(geometry.attrs.get("axes", "")),
            taken=_taken(member(geometry, "taken").attrs) if "taken" in geometry else WHOLE,
        ),
        metal=array(member(file, "metal"), "f") if "metal" in file else None,
    )


def _taken(attrs: Any) -> Selection:
    channel, spacing, slices, array = (attrs.get(name) for name in TAKEN)
    return selection(
        resample=bool(attrs["resample"]), channel=None if channel is None else int(channel),
        accept=tuple(filter(None, str(attrs["accept"]).split(","))),
        array=None if array is None else str(array),
        spacing=None if spacing is None else tuple(map(float, spacing)),
        slices=None if slices is None else tuple(map(int, slices)),
    )  # fmt: skip


def _check_file(path: Path, m: Measurement) -> None:
    if isinstance(m.operator, Operator):
        axes = "(slices, channel, y, x)"
        if has_a_trajectory(m.operator):
            axes = "(slices, coil, samples)"
        elif m.whole:
            axes = "(1, 1, views, rows, columns)"
        if m.data.ndim != axes.count(",") + 1 or not len(m.data):
            raise _broken(path, f"data have shape {m.data.shape}, expected {axes}")
        pixels = math.prod(m.operator.image_shape) * len(m.data)
        check_memory(4 * pixels, path, "images")
    check_measurement(m, lambda what: _broken(path, what))


def _broken(path: Path, what: str) -> MedscoreError:
    return MedscoreError(what, where=path, hint=AGAIN)


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise MedscoreError(
            f"`path` is {path!r}, expected the path of a measurement file", hint="give a path"
        )
    return Path(path)
