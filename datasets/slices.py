"""Training slices: axial CT images in HU from NIfTI volumes and NumPy archives, on one grid."""

from __future__ import annotations

import glob
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medscore.errors import MedscoreError

_UNREADABLE = (
    OSError, EOFError, KeyError, ValueError, zlib.error, zipfile.BadZipFile, ImageFileError
)  # fmt: skip


@dataclass(frozen=True)
class Slices:
    """Axial slices in the network's range.

    Attributes:
        images: (n, side, side) float16 in [0, 1].
        spacing_mm: (n,) pixel spacing after reduction to ``side``.
        patients: the patient of each slice.
    """

    images: Tensor
    spacing_mm: NDArray[np.float64]
    patients: tuple[str, ...]


def load_slices(
    patterns: Sequence[str], *, root: Path, side: int, low: float, high: float
) -> Slices:
    """Every axial slice of the files that match, reduced to ``side`` by area mean.

    NIfTI files hold one patient's volume each; ``.npz`` archives hold ``hu`` (n, H, W),
    ``pixel_spacing_mm`` (n,) and ``patient`` (n,). Values are mapped from [low, high] to [0, 1]
    and clipped; slices with next to no content (standard deviation below 0.02) are left out.

    Raises:
        MedscoreError: no file matches, a file is unreadable, a slice is not square or its side is
            not a multiple of ``side``, or no slice has content.
    """
    images: list[Tensor] = []
    spacings: list[float] = []
    patients: list[str] = []
    for path in _matching(patterns, root):
        volume, spacing, names = _read(path)
        height, width = volume.shape[1:]
        if height != width or height % side:
            raise MedscoreError(
                f"slices of {height}x{width} do not reduce to {side}x{side}",
                where=path,
                mend=f"square slices whose side is a multiple of {side} are needed",
            )
        factor = height // side
        scaled = ((torch.from_numpy(volume) - low) / (high - low)).clamp(0, 1)
        reduced = functional.avg_pool2d(scaled[:, None], factor)[:, 0]
        for image, mm, name in zip(reduced, spacing, names, strict=True):
            if image.std() >= 0.02:
                images.append(image.half())
                spacings.append(float(mm) * factor)
                patients.append(name)
    if not images:
        raise MedscoreError(
            "no slice has content", where=root, mend="check the data and the range low..high"
        )
    return Slices(torch.stack(images), np.array(spacings), tuple(patients))


def augment(images: Tensor, generator: torch.Generator, *, zoom: tuple[float, float]) -> Tensor:
    """Mirror left-right half of the time; turn, zoom and shift half of the time.

    Args:
        images: (batch, channel, 2 n, 2 n) in [0, 1], 0 being air, which fills in from outside.
        zoom: range of the magnification (log-uniform).

    Returns:
        (batch, channel, n, n): the 2 x 2 block mean, taken last, so that a turned image has the
        texture of an unturned one.
    """
    batch = len(images)
    flip, moved, size, angle, dx, dy = torch.rand(6, batch, generator=generator)
    low, high = torch.log(torch.tensor(zoom))
    scale = torch.where(moved < 0.5, torch.exp(-(low + (high - low) * size)), torch.ones(()))
    angle = torch.where(moved < 0.5, (angle - 0.5) * 0.35, torch.zeros(()))
    shift = torch.where(moved < 0.5, torch.stack([dx, dy]) - 0.5, torch.zeros(())) * 0.3
    mirror = torch.where(flip < 0.5, 1.0, -1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([cos * mirror, -sin, shift[0], sin * mirror, cos, shift[1]], dim=1)
    grid = functional.affine_grid(rows.view(batch, 2, 3), list(images.shape), align_corners=False)
    turned = functional.grid_sample(images.float(), grid, align_corners=False)
    return functional.avg_pool2d(turned, 2)


def _matching(patterns: Sequence[str], root: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        hits = sorted(glob.glob(str(root / pattern)))
        if not hits:
            raise MedscoreError(
                f"no file matches {pattern!r}", where=root, mend="check the data folder"
            )
        found += [Path(hit) for hit in hits]
    return found


def _read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str]]:
    try:
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                names = [str(name) for name in archive["patient"]]
                volume = np.asarray(archive["hu"], dtype=np.float32)
                spacing = np.asarray(archive["pixel_spacing_mm"], dtype=np.float64)
        else:
            image = nib.as_closest_canonical(nib.load(path))
            data = np.asarray(image.dataobj, dtype=np.float32)
            volume = data.transpose(2, 1, 0)[:, ::-1].copy()
            spacing = np.full(len(volume), float(image.header.get_zooms()[0]))
            names = [path.name.removesuffix(".nii.gz").removesuffix(".nii")] * len(volume)
        if volume.ndim != 3 or spacing.shape != (len(volume),) or len(names) != len(volume):
            raise ValueError("images, spacings and patients differ in number")
        if not np.isfinite(volume).all():
            raise ValueError("NaN or infinity")
        return volume, spacing, names
    except _UNREADABLE as error:
        raise MedscoreError(
            f"cannot be read as slices ({error})", where=path, mend="NIfTI or .npz is needed"
        ) from error
