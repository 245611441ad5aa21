"""The one entry for raw k-space: fastMRI and ISMRMRD files by content, NumPy files by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medscore.datasets.raw.fastmri import is_fastmri, read_fastmri
from medscore.datasets.raw.ismrmrd import is_ismrmrd, read_ismrmrd
from medscore.datasets.raw.kspace import RawKspace, read_numpy
from medscore.errors import MedscoreError
from medscore.io.hdf5 import open_hdf5
from medscore.io.opening import regular_file


def read_kspace(
    path: str | Path,
    *,
    spacing: tuple[float, float] | None = None,
    select: Mapping[str, int] | None = None,
    first: bool = False,
) -> RawKspace:
    """Read raw k-space.

    Args:
        path: fastMRI or ISMRMRD file, or a ``.npy`` file of complex k-space.
        spacing: distance between columns and between rows in mm, where the file does not record it.
        select: the image of an ISMRMRD file with several, as for
            :func:`~medscore.datasets.raw.ismrmrd.read_ismrmrd`.
        first: take the first of several images and note it, instead of refusing the file.

    Raises:
        MedscoreError: there is no such file, it has another format, or its reader refuses it.
    """
    path = regular_file(path)
    if path.suffix == ".npy":
        _check_one_image(select, path)
        return read_numpy(path, spacing=spacing)
    with open_hdf5(path) as file:
        known = is_ismrmrd(file), is_fastmri(file)
    if not any(known):
        raise MedscoreError(
            "is neither a fastMRI nor an ISMRMRD file",
            where=path,
            hint="use one, or complex k-space in a .npy file",
        )
    if known[0]:
        raw = read_ismrmrd(path, select=select, first=first)
    else:
        _check_one_image(select, path)
        raw = read_fastmri(path)
    if spacing is None:
        return raw
    if raw.spacing is not None:
        raise MedscoreError(
            f"`spacing` is {spacing[0]:g} x {spacing[1]:g} mm, but the file states "
            f"{raw.spacing[0]:g} x {raw.spacing[1]:g} mm", where=path, hint="leave it out",
        )  # fmt: skip
    return replace(raw, spacing=(*spacing, spacing[0]))


def _check_one_image(select: Mapping[str, int] | None, where: Path) -> None:
    if select:
        raise MedscoreError(
            "`select` applies to ISMRMRD files only", where=where, hint="leave it out"
        )
