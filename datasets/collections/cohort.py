"""Slices to judge reconstructions on, from whatever a data folder holds, with their patients."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from medscore.datasets.collections.public import Images, collected, is_collection
from medscore.datasets.collections.slices import CONTENT, read_archive
from medscore.datasets.load import clean, load_image
from medscore.datasets.volume import AIR, Source, Volume, centred_affine, require
from medscore.errors import MedscoreError

PACKAGE = "package:"
"""Before the path of an image that ships inside an installed Python package."""


@dataclass(frozen=True)
class Case:
    """One slice.

    Attributes:
        name: of its file and place in it. patient: whose it is. volume: of one slice (1, H, W).
    """

    name: str
    patient: str
    volume: Volume

    @property
    def digest(self) -> str:
        """Of its values and pixel size."""
        found = hashlib.sha256(np.ascontiguousarray(self.volume.values).data)
        found.update(repr(self.volume.spacing[:2]).encode())
        return found.hexdigest()


def read_cohort(
    patterns: Sequence[str],
    *,
    root: Path,
    modality: str,
    size: int,
    spacing_mm: float | None = None,
    limit: int | None = None,
) -> list[Case]:
    """Every slice of the files that match, reduced to ``size``, but those with next to no content.

    Patterns are of file names below ``root`` (DICOM files or folders, NIfTI, archives as
    :func:`~medscore.datasets.collections.slices.load_slices` reads), name a collection, or, as
    ``package:nilearn/datasets/data/*.nii.gz``, images that an installed package carries.

    Args:
        spacing_mm: of pixels as the files have them, where an archive does not say.
        limit: at most so many, equally spaced among all.

    Raises:
        MedscoreError: nothing matches, a file is no image of that modality, an archive whose pixel
            size nobody says, or no slice has content.
    """
    cases = [case for pattern in patterns for case in _cases(pattern, root, modality, size,
                                                             spacing_mm)]  # fmt: skip
    if not cases:
        raise MedscoreError("no slice has content", where=root, hint="check the data")
    return [cases[i] for i in equally_spaced(len(cases), limit)]


def equally_spaced(count: int, limit: int | None) -> list[int]:
    """Which of ``count`` images are taken where at most ``limit`` are wanted."""
    if limit is None or limit >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, limit).round()]


def _cases(
    pattern: str, root: Path, modality: str, size: int, spacing_mm: float | None
) -> list[Case]:
    cases = []
    for images in _matching(pattern, root):
        for path in images.files:
            if path.suffix == ".npz":
                parts = _archived(path, modality, spacing_mm)
            else:
                parts = [(images.patient, load_image(path))]
            for index, (patient, volume) in enumerate(parts):
                if len(parts) > 1 and np.ptp(volume.values) == 0:
                    continue
                reduced = clean(require(_square(volume, modality), modality, path), size, path)
                for number in range(len(reduced.values)):
                    one = reduced.select(number, number + 1)
                    if _has_content(one):
                        name = f"{_relative(path, root)}#{index + number}"
                        cases.append(Case(name, patient, one))
    return cases


def _matching(pattern: str, root: Path) -> list[Images]:
    if is_collection(pattern):
        return collected(pattern, root)
    folder, rest = root, pattern
    if pattern.startswith(PACKAGE):
        package, _, rest = pattern.removeprefix(PACKAGE).partition("/")
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MedscoreError(
                f"data {pattern!r}: no package {package}", hint=f"pip install {package}"
            )
        folder = Path(spec.origin).parent
    hits = sorted(glob.glob(str(folder / rest)))
    if not hits:
        raise MedscoreError(
            f"no file matches {pattern!r}", where=folder, hint="check the data folder"
        )
    return [Images(_patient(Path(hit)), (Path(hit),)) for hit in hits]


def _patient(path: Path) -> str:
    """A DICOM file's folder; else the name of file or folder."""
    if path.is_dir() or path.name.endswith((".nii", ".nii.gz")):
        return path.name.removesuffix(".gz").removesuffix(".nii")
    return path.parent.name


def _archived(path: Path, modality: str, spacing_mm: float | None) -> list[tuple[str, Volume]]:
    values, spacing, names = read_archive(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    volumes = []
    for image, mm, name in zip(values, spacing, names, strict=True):
        pixel = spacing_mm if np.isnan(mm) else float(mm)
        if pixel is None:
            raise MedscoreError(
                "holds no `pixel_spacing_mm`",
                where=path,
                hint="state spacing_mm beside the data, or --spacing-mm",
            )
        height, width = image.shape
        affine = centred_affine(height, width, (pixel, pixel, 1.0))
        volumes.append((name, Volume(image[None], affine, modality, Source("array", digest))))
    return volumes


def _square(volume: Volume, modality: str) -> Volume:
    """With air, or no signal, around the slices of a volume that are not square."""
    _, rows, columns = volume.values.shape
    if rows == columns:
        return volume
    side = max(rows, columns)
    top, left = (side - rows) // 2, (side - columns) // 2
    around = ((0, 0), (top, side - rows - top), (left, side - columns - left))
    fill = AIR if modality == "CT" else 0.0
    affine = volume.affine.copy()
    affine[:3, 3] -= left * affine[:3, 0] + top * affine[:3, 1]
    values = np.pad(volume.values, around, constant_values=fill)
    return replace(volume, values=values, affine=affine)


def _has_content(volume: Volume) -> bool:
    """As training slices must have: a deviation of 2 % of the range."""
    values = torch.from_numpy(volume.values)
    if volume.modality == "CT":
        return float((values.clamp(AIR, 1500) / 2500).std()) >= CONTENT
    return float(values.max()) > 0 and float(values.std()) >= CONTENT * float(values.max())


def _relative(path: Path, root: Path) -> str:
    """The path below ``root``; of a package's file the last two parts."""
    if path.is_relative_to(root):
        return str(path.relative_to(root))
    return "/".join(path.parts[-2:])
