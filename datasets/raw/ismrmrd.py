"""ISMRMRD files (Inati et al. 2017), 2-D Cartesian, through the package ismrmrd (extra ``mri``).

Lines are placed by the header's encoding limits; repetitions and averages are averaged. Where there
are several contrasts, phases or sets, the first is read, which is noted.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from medscore.datasets.raw.fastmri import geometry
from medscore.datasets.raw.kspace import RawKspace, check_kspace
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.io.hdf5 import INFLATES, has_member, member, open_hdf5
from medscore.io.opening import file_sha256

OTHER = ("contrast", "phase", "set")
"""Counters of which only the first value is read."""


def is_ismrmrd(file: Any) -> bool:
    """True if an open HDF5 file looks like an ISMRMRD file.

    Args:
        file: open HDF5 file.
    """
    if not has_member(file, "dataset"):
        return False
    group = member(file, "dataset")
    return has_member(group, "data") and has_member(group, "xml")


def read_ismrmrd(path: str | Path) -> RawKspace:
    """Read all slices of a 2-D Cartesian scan.

    Args:
        path: ISMRMRD file.

    Raises:
        MedscoreError: ismrmrd is not installed, the file cannot be read, the scan is not 2-D
            Cartesian, lines lie beyond the encoded matrix, or the values are invalid.
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
        lines = [file.read_acquisition(i) for i in range(count)]
    ny, nx, centre = _encoding(header, path)
    not_image = (
        ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    )
    lines = [line for line in lines if not any(line.is_flag_set(flag) for flag in not_image)]
    kspace, notes = _assembled(path, lines, ny, nx, centre)
    check_kspace(kspace, path)
    spacing, oversampling = geometry(header, (ny, nx), path)
    digest = file_sha256(path)
    return RawKspace(kspace, spacing, oversampling, Source("kspace", digest, notes=notes))


def _encoding(header: bytes | str, where: Path) -> tuple[int, int, int]:
    """Readout samples, phase encodings, and the encoding step of the centre."""
    try:
        encoding = ElementTree.fromstring(header).find("{*}encoding")
        if encoding is None:
            raise ValueError("no encoding")
        trajectory = encoding.findtext("{*}trajectory")
        x, y, z = (
            int(encoding.findtext(f"{{*}}encodedSpace/{{*}}matrixSize/{{*}}{axis}") or 0)
            for axis in "xyz"
        )
        limits = "{*}encodingLimits/{*}kspace_encoding_step_1/{*}center"
        centre = int(encoding.findtext(limits) or y // 2)
    except (ElementTree.ParseError, ValueError) as error:
        raise MedscoreError(
            f"the XML header holds no encoding ({error})", where=where, hint="export it again"
        ) from error
    if trajectory != "cartesian" or z > 1:
        raise MedscoreError(
            f"the trajectory is {trajectory} with {max(z, 1)} partition(s)",
            where=where,
            hint="use a 2-D Cartesian scan",
        )
    if not (8 <= x <= 2**14 and 8 <= y <= 2**14):
        raise MedscoreError(f"the encoded matrix is {x} x {y}", where=where, hint="export it again")
    return x, y, centre


def _assembled(
    path: Path, lines: list[Any], ny: int, nx: int, centre: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Place the lines on the grid, averaging those that were measured several times."""
    if not lines:
        raise MedscoreError("holds no image lines", where=path, hint="export it again")
    first = {name: min(getattr(line.idx, name) for line in lines) for name in OTHER}
    kept = [line for line in lines if all(getattr(line.idx, n) == v for n, v in first.items())]
    notes = []
    if len(kept) < len(lines):
        notes.append(f"there are several {'s, '.join(OTHER)}s: only the first is read")
    slices = 1 + max(line.idx.slice for line in kept)
    coils = kept[0].active_channels
    if slices * coils * ny * nx * 8 > INFLATES * path.stat().st_size:
        raise MedscoreError(
            f"declares {slices} slices of {coils} coils, {ny} x {nx} samples, more than the file "
            "can hold",
            where=path,
            hint="export it again",
        )
    total = np.zeros((slices, coils, ny, nx), dtype=np.complex64)
    count = np.zeros((slices, 1, ny, nx), dtype=np.float32)
    for line in kept:
        data = line.data[:, line.discard_pre : line.number_of_samples - line.discard_post]
        top = ny // 2 - (line.center_sample - line.discard_pre)
        column = line.idx.kspace_encode_step_1 - centre + nx // 2
        if len(data) != coils or not 0 <= column < nx or top < 0 or top + data.shape[1] > ny:
            raise MedscoreError(
                f"a line of {data.shape} samples at step {line.idx.kspace_encode_step_1} lies "
                f"outside the encoded {ny} x {nx}",
                where=path,
                hint="export it again",
            )
        total[line.idx.slice, :, top : top + data.shape[1], column] += data
        count[line.idx.slice, :, top : top + data.shape[1], column] += 1
    return total / np.maximum(count, 1), tuple(notes)
