"""Images from files, converted to the range and size of a prior."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from medscore.datasets.collections.cohort import Case, equally_spaced, read_cohort, short
from medscore.datasets.collections.pictures import load_pictures
from medscore.datasets.fit import Fit, fitted
from medscore.datasets.selection import selection
from medscore.datasets.volume import Volume
from medscore.errors import MedscoreError
from medscore.io.numpy_files import open_npz
from medscore.io.opening import file_sha256, is_regular, is_there
from medscore.likelihood.image_set import ImageSet
from medscore.likelihood.typicality import network_range
from medscore.measurements.fitting import fit_note, fit_to, pixel_text
from medscore.priors.contract import DataContract
from medscore.registry.checks import check_ranges

SAMPLES = "samples.npz"
"""The array file in a folder of generated images: HU under ``hu``, other values under ``image``."""

Files = str | Path | Sequence[str | Path]
"""One file, folder or pattern, or several."""


def read_images(
    files: Files,
    contract: DataContract,
    *,
    size: int | None = None,
    spacing_mm: float | None = None,
    accept: str | Sequence[str] = (),
    limit: int | None = None,
    own_grid: bool = False,
) -> ImageSet:
    """Read images, fit them to the prior's grid and convert them to its range.

    Images for a prior for any matrix keep theirs if the prior knows their pixel size.

    CT and MR images are DICOM files or folders, NIfTI files and NumPy archives; others are files
    that PIL reads, folders of them, and NumPy arrays. A folder written by ``medscore generate``
    provides its samples unchanged.

    Args:
        files: files, folders or glob patterns.
        contract: data contract of the prior.
        size: side of the images in pixels; the prior's by default.
        spacing_mm: pixel size in mm, for archives of CT or MR images that do not record it.
        accept: kinds of images that are used all the same; see
            :func:`~medscore.datasets.load.load_image`.
        limit: maximum number of images, which are then equally spaced among all.
        own_grid: whether CT and MR images keep their matrix and pixel spacing.

    Raises:
        MedscoreError: a parameter is out of range, the prior's quantity cannot be read from files,
            or a file does not hold images that fit the prior.
    """
    if contract.quantity not in ("HU", "magnitude", "grey", "colour"):
        raise MedscoreError(
            f"prior {contract.name} is of {contract.quantity} images",
            hint="use a prior of CT images, MR magnitudes or natural images",
        )
    check_limit(limit)
    side, paths = size or contract.size, as_paths(files)
    if not paths:
        raise MedscoreError("no image files are given", hint="give one or more")
    parts = [_samples(path / SAMPLES, contract, side) for path in paths if _is_generated(path)]
    rest = [path for path in paths if not _is_generated(path)]
    if rest and contract.modality == "picture":
        if spacing_mm is not None or accept:
            name = "accept" if spacing_mm is None else "spacing_mm"
            raise MedscoreError(f"`{name}` applies to CT and MR images", hint="leave it out")
        parts.append(_pictures(rest, contract, size or contract.side))
    elif rest:
        parts.append(_slices(rest, contract, side, spacing_mm, accept, own_grid=own_grid))
    images, pixels, names, patients, labels, groups, notes = (
        tuple(one for part in parts for one in getattr(part, name))
        for name in ("images", "pixel_mm", "names", "patients", "labels", "groups", "notes")
    )
    found = ImageSet(images, names, patients, labels, groups, notes, pixels)
    return found.select(equally_spaced(len(found.images), limit))


def at_samples(folder: Path, contract: DataContract) -> DataContract:
    """The contract of a prior for the one grid of generated images.

    Args:
        folder: a folder written by ``medscore generate``, or other files.
        contract: data contract of the prior; that of a prior of one size is returned as it is.

    Raises:
        MedscoreError: the folder does not hold images of the prior.
    """
    if contract.size is not None or not _is_generated(folder):
        return contract.at()
    found = _samples(folder / SAMPLES, contract, None).grids[0]
    return contract.at(found.shape[0], found.pixel_mm)


def label_of(file: Path) -> str:
    """What outputs call a file: the start of the hash of its content.

    Args:
        file: an existing file.
    """
    return short(file_sha256(file))


def as_paths(files: Files) -> list[Path]:
    """A list of paths.

    Args:
        files: one path or several.
    """
    return [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]


def check_limit(limit: int | None) -> None:
    """Reject a ``limit`` that leaves no image.

    Args:
        limit: maximum number of images; None for all.

    Raises:
        MedscoreError: it is below 1.
    """
    check_ranges(("limit", 1 if limit is None else limit, 1, 10**9))


def pattern_of(file: Path) -> str:
    """A glob pattern that matches an existing file literally; other paths are patterns themselves.

    Args:
        file: a file or a pattern.
    """
    path = str(file.absolute())
    return glob.escape(path) if is_there(file) else path


def _is_generated(folder: Path) -> bool:
    return is_regular(folder / SAMPLES)


def _pictures(files: Sequence[Path], contract: DataContract, side: int) -> ImageSet:
    patterns = [f"{pattern_of(file)}/**/*" if file.is_dir() else pattern_of(file) for file in files]
    white = None if contract.high == 1 else contract.high
    colour = contract.quantity == "colour"
    found = load_pictures(patterns, root=Path("/"), size=side, colour=colour, white=white)
    of_file = {file: label_of(file) for file in dict.fromkeys(found.files)}
    labels = tuple(
        f"{of_file[file]}#{name.rpartition('#')[2]}"
        for file, name in zip(found.files, found.names, strict=True)
    )
    unknown = ("",) * len(labels)
    return ImageSet(tuple(found.images), found.names, unknown, labels, unknown)


def _slices(
    files: Sequence[Path],
    contract: DataContract,
    side: int | None,
    spacing_mm: float | None,
    accept: str | Sequence[str],
    *,
    own_grid: bool,
) -> ImageSet:
    if spacing_mm is not None:
        check_ranges(("spacing_mm", spacing_mm, 1e-3, 100))
    (low, high), notes = contract.spacing_mm, list[str]()

    def on_fit(volume: Volume, fit: Fit) -> None:
        notes.append(fit_note(volume, fit, contract.name))

    scale = 1.0 if contract.size is None or side is None else contract.size / side
    cases = read_cohort(
        [pattern_of(file) for file in files], root=Path.cwd(), modality=contract.modality,
        size=None if own_grid else side, spacing_mm=spacing_mm, chosen=selection(accept=accept),
        pixel_mm=(low * scale, high * scale), on_fit=on_fit,
    )  # fmt: skip
    if own_grid:
        notes += [note for case in cases for note in _outside(case.volume, contract)]
    elif side is None:
        cases = [_on_known_pixels(case, contract, on_fit) for case in cases]
    shapes = sorted({case.volume.values.shape[1:] for case in cases})
    if len(shapes) > 1 and contract.size is not None:
        raise MedscoreError(
            f"`allow_mismatch`: the images have {shapes[0]} and {shapes[-1]} pixels",
            hint="give images of one matrix size, or leave it out",
        )
    pixels = (case.volume.spacing[0] for case in cases) if contract.network.context else ()
    return ImageSet(
        tuple(image for case in cases for image in network_range(case.volume.values, contract)),
        tuple(case.file for case in cases),
        tuple(case.patient for case in cases),
        tuple(case.label for case in cases),
        tuple(case.group for case in cases),
        tuple(dict.fromkeys(notes)),
        tuple(pixels),
    )


def _on_known_pixels(
    case: Case, contract: DataContract, on_fit: Callable[[Volume, Fit], None]
) -> Case:
    """A slice on its own grid, or on one with square pixels of a size that the prior knows."""
    volume = case.volume
    found = fit_to(contract, volume.values.shape[1:], volume.spacing[:2])
    if found is None:
        return case
    on_fit(volume, found)
    return replace(case, volume=fitted(volume, found))


def _outside(volume: Volume, contract: DataContract) -> list[str]:
    """That an image is not on a grid of the prior's domain, if so."""
    (rows, columns), (x, y, _) = volume.values.shape[1:], volume.spacing
    if fit_to(contract, (rows, columns), (x, y)) is None:
        return []
    return [
        f"{columns} x {rows} pixels of {pixel_text(x, y)} are outside the domain of prior "
        f"{contract.name}: it is used all the same"
    ]


def _samples(file: Path, contract: DataContract, side: int | None) -> ImageSet:
    """Generated images as they were drawn: values outside the prior's range are kept."""
    key = "hu" if contract.quantity == "HU" else "image"
    size = contract.size or "H, W"
    sides = (size, size) if contract.size else (size,)
    shape = sides if contract.channels == 1 else (*sides, contract.channels)
    hint = f"`{key}` (n, {', '.join(map(str, shape))}) is needed for prior {contract.name}"
    pixels: tuple[float, ...] = ()
    with open_npz(file, "samples", hint) as archive:
        values = np.asarray(archive[key], dtype=np.float32)
        fits = values.shape[1:] == shape if contract.size else values.ndim == 3
        if not fits or not np.isfinite(values).all():
            raise ValueError(f"images of shape {values.shape[1:]}, or NaN")
        if not len(values):
            raise ValueError("there are no images")
        if contract.network.context:
            found = np.asarray(archive["pixel_spacing_mm"], dtype=np.float64)
            if found.shape != (len(values),) or not ((found > 1e-3) & (found < 100)).all():
                raise ValueError(f"pixel_spacing_mm holds no {len(values)} sizes of pixels in mm")
            pixels = tuple(found.tolist())
    x = (torch.from_numpy(values) - contract.low) / contract.scale
    x = x[:, None] if contract.channels == 1 else x.permute(0, 3, 1, 2)
    if contract.size and side:
        x = torch.nn.functional.avg_pool2d(x, contract.size // side)
    names = tuple(f"{file.parent.name}#{i}" for i in range(len(x)))
    label, unknown = label_of(file), ("",) * len(x)
    labels = tuple(f"{label}#{i}" for i in range(len(x)))
    return ImageSet(tuple(x.contiguous()), names, unknown, labels, unknown, (), pixels)
