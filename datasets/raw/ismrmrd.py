"""ISMRMRD files (Inati et al. 2017), Cartesian, through the package ismrmrd (extra ``mri``).

:mod:`~medscore.datasets.raw.acquisitions` tells which lines make up the image,
:mod:`~medscore.datasets.raw.placement` puts them on the grid of the encoded matrix, and
:mod:`~medscore.datasets.raw.assembly` whitens the noise of the coils and makes slices of volumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medscore.datasets.raw.acquisitions import NOISE, Lines, has_flag, select_lines
from medscore.datasets.raw.assembly import assembled
from medscore.datasets.raw.encoding import Encoding, read_encodings, receiver_bandwidth
from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.prewhitening import RECEIVER, NoiseScan
from medscore.errors import MedscoreError, optional_module, reading
from medscore.io.hdf5 import has_member, member, open_hdf5


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
    """Read all slices of a Cartesian scan, or all partitions of a volume as slices.

    Args:
        path: ISMRMRD file.
        select: encoding space and values of counters, where the file holds several images; see
            :data:`medscore.datasets.raw.acquisitions.CHOICES`.
        first: take the first of several images and note it, instead of refusing the file.

    Raises:
        MedscoreError: ismrmrd is not installed, the file cannot be read, the scan is not
            Cartesian or requires phase correction, it holds several images of which none is
            selected, lines lie beyond the encoded matrix, partitions are not sampled alike, or the
            values are invalid.
    """
    path = Path(path)
    ismrmrd = optional_module(
        "ismrmrd", "the reader of ISMRMRD files", install="medscore[mri]", where=path
    )
    with open_hdf5(path, "ISMRMRD") as checked:
        for name in ("dataset/data", "dataset/xml"):
            member(checked, name)
    with reading("ISMRMRD", path), ismrmrd.Dataset(str(path), mode="r") as file:
        header = file.read_xml_header()
        count = file.number_of_acquisitions()
        acquisitions = [file.read_acquisition(i) for i in range(count)]
    encodings = read_encodings(header, path)
    if all(encoding.trajectory != "cartesian" for encoding in encodings):
        _check_cartesian(encodings[0], path)
    lines = select_lines(acquisitions, select, path, first=first)
    if lines.encoding >= len(encodings):
        raise MedscoreError(
            f"the image lines refer to encoding space {lines.encoding}, the header has "
            f"{len(encodings)}",
            where=path,
            hint="export it again",
        )
    encoding = encodings[lines.encoding]
    _check_cartesian(encoding, path)
    return assembled(lines, encoding, path, noise=_noise_scan(acquisitions, lines, header))


def _noise_scan(acquisitions: list[Any], lines: Lines, header: bytes | str) -> NoiseScan:
    """The noise lines, and the ratio of their variance to that of the image lines."""
    noise = [line for line in acquisitions if has_flag(line, NOISE)]
    bandwidth = receiver_bandwidth(header)
    ratio = RECEIVER if bandwidth is None else bandwidth
    times = [float(line.sample_time_us) for line in (*lines.image[:1], *noise[:1])]
    if len(times) == 2 and min(times) > 0:
        ratio *= times[0] / times[1]
    return NoiseScan([line.data for line in noise], ratio)


def _check_cartesian(encoding: Encoding, where: Path) -> None:
    if encoding.trajectory != "cartesian":
        raise MedscoreError(
            f"the trajectory is {encoding.trajectory or 'not stated'}",
            where=where,
            hint="use a Cartesian scan, or save samples and positions as arrays: see "
            "docs/measurement.md",
        )
