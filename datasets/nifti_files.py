"""The files of a NIfTI or Analyze image: one, or a header ``.hdr`` with its voxels ``.img``."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage
from nibabel.spm99analyze import Spm99AnalyzeImage
from numpy.typing import NDArray

from medscore.errors import MedscoreError
from medscore.io.opening import file_sha256, is_regular, open_file, regular_file

SINGLE = (".nii", ".nii.gz")
"""Endings of files that hold header and voxels."""

PAIRS = ((".hdr", ".img"), (".hdr.gz", ".img.gz"))
"""Endings of files of a pair."""

_HEADERS = {(348).to_bytes(4, "little"), (348).to_bytes(4, "big"), (540).to_bytes(4, "little"),
            (540).to_bytes(4, "big")}  # fmt: skip
_LONGEST = 4096
_UNORIENTED = (
    "Analyze files state no orientation: axial slices with the patient's right at the left of the "
    "image are assumed"
)


def is_nifti(path: Path) -> bool:
    """True if a file is NIfTI by its name, or one of a pair by its name and the header's size.

    Args:
        path: any file.
    """
    low = path.name.lower()
    if low.endswith(SINGLE):
        return True
    pair = _pair(path)
    if pair is None or not is_regular(pair[0]):
        return False
    if low.endswith(".gz"):
        return True
    with open_file(pair[0]) as file:
        return file.read(4) in _HEADERS


@dataclass(frozen=True)
class NiftiFiles:
    """The files of an image.

    Attributes:
        header: file with the header.
        voxels: file with the voxels, which may be the same.
    """

    header: Path
    voxels: Path

    @classmethod
    def of(cls, path: Path) -> NiftiFiles:
        """The files of an image, all of which are there.

        Args:
            path: one of them.

        Raises:
            MedscoreError: one is missing or no regular file.
        """
        pair = _pair(path)
        if pair is None:
            return cls(regular_file(path), path)
        header, voxels = pair
        hint = f"copy {header.name} and {voxels.name} into one folder"
        regular_file(path)
        for matrix in (header.with_suffix(".mat"), voxels.with_suffix(".mat")):
            if matrix.exists():  # an orientation, as SPM99 stores it
                regular_file(matrix)
        return cls(regular_file(header, "header", hint), regular_file(voxels, "voxel file", hint))

    @property
    def sha256(self) -> str:
        """Hash of the file; of a pair, the hash of the hashes of header and voxels."""
        if self.header == self.voxels:
            return file_sha256(self.header)
        both = file_sha256(self.header) + file_sha256(self.voxels)
        return hashlib.sha256(both.encode()).hexdigest()

    def notes(self, image: SpatialImage) -> list[str]:
        """Notes on the orientation.

        Args:
            image: the image as nibabel opened it.

        Raises:
            MedscoreError: it is an Analyze image without the size of its voxels.
        """
        if "magic" in image.header or "xyzt_units" in image.header:  # type: ignore[operator]
            return []
        if not (self._stored_spacing() > 0).all():
            raise MedscoreError(
                "is an Analyze image without the size of its voxels", where=self.header,
                hint="convert it to NIfTI with its geometry",
            )  # fmt: skip
        oriented = isinstance(image, Spm99AnalyzeImage) and (
            self.header.with_suffix(".mat").exists() or np.any(image.header["origin"][:3])
        )
        return [] if oriented else [_UNORIENTED]

    def _stored_spacing(self) -> NDArray[np.float32]:
        """Field pixdim of an Analyze header as it is stored; nibabel puts 1 in the place of 0."""
        with open_file(self.header) as file:
            head = file.read(_LONGEST)
        if self.header.name.lower().endswith(".gz"):
            head = zlib.decompressobj(wbits=31).decompress(head, 348)
        order = "<" if head.startswith((348).to_bytes(4, "little")) else ">"
        return np.frombuffer(head[80:92], f"{order}f4")


def _pair(path: Path) -> tuple[Path, Path] | None:
    """Header and voxels of a pair, in the case of the given name; None for other names."""
    name, low = path.name, path.name.lower()
    for header, voxels in PAIRS:
        for own, other in ((header, voxels), (voxels, header)):
            if low.endswith(own):
                stem = name[: -len(own)]
                ending = other.upper() if name[-len(own) :].isupper() else other
                partner = path.with_name(stem + ending)
                return (path, partner) if own == header else (partner, path)
    return None
