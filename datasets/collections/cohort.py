"""The cohort of an evaluation: slices with content, their patients, on the grid to be compared."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from medscore.datasets.collections.archives import is_archive, read_archive
from medscore.datasets.collections.patients import pseudonym
from medscore.datasets.collections.public import Images
from medscore.datasets.collections.slices import CONTENT
from medscore.datasets.collections.sources import find_images, log_notes
from medscore.datasets.fit import Fit, fit, reduce
from medscore.datasets.formats.arrays import is_array_file
from medscore.datasets.load import read_scan, valid_image
from medscore.datasets.selection import WHOLE, Selection, refuse_choices
from medscore.datasets.volume import (
    AIR,
    Source,
    Volume,
    centred_affine,
)
from medscore.errors import MedscoreError
from medscore.io.opening import file_sha256


@dataclass(frozen=True)
class Case:
    """One slice of a cohort.

    Attributes:
        name: name of its file and its place in it, for messages.
        patient: readable name of its patient, for messages; it reveals no more than the file names
            do.
        volume: the slice, (1, H, W).
        label: what outputs call the slice: the start of its file's hash and its place in it, or the
            name that a public collection gives it.
        group: what outputs call its patient: the label of the patient's first scan.
        native: the slice in the matrix of its file, where it is wanted and ``volume`` has another.
    """

    name: str
    patient: str
    volume: Volume
    label: str
    group: str
    native: Volume | None = None

    @property
    def file(self) -> str:
        """The name of its file without folders, and its place in it."""
        return self.name.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """Hash of the values and the pixel spacing, and of those in the matrix of the file."""
        found = hashlib.sha256()
        for volume in (self.volume, *([] if self.native is None else [self.native])):
            found.update(np.ascontiguousarray(volume.values).data)
            found.update(repr(volume.spacing[:2]).encode())
        return found.hexdigest()


def read_cohort(
    patterns: Sequence[str],
    *,
    root: str | Path,
    modality: str,
    size: int | None,
    spacing_mm: float | None = None,
    chosen: Selection = WHOLE,
    limit: int | None = None,
    pixel_mm: tuple[float, float] | None = None,
    on_fit: Callable[[Volume, Fit], None] = lambda volume, fit: None,
    native: bool = False,
) -> list[Case]:
    """Read every slice with content of the matching files, on a grid of ``size`` x ``size`` pixels.

    DICOM and NIfTI files are read by :func:`medscore.datasets.load.read_scan`, archives by
    :func:`medscore.datasets.collections.archives.read_archive`. Slices that are not square are
    surrounded by air, or by zeros for MR.

    Args:
        patterns: see :func:`medscore.datasets.collections.sources.find_images`.
        root: data folder.
        modality: required modality, "CT" or "MR".
        size: pixels per side; ``None`` to leave the slices as they are.
        spacing_mm: pixel spacing in the files, for archives that do not record it.
        chosen: what is read of files that hold more than one image, and the kinds that are used.
        limit: largest number of slices, equally spaced among all.
        pixel_mm: smallest and largest pixel spacing of the grid in mm; by default any, but no more
            pixels than the slices have.
        on_fit: called with every scan that ``pixel_mm`` resamples, pads or crops, and its fit.
        native: whether to keep the slices in the matrix of their files too.

    Raises:
        MedscoreError: nothing matches, a file is not an image of that modality, the pixel spacing
            of an archive is unknown, or no slice has content.
    """
    root = Path(root)
    cases: list[Case] = []
    patients: list[str] = []
    labels = dict[str, str]()
    noted: list[tuple[str, str]] = []
    found = find_images(patterns, root, series=chosen.series)
    _check_spacing(found, spacing_mm)
    for images in found:
        for path, part in _parts(images, modality, spacing_mm, chosen):
            noted += [(images.name, note) for note in part.volume.source.notes]
            on_grid = _on_grid(part.volume, size, pixel_mm, path, on_fit)
            label = _readable(labels, str(path), part.label)
            for number in range(len(on_grid.values)):
                one = on_grid.select(number, number + 1)
                if _has_content(one):
                    place = f"#{part.first + number}"
                    name = _relative(path, root) + place
                    cases.append(Case(name, part.name, one, label + place, part.group))
                    patients.append(pseudonym(part.patient))
    cases = _with_patients(cases, patients)
    log_notes(dict.fromkeys(noted))
    if not cases:
        raise MedscoreError("no slice has content", where=root, hint="check the data")
    kept = [cases[i] for i in equally_spaced(len(cases), limit)]
    if not native:
        return kept
    read = (each for images in found for each in _parts(images, modality, spacing_mm, chosen))
    return _with_native(kept, read, labels)


def _with_native(
    cases: Sequence[Case], read: Iterable[tuple[Path, _Part]], labels: dict[str, str]
) -> list[Case]:
    """The slices with those of their files, which are read again, so that only these are kept."""
    own = dict[str, Volume]()
    wanted = {case.label: case.volume.values.shape for case in cases}
    for path, part in read:
        for number in range(len(part.volume.values)):
            label = f"{labels[str(path)]}#{part.first + number}"
            one = part.volume.select(number, number + 1)
            if label in wanted and one.values.shape != wanted[label]:
                own[label] = replace(one, values=one.values.copy())
    return [replace(case, native=own.get(case.label)) for case in cases]


def _with_patients(cases: Sequence[Case], patients: Sequence[str]) -> list[Case]:
    """The slices with one name and one group for each patient, those of the first slice."""
    names, groups = dict[str, str](), dict[str, str]()
    return [
        replace(
            case,
            patient=_readable(names, patient, case.patient),
            group=_readable(groups, patient, case.group),
        )
        for case, patient in zip(cases, patients, strict=True)
    ]


def equally_spaced(count: int, limit: int | None) -> list[int]:
    """Indices of at most ``limit`` equally spaced images among ``count``.

    Args:
        count: number of images.
        limit: largest number to select; all by default.
    """
    if limit is None or limit >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, limit).round()]


@dataclass(frozen=True)
class _Part:
    """Slices of one patient: the patient's key and readable name, what outputs call the scan and
    the patient, and the index of the first slice."""

    volume: Volume
    patient: str
    name: str
    label: str
    group: str
    first: int = 0


def _check_spacing(found: Sequence[Images], spacing_mm: float | None) -> None:
    """Refuse a spacing that no file needs."""
    if spacing_mm is None:
        return
    first = [images.files[0] for images in found]
    if any(is_array_file(path) and not is_archive(path) for path in first):
        return  # their reader says if it is not needed
    archives = [path for path in first if is_archive(path)]
    if not any(np.isnan(read_archive(path)[1]).any() for path in archives):
        raise MedscoreError(
            f"`spacing_mm` is {spacing_mm:g}, but every file states its pixel spacing",
            where=found[0].files[0], hint="leave it out",
        )  # fmt: skip


def _parts(
    images: Images, modality: str, spacing_mm: float | None, chosen: Selection
) -> list[tuple[Path, _Part]]:
    path = images.files[0]
    if is_archive(path):
        refuse_choices(chosen, path)
        return [(path, part) for part in _archived(path, modality, spacing_mm)]
    if spacing_mm is not None and is_array_file(path):
        chosen = replace(chosen, spacing=(spacing_mm,) * 3)
    volumes = read_scan(images.files, modality=modality, **asdict(chosen))
    found = []
    for path, volume in zip(images.files, volumes, strict=True):
        label = short(volume.source.sha256)
        group, label = images.public or (label, label)
        found.append((path, _Part(volume, images.patient, images.name, label, group)))
    return found


def short(sha256: str) -> str:
    """The start of a hash, which outputs state in place of a file name.

    Args:
        sha256: hash of a file in hexadecimal digits.
    """
    return sha256[:12]


def _readable(names: dict[str, str], key: str, name: str) -> str:
    """The first name found for a patient or file, numbered if another one has the same name."""
    if key not in names:
        numbered = itertools.chain([name], (f"{name} ({k})" for k in itertools.count(2)))
        names[key] = next(one for one in numbered if one not in names.values())
    return names[key]


def _archived(path: Path, modality: str, spacing_mm: float | None) -> list[_Part]:
    values, spacing, names = read_archive(path)
    digest = file_sha256(path)
    label, order = short(digest), list(dict.fromkeys(names))
    parts, lowest = [], float(values.min(initial=np.inf))
    for index, (image, mm, name) in enumerate(zip(values, spacing, names, strict=True)):
        pixel = spacing_mm if np.isnan(mm) else float(mm)
        if pixel is None:
            raise MedscoreError(
                "holds no `pixel_spacing_mm`",
                where=path,
                hint="set `spacing_mm`, the pixel spacing in mm",
            )
        if len(values) > 1 and np.ptp(image) == 0:
            continue
        height, width = image.shape
        affine = centred_affine(height, width, (pixel, pixel, 1.0))
        volume = Volume(image[None], affine, modality, Source("array", digest))
        volume = valid_image(volume, modality, path, lowest)
        group = f"{label}-{order.index(name) + 1}"
        parts.append(_Part(volume, name, name, label, group, index))
    return parts


def _on_grid(
    volume: Volume,
    size: int | None,
    pixel_mm: tuple[float, float] | None,
    where: Path,
    on_fit: Callable[[Volume, Fit], None],
) -> Volume:
    if size is None:
        return volume
    if pixel_mm is None:
        return reduce(volume, size, where)
    on_grid, found = fit(volume, size, pixel_mm)
    if not found.trivial:
        on_fit(volume, found)
    return on_grid


def _has_content(volume: Volume) -> bool:
    """As for training slices: a standard deviation of at least 2 % of the range."""
    values = torch.from_numpy(volume.values)
    if volume.modality == "CT":
        return float((values.clamp(AIR, 1500) / 2500).std()) >= CONTENT
    largest = float(values.max())
    return largest > 0 and float((values.double() / largest).std()) >= CONTENT


def _relative(path: Path, root: Path) -> str:
    """The path below ``root``; for a file of a package, its last two parts."""
    if path.is_relative_to(root):
        return str(path.relative_to(root))
    return "/".join(path.parts[-2:])
