"""The patterns that match the images of a folder, for messages and for new recipes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from medscore.datasets.dicom.form import is_dicom
from medscore.datasets.load import is_image
from medscore.errors import MedscoreError
from medscore.io.opening import is_regular

COLLECTED = (".npz", ".h5")
"""Endings of files of slices that are no scan of one patient."""

DOUBLE = (".nii.gz", ".nrrd.gz", ".mha.gz")
"""Endings of two parts."""

MOST = 20_000
"""Largest number of files of a folder that a message looks at."""


def image_files(folder: Path) -> Iterator[Path]:
    """The files of a folder and the folders in it that hold images, in the order of their names.

    Hidden files and folders are passed over.

    Args:
        folder: an existing folder.
    """
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_loop(Path(parent), name))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and holds_images(path):
                yield path


def patterns_of(files: Iterator[Path] | list[Path], folder: Path) -> Counter[str]:
    """How many of the files match each pattern, such as ``*/*.dcm``.

    Args:
        files: files below ``folder``.
        folder: the data folder.
    """
    return Counter(_pattern(path, folder) for path in files)


def no_match(pattern: str, folder: Path) -> MedscoreError:
    """The refusal of a pattern without a match, which says what the folder holds.

    Args:
        pattern: the pattern.
        folder: the data folder.
    """
    what = f"no file matches {pattern!r}"
    if not folder.is_dir():
        return MedscoreError(what, where=folder, hint="there is no such folder: check `data`")
    offered = patterns_of(islice(image_files(folder), MOST), folder).most_common(4)
    if offered:
        held = ", ".join(f"{count} of {one!r}" for one, count in offered)
        return MedscoreError(
            f"{what}; the folder holds these images: {held}", where=folder,
            hint=f"set `pattern` to {offered[0][0]!r}",
        )  # fmt: skip
    names = sorted(path.name for path in folder.iterdir())
    held = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return MedscoreError(
        f"{what}; the folder holds no image, only {held or 'nothing'}", where=folder,
        hint="check the data folder",
    )  # fmt: skip


def holds_images(path: Path) -> bool:
    """True if a file is an image, or an archive of images, by its first bytes or its name.

    Args:
        path: an existing file.
    """
    if path.suffix.lower() in COLLECTED:
        return is_regular(path)
    return path.name.upper() != "DICOMDIR" and is_image(path)


def _is_loop(parent: Path, name: str) -> bool:
    """True for a hidden folder, and for a link to a folder that it lies in."""
    path = parent / name
    return name.startswith(".") or (
        path.is_symlink()
        and f"{os.path.realpath(parent)}/".startswith(f"{os.path.realpath(path)}/")
    )


def _pattern(path: Path, folder: Path) -> str:
    parts, name = path.relative_to(folder).parts, path.name
    double = next((e for e in DOUBLE if name.lower().endswith(e)), None)
    ending = path.suffix if double is None else name[-len(double) :]
    if ending[1:].isdigit() or (is_dicom(path) and not ending.isascii()):
        ending = ""  # the last number of a UID is no ending
    return "/".join([*["*"] * (len(parts) - 1), f"*{ending}"])
