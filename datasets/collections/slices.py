"""Training slices: axial CT or MR images from NIfTI volumes and NumPy archives, on one grid."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from monai.data.dataset import CacheDataset
from monai.transforms.transform import Transform
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medscore.datasets.collections.public import Images, collected, is_collection
from medscore.datasets.collections.slice_cache import SliceCache, Slices
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.nifti import read_nifti
from medscore.datasets.raw.fastmri import read_targets
from medscore.datasets.volume import Volume
from medscore.errors import MedscoreError, reading

Quantity = Literal["HU", "magnitude"]

FULL = 0.995
"""The quantile of a magnitude slice that becomes 1: its scanner's unit means nothing."""

FAINT = 0.25
"""A magnitude slice whose quantile is at most this share of its patient's largest is mostly air."""

CONTENT = 0.02
"""Slices whose values deviate less than this are left out."""


def load_slices(
    patterns: Sequence[str],
    *,
    root: Path,
    side: int,
    low: float,
    high: float,
    quantity: Quantity = "HU",
    cache: Path | None = None,
) -> Slices:
    """Every axial slice of the files that match, reduced to ``side`` by area mean.

    Patterns are of file names, or name a collection (:mod:`medscore.datasets.collections.public`).
    NIfTI files hold one patient's volume each; ``.npz`` archives hold ``hu`` or ``image``
    (n, H, W), ``patient`` (n,) and, if known, ``pixel_spacing_mm`` (n,). Values are mapped from
    [low, high] to [0, 1], and HU are clipped to it. Slices are padded to a square whose side is a
    multiple of ``side``; pixels that are not square are made so. Slices with next to no content are
    left out. MONAI's cache reads the files, several at a time.

    Args:
        cache: folder that keeps what was read (:mod:`medscore.datasets.collections.slice_cache`).

    Raises:
        MedscoreError: no file matches, a file is unreadable or smaller than ``side``, magnitudes
            are negative, or no slice has content.
    """
    kept = None if cache is None else SliceCache(cache, f"{side} {low} {high} {quantity}")
    read = _Read(side, low, high, quantity, kept)
    found = _matching(patterns, root)
    try:
        files = CacheDataset(found, read, num_workers=os.cpu_count(), progress=False)
    except RuntimeError as error:
        raise _innermost(error) from None  # MONAI wraps what the reader raises
    if kept is not None:
        kept.save()
    parts = [files[i] for i in range(len(files))]
    images = torch.cat([part.images for part in parts])
    if not len(images):
        raise MedscoreError(
            "no slice has content", where=root, hint="check the data and the range low..high"
        )
    return Slices(
        images,
        np.concatenate([part.spacing_mm for part in parts]),
        tuple(patient for part in parts for patient in part.patients),
    )


def _matching(patterns: Sequence[str], root: Path) -> list[Images]:
    found: list[Images] = []
    for pattern in patterns:
        if is_collection(pattern):
            found += collected(pattern, root)
            continue
        hits = sorted(glob.glob(str(root / pattern)))
        if not hits:
            raise MedscoreError(
                f"no file matches {pattern!r}", where=root, hint="check the data folder"
            )
        found += [Images(_stem(Path(hit)), (Path(hit),)) for hit in hits]
    return found


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None and not isinstance(error, MedscoreError):
        error = error.__cause__
    return error


@dataclass(frozen=True)
class _Read(Transform):  # what MONAI caches is a Transform without randomness
    """The slices of one patient's images that have content."""

    side: int
    low: float
    high: float
    quantity: Quantity
    cache: SliceCache | None = None

    def __call__(self, images: Images) -> Slices:
        if self.cache is None:
            return self.read(images)
        return self.cache.get(images.patient, images.files, lambda: self.read(images))

    def read(self, source: Images) -> Slices:
        """From its files."""
        path = source.files[0]
        values, spacing, names = _values(source)
        if self.quantity == "magnitude" and values.min() < 0:
            raise MedscoreError(
                f"holds {values.min():g}, magnitudes are not negative",
                where=path,
                hint="is it CT? then the recipe's quantity is HU",
            )
        scaled = (torch.from_numpy(values) - self.low) / (self.high - self.low)
        if self.quantity == "HU":
            scaled = scaled.clamp(0, 1)
        side = self.side
        square = _padded(scaled, side)
        if min(values.shape[1:]) < side // 2:
            raise MedscoreError(
                f"slices of {values.shape[1]}x{values.shape[2]} do not reduce to {side}x{side}",
                where=path,
                hint="larger slices are needed",
            )
        factor = square.shape[-1] // side
        images = functional.avg_pool2d(square[:, None], factor)[:, 0]
        if self.quantity == "magnitude":
            images = _in_own_units(images, names)
        kept = [i for i in range(len(images)) if float(images[i].std()) >= CONTENT]
        return Slices(images[kept].half(), spacing[kept] * factor, tuple(names[i] for i in kept))


def _values(source: Images) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str]]:
    """Values, pixel spacings and patients of its slices."""
    path = source.files[0]
    if path.suffix == ".npz":
        return read_archive(path)
    if path.suffix == ".h5":
        values, spacing = read_targets(path)
    elif path.name.endswith((".nii", ".nii.gz")):
        values, spacing = _square(read_nifti(path))
    else:
        parts = [_square(read_dicom(file)) for file in source.files]
        values = np.concatenate([part for part, _ in parts])
        return values, np.array([mm for _, mm in parts]), [source.patient] * len(parts)
    return values, np.full(len(values), spacing), [source.patient] * len(values)


def _padded(images: Tensor, side: int) -> Tensor:
    """Zeros around the slices, to the next square whose side is a multiple of ``side``."""
    height, width = images.shape[1:]
    target = -(-max(height, width) // side) * side
    top, left = (target - height) // 2, (target - width) // 2
    around = (left, target - width - left, top, target - height - top)
    return functional.pad(images, around)


def _in_own_units(images: Tensor, names: Sequence[str]) -> Tensor:
    """Each slice over its own quantile ``FULL``; blank where that is faint for its patient."""
    full = torch.quantile(images.flatten(1), FULL, dim=1)
    strongest: dict[str, float] = {}
    for name, value in zip(names, full.tolist(), strict=True):
        strongest[name] = max(strongest.get(name, 0.0), value)
    faint = full <= FAINT * torch.tensor([strongest[name] for name in names])
    unit = torch.where(faint, torch.inf, full)
    return images / unit[:, None, None]


def _square(volume: Volume) -> tuple[NDArray[np.float32], float]:
    """Slices as displayed, with square pixels, and these pixels' spacing."""
    column, row, _ = volume.spacing
    values = volume.values
    if not abs(column / row - 1) < 0.05:
        fine = min(column, row)
        shape = (round(values.shape[1] * row / fine), round(values.shape[2] * column / fine))
        made = functional.interpolate(torch.from_numpy(values)[:, None], shape, mode="bilinear")
        values, column = made[:, 0].numpy(), fine
    return values, column


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def read_archive(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str]]:
    """Images (n, H, W), pixel spacings in mm (n,), NaN where not said, and patients.

    Raises:
        MedscoreError: no such archive.
    """
    hint = "an archive with `hu` or `image`, and `patient`, is needed"
    with (
        reading("slices", path, hint),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        names = [str(name) for name in archive["patient"]]
        values = np.asarray(archive["hu" if "hu" in archive else "image"], dtype=np.float32)
        spacing = np.full(len(values), np.nan)
        if "pixel_spacing_mm" in archive:
            spacing = np.asarray(archive["pixel_spacing_mm"], dtype=np.float64)
        if values.ndim != 3 or spacing.shape != (len(values),) or len(names) != len(values):
            raise ValueError("images, spacings and patients differ in number")
        if not np.isfinite(values).all():
            raise ValueError("NaN or infinity")
    return values, spacing, names
