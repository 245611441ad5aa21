"""DICOM in: one file or a folder holding one axial series, to HU."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medscore.datasets.volume import AIR, Source, Volume, check_values
from medscore.errors import MedscoreError

_SERIES_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def read_dicom(path: Path) -> Volume:
    """Read a DICOM file, or a folder with the files of one series, in the scanner's units (HU).

    Slices are sorted along the slice normal. Pixels that carry the padding value become air.

    Raises:
        MedscoreError: not DICOM, truncated, colour, multi-frame, no pixel spacing, several series,
            slices that differ in shape or orientation, or uneven slice distances.
    """
    with _reading(path), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        volume = _read(path)
    said = (" ".join(str(w.message).split()) for w in caught)
    notes = tuple(dict.fromkeys([*volume.source.notes, *said]))
    return replace(volume, source=replace(volume.source, notes=notes))


def is_dicom(path: Path) -> bool:
    """Whether the file starts as DICOM files do (128 bytes, then DICM)."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read(path: Path) -> Volume:
    datasets = _read_folder(path) if path.is_dir() else [(path, _read_header(path))]
    digest = hashlib.sha256()
    for file, _ in datasets:
        digest.update(file.read_bytes())
    first = datasets[0][1]
    _check_same_series(path, [ds for _, ds in datasets])
    notes: list[str] = []
    values = np.stack([_pixels(file, ds, notes) for file, ds in datasets])
    check_values(values, path)
    return Volume(
        values=values,
        affine=_affine(path, [ds for _, ds in datasets]),
        modality=str(first.get("Modality", "unknown")),
        source=Source(
            kind="dicom",
            sha256=digest.hexdigest(),
            uids={k: str(first[k].value) for k in _SERIES_UIDS if first.get(k)},
            instances=tuple(str(ds.get("SOPInstanceUID", "")) for _, ds in datasets),
            notes=tuple(notes),
        ),
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever pydicom raises on a broken file becomes one error that names ``path``."""
    try:
        yield
    except MedscoreError:
        raise
    except Exception as error:
        raise MedscoreError(
            f"cannot be read as DICOM ({_reason(error)})",
            where=path,
            mend="check that the file is DICOM and complete",
        ) from error


def _read_folder(folder: Path) -> list[tuple[Path, Dataset]]:
    files = sorted(f for f in folder.iterdir() if f.is_file() and is_dicom(f))
    if not files:
        raise MedscoreError("no DICOM file in this folder", where=folder, mend="check the path")
    datasets = [(file, _read_header(file)) for file in files]
    series = {str(ds.get("SeriesInstanceUID", "")) for _, ds in datasets}
    if len(series) > 1:
        raise MedscoreError(
            f"{len(series)} series in this folder", where=folder, mend="put one series in a folder"
        )
    if len(datasets) > 1:
        datasets.sort(key=lambda item: float(_position(item[0], item[1]) @ _normal(*item)))
    return datasets


def _read_header(path: Path) -> Dataset:
    with _reading(path):
        dataset = pydicom.dcmread(path)
        _check_header(path, dataset)
    return dataset


def _check_header(path: Path, dataset: Dataset) -> None:
    if "PixelData" not in dataset:
        raise MedscoreError(
            "holds no image (no PixelData), or is truncated", where=path, mend="export it again"
        )
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise MedscoreError(
            f"is a colour image ({dataset.get('PhotometricInterpretation')})",
            where=path,
            mend="give a greyscale CT or MR image",
        )
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise MedscoreError(
            f"is a multi-frame object of {dataset.NumberOfFrames} frames",
            where=path,
            mend="export it as one file per slice",
        )
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        raise MedscoreError(
            "stores inverted grey values (MONOCHROME1)", where=path, mend="export as MONOCHROME2"
        )
    spacing = dataset.get("PixelSpacing") or ()
    if len(spacing) != 2 or not min(spacing) > 0 or not math.isfinite(sum(spacing)):
        raise MedscoreError(
            "has no PixelSpacing", where=path, mend="line integrals need millimetres: export it"
        )
    cosines = _orientation(dataset).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=1e-2):
        raise MedscoreError(
            "ImageOrientationPatient is not two perpendicular unit vectors",
            where=path,
            mend="export it again",
        )


def _pixels(path: Path, dataset: Dataset, notes: list[str]) -> NDArray[np.float32]:
    """Rescaled values of one slice; padding becomes air."""
    try:
        raw = dataset.pixel_array
    except Exception as error:  # decoders raise anything; all of it means unreadable pixels
        raise MedscoreError(
            f"the pixels cannot be decoded ({_reason(error)})",
            where=path,
            mend="the file is truncated or its compression is not supported: export it again",
        ) from error
    slope = float(dataset.get("RescaleSlope", 1) or 1)
    values = raw.astype(np.float32) * slope + float(dataset.get("RescaleIntercept", 0) or 0)
    padding = dataset.get("PixelPaddingValue")
    if padding is not None and dataset.get("Modality") == "CT":
        padded = raw == padding
        if padded.any():
            values[padded] = AIR
            notes.append("pixels with the padding value were set to air")
    return values


def _check_same_series(path: Path, datasets: list[Dataset]) -> None:
    for keyword in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "Modality"):
        found = {str(ds.get(keyword)) for ds in datasets}
        if len(found) > 1:
            raise MedscoreError(
                f"slices differ in {keyword}: {', '.join(sorted(found)[:3])}",
                where=path,
                mend="put one series in a folder",
            )


def _orientation(dataset: Dataset) -> NDArray[np.float64]:
    return np.array(dataset.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0), dtype=float)


def _normal(path: Path, dataset: Dataset) -> NDArray[np.float64]:
    cosines = _orientation(dataset)
    return np.cross(cosines[:3], cosines[3:])


def _position(path: Path, dataset: Dataset) -> NDArray[np.float64]:
    position = dataset.get("ImagePositionPatient")
    if position is None:
        raise MedscoreError(
            "has no ImagePositionPatient", where=path, mend="give the slices one by one"
        )
    return np.array(position, dtype=float)


def _affine(path: Path, datasets: list[Dataset]) -> NDArray[np.float64]:
    """Voxel (column, row, slice) to RAS (DICOM PS3.3 C.7.6.2.1.1, with x and y negated)."""
    first = datasets[0]
    cosines = _orientation(first)
    row_mm, column_mm = (float(v) for v in first.PixelSpacing)
    normal = np.cross(cosines[:3], cosines[3:])
    thickness = first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 1
    step = normal * abs(float(thickness))
    if len(datasets) > 1:
        positions = np.array([_position(path, ds) for ds in datasets])
        gaps = np.diff(positions @ normal)
        if gaps.min() < 1e-3:
            raise MedscoreError("two slices at one position", where=path, mend="remove duplicates")
        if gaps.max() - gaps.min() > 0.02 * gaps.mean():
            raise MedscoreError(
                f"slices are {gaps.min():g} to {gaps.max():g} mm apart",
                where=path,
                mend="complete the series, or give the slices one by one",
            )
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] * column_mm
    affine[:3, 1] = cosines[3:] * row_mm
    affine[:3, 2] = step
    affine[:3, 3] = np.array(first.get("ImagePositionPatient") or (0, 0, 0), dtype=float)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _reason(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]
