"""The one entry for raw k-space, of every format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medscore.datasets.raw.bart import is_bart, read_bart
from medscore.datasets.raw.fastmri import is_fastmri, read_fastmri
from medscore.datasets.raw.ismrmrd import is_ismrmrd, read_ismrmrd
from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.kspace_arrays import read_array
from medscore.datasets.raw.kspace_layout import KspaceLayout
from medscore.datasets.raw.twix import is_twix, read_twix
from medscore.errors import MedscoreError
from medscore.io.array_files import open_arrays
from medscore.io.hdf5 import is_hdf5, open_hdf5
from medscore.io.mat_files import is_mat
from medscore.io.opening import regular_file


def read_kspace(
    path: str | Path,
    *,
    spacing: tuple[float, float] | None = None,
    select: Mapping[str, int] | None = None,
    first: bool = False,
    layout: KspaceLayout | None = None,
) -> RawKspace:
    """Read raw k-space.

    Args:
        path: fastMRI or ISMRMRD file, Siemens twix, BART cfl, or an array in a NumPy, MATLAB or
            HDF5 file.
        spacing: distance between columns and between rows in mm, where the file does not record it.
        select: the image of a file with several, as for
            :func:`~medscore.datasets.raw.ismrmrd.read_ismrmrd`.
        first: take the first of several images and note it, instead of refusing the file.
        layout: axes and names of arrays, and what such files do not record.

    Raises:
        MedscoreError: there is no such file, it has another format, or its reader refuses it.
    """
    path = Path(path)
    layout = layout or KspaceLayout()
    if spacing is not None and layout.spacing is not None:
        raise MedscoreError(
            "`spacing` is set, and the geometry states spacing as well", where=path,
            hint="leave one of them out",
        )  # fmt: skip
    if is_bart(path):
        raw = read_bart(path, layout=layout, select=select, first=first)
        return _spaced(raw, spacing, layout, path)
    path = regular_file(path)
    if is_twix(path):
        _check_stated(layout, "Siemens raw data", path)
        return _spaced(read_twix(path, select=select, first=first), spacing, layout, path)
    hdf5 = is_hdf5(path) and not is_mat(path)
    known = _known(path) if hdf5 else ""
    if known:
        _check_stated(layout, f"{known} files", path)
    if known == "ISMRMRD":
        raw = read_ismrmrd(path, select=select, first=first)
    elif known == "fastMRI":
        _check_one_image(select, path)
        raw = read_fastmri(path)
    elif hdf5 and layout.array is None and layout.axes is None and not _has_complex(path):
        raise MedscoreError(
            "is neither a fastMRI nor an ISMRMRD file",
            where=path,
            hint="use one, or complex k-space in a .npy file",
        )
    else:
        _check_one_image(select, path)
        raw = read_array(path, layout=layout)
    return _spaced(raw, spacing, layout, path)


def _known(path: Path) -> str:
    with open_hdf5(path) as file:
        return "ISMRMRD" if is_ismrmrd(file) else "fastMRI" if is_fastmri(file) else ""


def _has_complex(path: Path) -> bool:
    with open_arrays(path) as arrays:
        return any(each.kind == "c" for each in arrays.entries.values())


def _check_stated(layout: KspaceLayout, kind: str, where: Path) -> None:
    """Reject what a file of this kind states itself."""
    for name in sorted(layout.model_fields_set):
        if name not in ("spacing", "slice_spacing"):
            raise MedscoreError(
                f"{name} does not apply to {kind}, which state it", where=where, hint="leave it out"
            )


def _spaced(
    raw: RawKspace, spacing: tuple[float, float] | None, layout: KspaceLayout, where: Path
) -> RawKspace:
    """k-space with its pixel spacing, which only one of the file and the user may state."""
    given = spacing or layout.spacing
    if given is None or (layout.spacing is not None and raw.spacing == layout.spacing_mm):
        return raw
    if raw.spacing is not None:
        raise MedscoreError(
            f"`spacing` is {given[0]:g} x {given[1]:g} mm, but the file states "
            f"{raw.spacing[0]:g} x {raw.spacing[1]:g} mm", where=where, hint="leave it out",
        )  # fmt: skip
    return replace(raw, spacing=(*given, layout.slice_spacing or given[0]))


def _check_one_image(select: Mapping[str, int] | None, where: Path) -> None:
    if select:
        raise MedscoreError(
            "`select` applies to ISMRMRD, twix and BART files only",
            where=where,
            hint="leave it out",
        )
