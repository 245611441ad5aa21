"""Files of arrays as MATLAB and other programs write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


def hdf5_file(path: Path, arrays: Mapping[str, Any]) -> Path:
    """An HDF5 file; slashes in names are groups."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def matlab_73(path: Path, arrays: Mapping[str, Any]) -> Path:
    """A MATLAB 7.3 file: HDF5 after a header, with the axes in reverse order.

    Slashes in names are structures. Texts are rows of characters, and complex numbers pairs of
    their real and imaginary parts.
    """
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            kind, stored = _as_matlab(np.atleast_1d(np.asarray(values)))
            file[name] = np.atleast_2d(stored).T
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
            for above in [*Path(name).parents][:-1]:
                file[str(above)].attrs["MATLAB_class"] = np.bytes_("struct")
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def _as_matlab(values: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """The class of an array in MATLAB, and the numbers that are stored for it."""
    if values.dtype.kind == "U":
        length = max(map(len, values.tolist()))
        return "char", np.array([[*map(ord, text.ljust(length))] for text in values], np.uint16)
    if values.dtype.kind == "b":
        return "logical", values.astype(np.uint8)
    number = values.real.dtype.name
    kind = {"float64": "double", "float32": "single"}.get(number, number)
    if values.dtype.kind != "c":
        return kind, values
    pairs = np.zeros(values.shape, [("real", values.real.dtype), ("imag", values.real.dtype)])
    pairs["real"], pairs["imag"] = values.real, values.imag
    return kind, pairs
