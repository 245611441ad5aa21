"""Axial CT and MR slices at their own matrix and pixel size, from archives and volumes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.datasets.collections.archives import is_archive
from medscore.datasets.collections.contrasts import class_number
from medscore.datasets.collections.crops import NativeSlice, area_means
from medscore.datasets.collections.slices import CONTENT, FAINT, FULL, MODALITY, Quantity
from medscore.datasets.collections.sources import find_images
from medscore.datasets.load import read_scan
from medscore.errors import MedscoreError
from medscore.io.numpy_files import open_npz

SQUARE, NEARLY = 0.01, 0.25
"""Largest deviation from 1 of the ratio of a pixel's sides that counts as square, and the largest
that is made square for magnitudes."""


@dataclass(frozen=True)
class NativeSlices:
    """Slices at their own matrices, and the patient of each.

    Attributes:
        slices: the slices.
        patients: the patient of each slice.
    """

    slices: list[NativeSlice]
    patients: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """What the values of files are, and what is told of them that they do not state.

    Attributes:
        limits: values that become 0 and 1; of magnitudes in units of the slice's own quantile
            (:data:`medscore.datasets.collections.slices.FULL`).
        quantity: "HU" for CT, "magnitude" for MR.
        classes: names of the contrasts that slices are labelled with.
        contrast: contrast of all slices; None for what archives state of each in ``contrast``.
        pixel_mm: pixel size of archives that do not state theirs; None refuses them.
    """

    limits: tuple[float, float]
    quantity: Quantity = "HU"
    classes: tuple[str, ...] = ()
    contrast: str | None = None
    pixel_mm: float | None = None


class _Read(NamedTuple):
    """A slice in the unit of its file, its pixel size, the distances of rows and of columns, and
    what is known of it."""

    values: NDArray[Any]
    pixel_mm: float
    sides_mm: tuple[float, float]
    patient: str
    contrast: str | None = None


def load_native_slices(patterns: Sequence[str], root: Path, reading: Reading) -> NativeSlices:
    """Load every axial slice of the matching files, mapped from the limits to [0, 1].

    CT is clipped to that range. Each magnitude slice is divided by its own quantile, as
    :func:`medscore.datasets.collections.slices.load_slices` does; slices that are mostly air are
    left out. Magnitudes with pixels that are up to 25 % longer than wide are averaged along the
    shorter side until they are square.

    Args:
        patterns: see :func:`medscore.datasets.collections.sources.find_images`.
        root: data folder.
        reading: what the values are.

    Raises:
        MedscoreError: no file matches, a file is unreadable or has pixels that are not square,
            values do not fit the quantity, or no slice has content.
    """
    slices, patients = list[NativeSlice](), list[str]()
    for images in find_images(patterns, root):
        path = images.files[0]
        if is_archive(path):
            parts = list(_archive(path, reading))
        else:
            parts = list(_volumes(images.files, images.patient, MODALITY[reading.quantity]))
        made = [_in_range(part, reading, path) for part in parts]
        if reading.quantity == "magnitude":
            made = _in_own_units(made, [part.patient for part in parts])
        for part, (image, pixel) in zip(parts, made, strict=True):
            if float(image.std()) >= CONTENT:
                label = class_number(reading.contrast or part.contrast, reading.classes)
                slices.append(NativeSlice(image.half(), pixel, label))
                patients.append(part.patient)
    if not slices:
        raise MedscoreError("no slice has content", where=root, hint="check the data")
    return NativeSlices(slices, tuple(patients))


def _in_range(part: _Read, reading: Reading, path: Path) -> tuple[Tensor, float]:
    """A slice mapped from the limits to [0, 1], with square pixels, and their size."""
    low, high = reading.limits
    scaled = torch.from_numpy((part.values.astype(np.float32) - low) / (high - low))
    if reading.quantity == "HU":
        check_square(part.sides_mm, path, SQUARE)
        return scaled.clamp(0, 1), part.pixel_mm
    if not np.isfinite(part.values).all():
        raise MedscoreError("NaN or infinity", where=path, hint="correct the file")
    if part.values.min() < 0:
        raise MedscoreError(
            f"the lowest value is {part.values.min():g}, but magnitudes are not negative",
            where=path,
            hint="if this is CT, set `quantity` to HU in the recipe",
        )
    check_square(part.sides_mm, path, NEARLY)
    return squared(scaled.clamp_min(0), part.sides_mm), max(part.sides_mm)


def _in_own_units(
    images: Sequence[tuple[Tensor, float]], patients: Sequence[str]
) -> list[tuple[Tensor, float]]:
    """Each slice divided by its own quantile; zero if this is small for the patient's slices."""
    full = [float(torch.quantile(image.flatten(), FULL)) for image, _ in images]
    strongest = dict[str, float]()
    for patient, value in zip(patients, full, strict=True):
        strongest[patient] = max(strongest.get(patient, 0.0), value)
    units = [
        math.inf if value <= FAINT * strongest[patient] else value
        for patient, value in zip(patients, full, strict=True)
    ]
    return [(image / unit, pixel) for (image, pixel), unit in zip(images, units, strict=True)]


def squared(image: Tensor, sides_mm: tuple[float, float]) -> Tensor:
    """An image with square pixels, by area means along the axis with the shorter sides.

    Args:
        image: (H, W).
        sides_mm: distances of the rows and of the columns in mm.
    """
    down, across = sides_mm
    if abs(down / across - 1) <= SQUARE:
        return image
    axis = 0 if down < across else 1
    factor = max(sides_mm) / min(sides_mm)
    length = image.shape[axis]
    count = max(1, int(length / factor))
    used, weights = area_means(length, (length - count * factor) / 2, factor, count)
    return weights @ image[used] if axis == 0 else image[:, used] @ weights.T


def _archive(path: Path, reading: Reading) -> Iterator[_Read]:
    key = "hu" if reading.quantity == "HU" else "image"
    hint = f"use an archive with `{key}`, `patient` and `pixel_spacing_mm`"
    with open_npz(path, "slices", hint) as archive:
        images, patients = archive[key], archive["patient"]
        if "pixel_spacing_mm" in archive or reading.pixel_mm is None:
            spacing = np.asarray(archive["pixel_spacing_mm"], dtype=np.float64)
        else:
            spacing = np.full(len(images), reading.pixel_mm)
        pairs = spacing if spacing.ndim == 2 else np.stack([spacing, spacing], axis=1)
        contrasts: list[str | None] = [None] * len(images)
        if "contrast" in archive:
            contrasts = [str(name) for name in archive["contrast"]]
        for values, (down, across), patient, contrast in zip(
            images, pairs.tolist(), patients, contrasts, strict=True
        ):
            yield _Read(values, down, (down, across), str(patient), contrast)


def _volumes(files: Sequence[Path], patient: str, modality: str) -> Iterator[_Read]:
    for volume in read_scan(files, modality=modality):
        across, down, _ = volume.spacing
        for values in volume.values:
            yield _Read(values, across, (down, across), patient)


def check_square(sides: tuple[float, float], path: Path, most: float) -> None:
    """Refuse pixels that are not square.

    Args:
        sides: distances of the rows and of the columns in mm.
        path: the file.
        most: largest deviation from 1 of their ratio.

    Raises:
        MedscoreError: the ratio deviates more.
    """
    if max(sides) / min(sides) - 1 > most:
        raise MedscoreError(
            f"pixels of {sides[0]:g} x {sides[1]:g} mm are not square",
            where=path,
            hint="resample the slices to square pixels",
        )
