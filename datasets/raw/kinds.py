"""Which kind of raw data a file holds: k-space or CT projections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from medscore.datasets.raw.bart import is_bart
from medscore.datasets.raw.fastmri import is_fastmri
from medscore.datasets.raw.helsinki import helsinki_geometry
from medscore.datasets.raw.ismrmrd import is_ismrmrd
from medscore.datasets.raw.projections import EXCHANGE
from medscore.datasets.raw.twix import is_twix
from medscore.io.array_files import is_array_file, open_arrays
from medscore.io.arrays import Arrays
from medscore.io.hdf5 import is_hdf5, open_hdf5
from medscore.io.mat_files import is_mat
from medscore.io.opening import is_regular

Kind = Literal["k-space", "projections"]


def raw_kind(path: Path, fields: Mapping[str, Any] | None) -> Kind | None:
    """The kind of raw data in a file, by its content; ``None`` if it may be an image.

    Complex numbers are k-space, and so is what has a trajectory. Real ones are projections where a
    geometry is given or the file states one.

    Args:
        path: the file.
        fields: geometry of the projections, or layout of the k-space, if there is any.

    Raises:
        MedscoreError: the file cannot be read.
    """
    if is_regular(path) and "trajectory" in (fields or {}):
        return "k-space"
    if not is_regular(path):
        return None if fields is None else "projections"
    if is_bart(path) or is_twix(path):
        return "k-space"
    if not is_array_file(path):
        return None if fields is None else "projections"
    hdf5 = is_hdf5(path) and not is_mat(path)
    if hdf5:
        with open_hdf5(path) as file:
            if is_fastmri(file) or is_ismrmrd(file):
                return "k-space"
    with open_arrays(path) as arrays:
        if _is_complex(arrays, (fields or {}).get("array")):
            return "k-space"
        if fields is not None or helsinki_geometry(arrays) or EXCHANGE["array"] in arrays.entries:
            return "projections"
    return "k-space" if path.suffix == ".npy" or hdf5 else None


def _is_complex(arrays: Arrays, name: Any) -> bool:
    """True if the array of a name, or any array of two axes or more, holds complex numbers."""
    if isinstance(name, str):
        return arrays.entry(arrays.named(name)).kind == "c"
    return any(each.kind == "c" and len(each.shape) > 1 for each in arrays.entries.values())
