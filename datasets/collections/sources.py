"""The images that the patterns of a configuration name, grouped by scan, with their patients.

A pattern is of file or folder names below a data folder, names a public collection
(:mod:`medscore.datasets.collections.public`), or, as ``package:nilearn/datasets/data/*.nii.gz``,
names images that an installed Python package carries.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from medscore.datasets.collections.patients import dicom_origin
from medscore.datasets.collections.public import Images, collected, is_collection, stored_patient
from medscore.errors import MedscoreError

PACKAGE = "package:"
"""Prefix of the path of an image inside an installed Python package."""

NOT_DICOM = (
    ".nii", ".nii.gz", ".npz", ".h5", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".mat", ".zip",
)  # fmt: skip
"""Endings of the other files that the loaders read."""

log = logging.getLogger(__name__)


def find_images(patterns: Sequence[str], root: Path) -> list[Images]:
    """Find what the patterns name: one entry per scan, in the order of the patterns and names.

    A folder is one DICOM series; DICOM files that a pattern matches are grouped into their series.
    Patients of DICOM files are identified by the PatientID, those of NIfTI files by file name.

    Args:
        patterns: patterns of file names, collections or package files.
        root: data folder; glob characters in its own path have no meaning.

    Raises:
        MedscoreError: nothing matches, or a DICOM file is damaged.
    """
    return [images for pattern in patterns for images in _matching(pattern, root)]


def matching_paths(pattern: str, root: Path) -> list[Path]:
    """Files and folders below a folder that match a pattern, sorted; ``**`` matches any depth.

    Args:
        pattern: relative to ``root``, or absolute; a part that is the name of a file or folder
            means that one, even if it holds glob characters, as ``scan [1]`` does.
        root: folder; glob characters in its own path have no meaning.
    """
    escaped = _literal(pattern, root)
    return [root / hit for hit in sorted(glob.glob(escaped, root_dir=root, recursive=True))]


def log_notes(noted: Iterable[tuple[str, str]]) -> None:
    """Log the notes of the readers, one line for each distinct note.

    Args:
        noted: pairs of the name of a scan and a note on it.
    """
    scans: dict[str, list[str]] = {}
    for name, note in noted:
        scans.setdefault(note, []).append(name)
    for note, names in scans.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        log.warning("%s%s: %s", names[0], more, note)


def _literal(pattern: str, root: Path) -> str:
    """The pattern with those parts escaped, from the left, that are existing names."""
    parts, folder = list(Path(pattern).parts), root
    for index, part in enumerate(parts):
        folder = folder / part
        if not os.path.lexists(folder):
            break
        parts[index] = part if index == 0 and folder.anchor == part else glob.escape(part)
    return str(Path(*parts)) if parts else pattern


def _matching(pattern: str, root: Path) -> list[Images]:
    if is_collection(pattern):
        return [_identified(images) for images in collected(pattern, root)]
    folder, rest = root, pattern
    if pattern.startswith(PACKAGE):
        package, _, rest = pattern.removeprefix(PACKAGE).partition("/")
        if not package.isidentifier():  # the parents of a dotted name would be imported
            raise MedscoreError(
                f"`data` {pattern!r}: {package!r} is no package",
                hint=f"use {PACKAGE}NAME/FILES, such as {PACKAGE}nilearn/datasets/data/*.nii.gz",
            )
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MedscoreError(
                f"`data` {pattern!r}: there is no package {package}",
                hint=f"pip install {package}",
            )
        folder = Path(spec.origin).parent
    hits = matching_paths(rest, folder)
    if not hits:
        raise MedscoreError(
            f"no file matches {pattern!r}", where=folder, hint="check the data folder"
        )
    return _grouped(hits)


def _identified(images: Images) -> Images:
    """Replace the folder's name by the patient of the DICOM header."""
    first = images.files[0]
    origin = None if first.name.endswith(NOT_DICOM) else dicom_origin(first)
    return images if origin is None else replace(images, patient=origin.patient)


def _stem(name: str) -> str:
    """A file name without the ending of a format of volumes."""
    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in NOT_DICOM else name


def _grouped(paths: Sequence[Path]) -> list[Images]:
    """One entry for each folder, series and other file."""
    found: dict[Hashable, Images] = {}
    for path in paths:
        if path.suffix == ".h5":
            found[path] = Images(stored_patient(path), (path,), path.name)
            continue
        origin = None if path.name.endswith(NOT_DICOM) else dicom_origin(path)
        if origin is None:
            name = path.name.removesuffix(".gz").removesuffix(".nii")
            name = name if path.suffix in (".npz", ".zip") else _stem(name)
            found[path] = Images(name, (path,), name)
        elif path.is_dir():
            found[path] = Images(origin.patient, (path,), path.name)
        else:
            before = found.get(origin)
            files = (path,) if before is None else (*before.files, path)
            found[origin] = Images(origin.patient, files, path.parent.name)
    return list(found.values())
