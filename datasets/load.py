"""The one entry for reading images of any format.

Simulation, reconstruction, training and evaluation all read through :func:`read_scan`, so that one
file gives them the same values, the same refusals and the same notes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from medscore.datasets.dicom.kinds import KINDS
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.fit import reduce
from medscore.datasets.formats.arrays import read_array_image, slice_count
from medscore.datasets.formats.itk import read_itk
from medscore.datasets.nifti import read_nifti
from medscore.datasets.recognise import FORMATS, format_of, holds_series, is_image as is_image
from medscore.datasets.selection import Selection, Spacing, selection
from medscore.datasets.volume import (
    AIR,
    Volume,
    check_modality,
    check_values,
    guess,
    slice_range,
)
from medscore.datasets.voxel_grid import check_grid
from medscore.errors import MedscoreError
from medscore.io.opening import file_or_folder
from medscore.numeric import is_whole

log = logging.getLogger(__name__)

SMALLEST = 8
"""Pixels per side of the smallest image that is reconstructed."""


def load_image(
    path: str | Path,
    *,
    size: int | None = None,
    modality: str | None = None,
    series: str | None = None,
    resample: bool = False,
    channel: int | None = None,
    accept: str | Sequence[str] = (),
    slices: str | tuple[int, int] | None = None,
    array: str | None = None,
    spacing: Spacing | None = None,
) -> Volume:
    """Load a CT image in HU or an MR magnitude image.

    Args:
        path: DICOM file, folder, DICOMDIR or zip archive of DICOM files, NIfTI, NRRD or MetaImage
            file, or array (.npy, .npz, .mat).
        size: reduce the slices to ``size`` x ``size`` square pixels by area mean; at least 8.
            Slices that are not square are surrounded by air, or by zeros for MR.
        modality: required modality, "CT" or "MR"; by default the recorded one, or a guess from
            the values where none is recorded.
        series: DICOM series to read from a folder with several: its UID, description, or a part
            of the description; of an archive of arrays, the patient.
        resample: interpolate uneven or tilted DICOM slices onto an even, upright grid.
        channel: volume of a 4-D file, from 0.
        accept: kinds of images that are used although they are not the magnitudes or CT numbers of
            slices: "localizer", "phase", "projection", "map", "mosaic", "capture", "derived".
        slices: range "START:STOP" or (start, stop) of slices to keep; all by default.
        array: name of the array, in a .npz or .mat file with several.
        spacing: distance between pixels in mm, for arrays whose file does not state it: one
            number, or those between columns, rows and slices.

    Raises:
        MedscoreError: the file is missing, unreadable or of another modality, or ``size`` or
            ``slices`` do not fit it.
    """
    path = _path(path)
    if size is not None and (not is_whole(size) or size < SMALLEST):
        raise MedscoreError(f"`size` is {size!r:.80}", hint=f"use a whole number from {SMALLEST}")
    slices, part = array_slices(path, slices, series, array)
    (volume,) = read_scan(
        [path], modality=modality, series=series, resample=resample, channel=channel, accept=accept,
        array=array, spacing=spacing, slices=part,
    )  # fmt: skip
    if slices is not None:
        volume = volume.select(*slice_range(slices, len(volume.values), path))
        check_values(volume.values, path)
    return volume if size is None else reduce(volume, size, path)


def array_slices(
    path: Path, slices: str | tuple[int, int] | None, series: str | None, array: str | None
) -> tuple[str | tuple[int, int] | None, tuple[int, int] | None]:
    """A range of slices, as one of a volume that is read whole or of an array of several scans.

    Args:
        path: an image.
        slices: the range.
        series: see :func:`load_image`.
        array: see :func:`load_image`.

    Returns:
        The range for other formats, and that for an array; one of them is None.

    Raises:
        MedscoreError: the range does not fit the array.
    """
    if slices is None or format_of(file_or_folder(path)) != "array":
        return slices, None
    count = slice_count(path, selection(series, array=array))
    return None, slice_range(slices, count, path)


def read_scan(
    paths: Sequence[Path],
    *,
    modality: str | None = None,
    series: str | None = None,
    resample: bool = False,
    channel: int | None = None,
    accept: str | Sequence[str] = (),
    array: str | None = None,
    spacing: Spacing | None = None,
    slices: tuple[int, int] | None = None,
) -> list[Volume]:
    """Read the files of one scan, each as a volume, check their modality, and set padding to air.

    A single CT slice may contain no air, but the scan must: all files are checked together.

    Args:
        paths: one file or folder, or several slices of one series.
        modality: required modality; by default the recorded or guessed one.
        series: see :func:`load_image`.
        resample: see :func:`load_image`.
        channel: see :func:`load_image`.
        accept: see :func:`load_image`.
        array: see :func:`load_image`.
        spacing: see :func:`load_image`.
        slices: range of slices of an array.

    Raises:
        MedscoreError: a file cannot be read, is of another modality or of a kind that is not
            accepted, or holds invalid values.
    """
    chosen = selection(series, resample, channel, accept, array, spacing, slices)
    volumes = [
        read_volume(
            p, series=series, resample=resample, channel=channel, array=array, spacing=spacing,
            slices=slices,
        )
        for p in paths
    ]  # fmt: skip
    for path, volume in zip(paths, volumes, strict=True):
        log.info("%s: %s of %s", path, volume.modality, "x".join(map(str, volume.values.shape)))
    lowest = min(float(volume.values.min()) for volume in volumes)
    found = []
    for volume, path in zip(volumes, paths, strict=True):
        if modality in (None, volume.modality):
            _check_accepted(volume, chosen.accept, path)
        valid = valid_image(volume, modality or guess(volume), path, lowest)
        own = volume.source
        taken = replace(chosen, series=None, accept=own.kinds, slices=own.taken.slices)
        found.append(replace(valid, source=replace(valid.source, taken=taken)))
    return found


def valid_image(
    volume: Volume, modality: str, where: str | Path | None = None, lowest: float | None = None
) -> Volume:
    """Check the modality of a volume; raise CT values below that of air, which are padding, to it.

    Args:
        volume: slices whose modality is recorded or unknown.
        modality: required modality, "CT" or "MR".
        where: file to name in the error.
        lowest: smallest value of the whole scan, if ``volume`` is only a part of it.

    Raises:
        MedscoreError: the volume is of another modality, or holds nothing but padding.
    """
    volume = check_modality(volume, modality, where, lowest)
    if modality == "CT":
        volume = replace(volume, values=volume.values.clip(min=AIR))
        check_values(volume.values, where)
    return volume


def read_volume(
    path: str | Path,
    *,
    series: str | None = None,
    resample: bool = False,
    channel: int | None = None,
    array: str | None = None,
    spacing: Spacing | None = None,
    slices: tuple[int, int] | None = None,
) -> Volume:
    """Read an image as its file holds it: of any modality, shape and value range.

    DICOM is recognised by content, other formats by name.

    Args:
        path: see :func:`load_image`.
        series: see :func:`~medscore.datasets.dicom.read.read_dicom`.
        resample: see :func:`~medscore.datasets.dicom.read.read_dicom`.
        channel: see :func:`~medscore.datasets.nifti.read_nifti`.
        array: see :func:`load_image`.
        spacing: see :func:`load_image`.
        slices: range of slices of an array.

    Raises:
        MedscoreError: there is no such file, it is not an image, or its reader refuses it.
    """
    path = _path(path)
    chosen = selection(series, resample, channel, (), array, spacing, slices)
    found = format_of(file_or_folder(path))
    if found is None:
        raise MedscoreError("is not an image that can be read", where=path, hint=f"use {FORMATS}")
    if found != "array":
        _refuse(path, ".npz and .mat files", array=array)
    if found in ("dicom", "nifti"):
        _refuse(path, "files that do not state it", spacing=spacing)
    if found not in ("nifti", "itk"):
        _refuse(path, "4-D NIfTI, NRRD and MetaImage files", channel=channel)
    if found == "dicom":
        if not holds_series(path):
            _refuse(path, "folders of DICOM files", series=series)
        volume = read_dicom(path, series=series, resample=resample)
    else:
        _refuse(path, "DICOM files", resample=chosen.resample or None)
        volume = _not_dicom(path, found, chosen)
    check_grid(volume.affine, path)
    return volume


def _not_dicom(path: Path, kind: str, chosen: Selection) -> Volume:
    if kind == "array":
        return read_array_image(path, chosen)
    _refuse(path, "folders of DICOM files", series=chosen.series)
    if kind == "nifti":
        return read_nifti(path, channel=chosen.channel)
    return read_itk(path, channel=chosen.channel, spacing=chosen.spacing)


def _path(path: object) -> Path:
    if not isinstance(path, str | PathLike):
        raise MedscoreError(f"`path` is {path!r:.80}", hint="use the path of a file or folder")
    return Path(path)


def _refuse(path: Path, owner: str, **choices: object) -> None:
    """Reject choices that this file does not have."""
    for name, value in choices.items():
        if value is not None:
            raise MedscoreError(
                f"`{name}` is {value!r:.80}, which applies to {owner}",
                where=path,
                hint="leave it out",
            )


def _check_accepted(volume: Volume, accept: Sequence[str], path: Path) -> None:
    for kind in volume.source.kinds:
        if kind not in accept:
            about = [note for note in volume.source.notes if KINDS[kind] in note]
            raise MedscoreError(
                next(iter(about), f"the image is {KINDS[kind]}"),
                where=path,
                hint=f"set `accept` to {kind} to use it all the same",
            )
