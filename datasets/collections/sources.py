"""The images that the patterns of a configuration name, grouped by scan, with their patients.

A pattern is of file or folder names below a data folder, names a public collection
(:mod:`medscore.datasets.collections.public`), or, as ``package:nilearn/datasets/data/*.nii.gz``,
names images that an installed Python package carries.
"""

from __future__ import annotations

import glob
import itertools
import logging
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from medscore.datasets.collections.offers import holds_images, no_match
from medscore.datasets.collections.patients import (
    Origin,
    dicom_origin,
    digest,
    merged,
    pseudonym,
)
from medscore.datasets.collections.public import Images, collected, is_collection, stored_patient
from medscore.datasets.collections.subjects import folder_of, stem_of, subject_of
from medscore.errors import MedscoreError
from medscore.io.opening import file_sha256, is_regular

PACKAGE = "package:"
"""Prefix of the path of an image inside an installed Python package."""

NOT_DICOM = (
    ".nii", ".nii.gz", ".npz", ".h5", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".mat", ".zip",
)  # fmt: skip
"""Endings of the other files that the loaders read."""

log = logging.getLogger(__name__)


def find_images(
    patterns: Sequence[str],
    root: Path,
    *,
    beside: Sequence[str] = (),
    series: str | None = None,
    skip: bool = False,
) -> list[Images]:
    """Find what the patterns name: one entry per scan, in the order of the patterns and names.

    A folder is one DICOM series; DICOM files that a pattern matches are grouped into their series.
    A file that several patterns match, or several links lead to, is read once. Patients are told
    apart by the PatientID of DICOM files, by ``patient_id`` of fastMRI files, and otherwise by the
    names of files and folders (:mod:`medscore.datasets.collections.subjects`). Without a PatientID
    the scans of one study, or of one patient's folder, are of one patient, and so are copies.

    Args:
        patterns: patterns of file names, collections or package files.
        root: data folder; glob characters in its own path have no meaning.
        beside: patterns of other scans, which are not returned, but may show that two scans of
            ``patterns`` are of one patient.
        series: DICOM series that is read of folders with several.
        skip: pass over files that hold no images.

    Raises:
        MedscoreError: nothing matches, or a DICOM file is damaged.
    """
    chosen = series, skip
    found = [images for pattern in patterns for images in _matching(pattern, root, *chosen)]
    others = [images for pattern in beside for images in _matching(pattern, root, *chosen)]
    names = merged(_keys([*found, *others]))
    named = [replace(images, patient=name) for images, name in zip(found, names, strict=False)]
    return _once(named)


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


def _matching(pattern: str, root: Path, series: str | None, skip: bool) -> list[Images]:
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
    if skip:
        hits = [hit for hit in hits if hit.is_dir() or holds_images(hit)]
    if not hits:
        raise no_match(pattern, folder)
    above = {parent for hit in hits for parent in hit.parents}
    hits = [hit for hit in hits if hit not in above]
    return _grouped(hits, _start(rest, folder), series)


def _start(pattern: str, root: Path) -> Path:
    """The folder below which names of files and folders may tell patients apart."""
    parts = Path(pattern).parts
    if not Path(pattern).is_absolute() and ".." not in parts:
        return root
    literal = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts[:-1]))
    return root.joinpath(*literal)


def _identified(images: Images) -> Images:
    """Replace the archive's name of a patient by that of the header, or by its pseudonym."""
    first = images.files[0]
    if first.suffix == ".h5":
        return replace(images, patient=pseudonym(stored_patient(first)))
    origin = None if first.name.lower().endswith(NOT_DICOM) else dicom_origin(first)
    patient = None if origin is None else origin.patient
    return replace(images, patient=patient or images.patient)


def _grouped(paths: Sequence[Path], root: Path, wanted: str | None) -> list[Images]:
    """One entry for each folder, series and other file."""
    found: dict[Hashable, Images] = {}
    for path in paths:
        if path.suffix == ".h5":
            found[path] = Images(pseudonym(stored_patient(path)), (path,), path.name)
            continue
        origin = None if path.name.lower().endswith(NOT_DICOM) else dicom_origin(path, wanted)
        if origin is None:
            patient = subject_of(path, root)
            found[path] = Images(patient, (path,), stem_of(path.name), copies=True)
            continue
        series: Hashable = origin if origin.series else (origin, path.parent)
        key = path if path.is_dir() else series
        if key not in found:
            working = os.path.realpath(path.parent) == str(Path.cwd())  # which names nobody
            name = stem_of(path.name) if path.is_dir() or working else path.parent.name
            found[key] = _of_series(origin, path, name, root)
        else:
            found[key] = replace(found[key], files=(*found[key].files, path))
    return list(found.values())


def _keys(found: Sequence[Images]) -> list[tuple[str, ...]]:
    """What tells the patient of each scan; for files that may be copies of others, their hash."""
    own = [images.files[0] for images in found if images.copies and is_regular(images.files[0])]
    sizes = Counter(
        file.stat().st_size for file in {os.path.realpath(file): file for file in own}.values()
    )
    twice = {file: file_sha256(file) for file in set(own) if sizes[file.stat().st_size] > 1}
    return [
        (
            images.patient,
            pseudonym(images.patient),
            *images.keys,
            *(f"file {twice[file]}" for file in images.files if images.copies and file in twice),
        )
        for images in found
    ]


def _of_series(origin: Origin, path: Path, name: str, root: Path) -> Images:
    """A DICOM series; without a PatientID its study and its folder tell the patient."""
    folder = path if path.is_dir() and path != root else folder_of(path, root)
    place = None if folder is None else pseudonym(subject_of(folder / "image.dcm", root))
    known = origin.patient or origin.study or place or digest(str(path.parent))
    keys = () if origin.patient else (origin.study, place)
    return Images(known, (path,), name, keys=tuple(key for key in keys if key))


def _once(found: Sequence[Images]) -> list[Images]:
    """Every file once, by what its path leads to; scans that lose all their files are left out."""
    seen: set[str] = set()
    kept = []
    for images in found:
        own: dict[str, Path] = {}
        for file in images.files:
            if (real := os.path.realpath(file)) not in seen:  # of a loop too
                own.setdefault(real, file)
        seen |= own.keys()
        if own:
            kept.append(replace(images, files=tuple(own.values())))
    return kept
