"""What a folder of images holds, as far as a recipe needs to know it."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.collections.archives import is_archive, read_archive
from medscore.datasets.collections.offers import image_files, patterns_of
from medscore.datasets.collections.public import Images
from medscore.datasets.collections.sources import find_images, matching_paths
from medscore.datasets.collections.subjects import stem_of
from medscore.datasets.load import read_scan
from medscore.datasets.raw.fastmri import read_targets
from medscore.datasets.selection import WHOLE
from medscore.errors import MedscoreError
from medscore.io.numpy_files import open_npz

LABELS = 24
"""Whole non-negative values, this many different ones or fewer, are those of a label map."""


@dataclass(frozen=True)
class Scan:
    """A scan that can be trained on.

    Attributes:
        modality: CT or MR.
        matrix: rows and columns.
        spacing_mm: smallest and largest pixel spacing in mm; NaN where it is not recorded.
        values: smallest and largest value.
        file: the first file.
    """

    modality: str
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float]
    values: tuple[float, float]
    file: Path


@dataclass(frozen=True)
class Contents:
    """The scans of a folder.

    Attributes:
        patterns: patterns that match them.
        scans: scans that can be used, of one modality.
        unusable: number of scans that cannot be used, by the reason.
    """

    patterns: tuple[str, ...]
    scans: tuple[Scan, ...]
    unusable: Counter[str]

    @property
    def modality(self) -> str:
        """CT or MR."""
        return self.scans[0].modality

    @property
    def sides(self) -> list[int]:
        """The larger side of each scan in pixels, sorted."""
        return sorted(max(scan.matrix) for scan in self.scans)

    @property
    def side(self) -> int:
        """The median of the larger sides."""
        return self.sides[len(self.scans) // 2]

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Smallest and largest pixel spacing in mm; NaN if none is recorded."""
        known = [mm for scan in self.scans for mm in scan.spacing_mm if mm > 0]
        return (min(known), max(known)) if known else (float("nan"), float("nan"))

    @property
    def values(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return min(s.values[0] for s in self.scans), max(s.values[1] for s in self.scans)


def inspect_folder(
    folder: Path, *, patterns: Sequence[str] = (), modality: str | None = None
) -> Contents:
    """Read all images of a folder, and refuse it unless they can be trained on together.

    Args:
        folder: the data folder.
        patterns: patterns of the images; by default those that match all.
        modality: modality to use, "CT" or "MR"; needed if the folder holds both.

    Raises:
        MedscoreError: the folder does not exist, holds no image, none that can be used, or both
            modalities.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "there is no such folder"
        raise MedscoreError(what, where=folder, hint="give the folder of the images")
    own = tuple(patterns) or tuple(patterns_of(image_files(folder), folder))
    if not own:
        raise MedscoreError(
            "the folder holds no image that can be read", where=folder,
            hint="use DICOM, NIfTI or .npz files",
        )  # fmt: skip
    unusable, scans, labels = Counter[str](), list[Scan](), list[Path]()
    for images in find_images(own, folder, skip=True):
        try:
            scans.append(_scan(images, modality))
        except _LabelMapError:
            labels.append(images.files[0])
            unusable["it is a label map"] += 1
        except MedscoreError as error:
            unusable[error.what] += 1
    if not scans:
        reason, count = unusable.most_common(1)[0]
        raise MedscoreError(
            f"none of {sum(unusable.values())} scans can be used; {count}: {reason}",
            where=folder, hint="use axial CT or MR images",
        )  # fmt: skip
    found = Counter(scan.modality for scan in scans)
    if len(found) > 1:
        counted = " and ".join(f"{count} of {name}" for name, count in found.items())
        raise MedscoreError(
            f"the folder holds scans of two modalities, {counted}", where=folder,
            hint="set `modality` to CT or MR, or `pattern` to the files of one",
        )  # fmt: skip
    if labels and not patterns:
        own = _without(own, [scan.file for scan in scans], labels, folder)
    return Contents(own, tuple(scans), unusable)


class _LabelMapError(Exception):
    """The file holds labels of regions, no image."""


def _without(
    patterns: Sequence[str], images: Sequence[Path], labels: Sequence[Path], folder: Path
) -> tuple[str, ...]:
    """Narrower patterns, by the last word of the names, that match images and no label map.

    Raises:
        MedscoreError: there are none.
    """
    words = {path: re.findall(r"(?:^|[_\-. ])[^_\-. ]*$", stem_of(path.name))[0] for path in images}
    found = list[str]()
    for pattern in patterns:
        bad = {path for path in labels if path in set(matching_paths(pattern, folder))}
        if not bad:
            found.append(pattern)
            continue
        own = set(matching_paths(pattern, folder))
        head, _, last = pattern.rpartition("*")
        for word in dict.fromkeys(words[path] for path in images if path in own):
            narrow = f"{head}*{glob.escape(word)}{last}"
            if bad & set(matching_paths(narrow, folder)):
                raise MedscoreError(
                    f"{len(labels)} files are label maps, such as {labels[0].name}, and their "
                    "names do not differ from those of the images by their last word",
                    where=folder, hint="set `pattern` to the images",
                )  # fmt: skip
            found.append(narrow)
    return tuple(found)


def _scan(images: Images, modality: str | None) -> Scan:
    path = images.files[0]
    if is_archive(path):
        with open_npz(path, "slices") as archive:
            kind = "CT" if "hu" in archive else "MR"
        values, mm, _ = read_archive(path)
        ends = float(mm.min()), float(mm.max())
        return _described(_wanted(kind, modality), values, ends, path)
    if path.suffix == ".h5":
        values, spacing = read_targets(path)
        return _described(_wanted("MR", modality), values, (spacing, spacing), path)
    volumes = read_scan(images.files, modality=modality, **asdict(WHOLE))
    if all(volume.source.kind == "nifti" and _is_labels(volume.values) for volume in volumes):
        raise _LabelMapError
    parts = [
        _described(volume.modality, volume.values, (min(s := volume.spacing[:2]), max(s)), path)
        for volume in volumes
    ]
    if len({part.matrix for part in parts}) > 1:
        raise MedscoreError("slices differ in size")
    first = parts[0]
    low, high = (f(part.values[i] for part in parts) for i, f in ((0, min), (1, max)))
    if first.modality == "MR" and low < 0:
        raise MedscoreError("magnitudes are not negative")
    return replace(first, values=(low, high))


def _is_labels(values: NDArray[np.float32]) -> bool:
    if values.min() < 0 or not np.array_equal(values, np.round(values)):
        return False
    return len(np.unique(values)) <= LABELS


def _wanted(kind: str, modality: str | None) -> str:
    if modality not in (None, kind):
        raise MedscoreError(f"holds {kind} images, {modality} is wanted")
    return kind


def _described(
    modality: str, values: NDArray[np.float32], spacing_mm: tuple[float, float], path: Path
) -> Scan:
    rows, columns = values.shape[-2:]
    ends = float(values.min()), float(values.max())
    return Scan(modality, (rows, columns), (float(spacing_mm[0]), float(spacing_mm[1])), ends, path)
