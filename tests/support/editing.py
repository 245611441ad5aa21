"""Measurement files changed by hand, with a seal that holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from medscore.io.hdf5 import seal


@contextmanager
def editing(path: Path) -> Iterator[Any]:
    """The open HDF5 file; sealed again at the end."""
    with h5py.File(path, "r+") as file:
        yield file
    seal(path)
