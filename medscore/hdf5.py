"""Arrays out of HDF5 files that may lie about their size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

INFLATES = 1100
"""Deflate makes at most 1032 bytes of one; an array that declares more than so many times what the
file stores of it is mostly air."""


def array(dataset: Any, kinds: str, *, single: bool = True) -> NDArray[Any]:
    """All of a dataset.

    Args:
        kinds: NumPy's letters of what it may hold. single: numbers in single precision; integers
            become float32.

    Raises:
        ValueError: no dataset, another kind, or a declared size that the file does not hold.
    """
    name = getattr(dataset, "name", "?")
    if not hasattr(dataset, "dtype") or not hasattr(dataset, "shape") or dataset.shape is None:
        raise ValueError(f"{name} is no array")
    if dataset.dtype.kind not in kinds:
        raise ValueError(f"{name} holds {dataset.dtype}, expected one of the kinds {kinds!r}")
    declared = dataset.size * dataset.dtype.itemsize
    if declared > 2**16 and declared > INFLATES * dataset.id.get_storage_size():
        raise ValueError(f"{name} declares {declared / 2**30:.2g} GiB that the file does not hold")
    values: NDArray[Any] = dataset[()]
    if not single or values.dtype.kind not in "iufc":
        return values
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        target = np.complex64 if values.dtype.kind == "c" else np.float32
        return values.astype(target, copy=False)
