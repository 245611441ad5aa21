"""Axial CT slices at their own matrix and pixel size, from archives and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medscore.datasets.collections.archives import is_archive
from medscore.datasets.collections.crops import NativeSlice
from medscore.datasets.collections.slices import CONTENT
from medscore.datasets.collections.sources import find_images
from medscore.datasets.load import read_scan
from medscore.errors import MedscoreError
from medscore.io.numpy_files import open_npz


@dataclass(frozen=True)
class NativeSlices:
    """Slices at their own matrices, and the patient of each.

    Attributes:
        slices: the slices.
        patients: the patient of each slice.
    """

    slices: list[NativeSlice]
    patients: tuple[str, ...]


def load_native_slices(
    patterns: Sequence[str], root: Path, limits: tuple[float, float]
) -> NativeSlices:
    """Load every axial slice of the matching files, mapped from the limits to [0, 1] and clipped.

    Args:
        patterns: see :func:`medscore.datasets.collections.sources.find_images`.
        root: data folder.
        limits: CT numbers in HU that become 0 and 1.

    Raises:
        MedscoreError: no file matches, a file is unreadable or has pixels that are not square, or
            no slice has content.
    """
    low, high = limits
    slices, patients = list[NativeSlice](), list[str]()
    for images in find_images(patterns, root):
        path = images.files[0]
        parts = _archive(path) if is_archive(path) else _volumes(images.files, images.patient)
        for values, pixel, patient in parts:
            scaled = torch.from_numpy((values.astype(np.float32) - low) / (high - low)).clamp(0, 1)
            if float(scaled.std()) >= CONTENT:
                slices.append(NativeSlice(scaled.half(), pixel))
                patients.append(patient)
    if not slices:
        raise MedscoreError("no slice has content", where=root, hint="check the data")
    return NativeSlices(slices, tuple(patients))


def _archive(path: Path) -> list[tuple[np.ndarray, float, str]]:
    hint = "use an archive with `hu`, `patient` and `pixel_spacing_mm`"
    with open_npz(path, "slices", hint) as archive:
        spacing = np.asarray(archive["pixel_spacing_mm"], dtype=np.float64)
        pairs = spacing if spacing.ndim == 2 else np.stack([spacing, spacing], axis=1)
        found = []
        for values, pair, patient in zip(
            archive["hu"], pairs.tolist(), archive["patient"], strict=True
        ):
            _check_square(pair, path)
            found.append((values, pair[0], str(patient)))
    return found


def _volumes(files: Sequence[Path], patient: str) -> list[tuple[np.ndarray, float, str]]:
    found = []
    for volume in read_scan(files, modality="CT"):
        _check_square(volume.spacing[:2], files[0])
        found += [(values, volume.spacing[0], patient) for values in volume.values]
    return found


def _check_square(pair: Sequence[float], path: Path) -> None:
    if abs(pair[0] / pair[1] - 1) > 0.01:
        raise MedscoreError(
            f"pixels of {pair[0]:g} x {pair[1]:g} mm are not square",
            where=path,
            hint="resample the slices to square pixels",
        )
