"""ISMRMRD files (Inati et al. 2017), 2-D Cartesian, through the package ismrmrd (extra ``mri``).

:mod:`~medscore.datasets.raw.acquisitions` tells which lines make up the image,
:mod:`~medscore.datasets.raw.placement` puts them on the grid of the encoded matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medscore.datasets.raw.acquisitions import Lines, select_lines
from medscore.datasets.raw.encoding import Encoding, geometry, read_encodings
from medscore.datasets.raw.kspace import RawKspace, check_kspace, single_precision
from medscore.datasets.raw.placement import place
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.io.hdf5 import INFLATES, has_member, member, open_hdf5
from medscore.io.opening import file_sha256


def is_ismrmrd(file: Any) -> bool:
    """True if an open HDF5 file looks like an ISMRMRD file.

    Args:
        file: open HDF5 file.
    """
    if not has_member(file, "dataset"):
        return False
    group = member(file, "dataset")
    return has_member(group, "data") and has_member(group, "xml")


def read_ismrmrd(
    path: str | Path, *, select: Mapping[str, int] | None = None, first: bool = False
) -> RawKspace:
    """Read all slices of a 2-D Cartesian scan.

    Args:
        path: ISMRMRD file.
        select: encoding space and values of counters, where the file holds several images; see
            :data:`medscore.datasets.raw.acquisitions.CHOICES`.
        first: take the first of several images and note it, instead of refusing the file.

    Raises:
        MedscoreError: ismrmrd is not installed, the file cannot be read, the scan is not 2-D
            Cartesian or requires phase correction, it holds several images of which none is
            selected, lines lie beyond the encoded matrix, or the values are invalid.
    """
    path = Path(path)
    if find_spec("ismrmrd") is None:
        raise MedscoreError(
            "ISMRMRD files require the package ismrmrd",
            where=path,
            hint='pip install "medscore[mri]"',
        )
    import ismrmrd

    with open_hdf5(path, "ISMRMRD") as checked:
        for name in ("dataset/data", "dataset/xml"):
            member(checked, name)
    with reading("ISMRMRD", path), ismrmrd.Dataset(str(path), mode="r") as file:
        header = file.read_xml_header()
        count = file.number_of_acquisitions()
        acquisitions = [file.read_acquisition(i) for i in range(count)]
    encodings = read_encodings(header, path)
    if not any(_is_plane(encoding) for encoding in encodings):
        _matrix(encodings[0], path)
    lines = select_lines(acquisitions, select, path, first=first)
    if lines.encoding >= len(encodings):
        raise MedscoreError(
            f"the image lines refer to encoding space {lines.encoding}, the header has "
            f"{len(encodings)}",
            where=path,
            hint="export it again",
        )
    encoding = encodings[lines.encoding]
    ny, nx = _matrix(encoding, path)
    _check_size(lines, ny, nx, path)
    placed = place(lines, encoding, path)
    kspace = single_precision(placed.kspace, path)
    check_kspace(kspace, path)
    image = geometry(encoding, (ny, nx))
    digest = file_sha256(path)
    notes = (*lines.notes, *placed.notes, *image.notes)
    source = Source("kspace", digest, notes=notes)
    return RawKspace(kspace, image.spacing, image.oversampling, source, placed.sampled)


def _is_plane(encoding: Encoding) -> bool:
    return encoding.trajectory == "cartesian" and encoding.matrix[2] <= 1


def _matrix(encoding: Encoding, where: Path) -> tuple[int, int]:
    """Readout samples and phase encodings of a 2-D Cartesian scan."""
    x, y, z = encoding.matrix
    if not _is_plane(encoding):
        raise MedscoreError(
            f"the trajectory is {encoding.trajectory or 'not stated'} with {max(z, 1)} "
            "partition(s)",
            where=where,
            hint="use a 2-D Cartesian scan",
        )
    if not (8 <= x <= 2**14 and 8 <= y <= 2**14):
        raise MedscoreError(f"the encoded matrix is {x} x {y}", where=where, hint="export it again")
    return x, y


def _check_size(lines: Lines, ny: int, nx: int, where: Path) -> None:
    slices = 1 + max(line.idx.slice for line in lines.image)
    coils = len(lines.image[0].data)
    if slices * coils * ny * nx * 8 > INFLATES * where.stat().st_size:
        raise MedscoreError(
            f"declares {slices} slices of {coils} coils, {ny} x {nx} samples, more than the file "
            "can hold",
            where=where,
            hint="export it again",
        )
