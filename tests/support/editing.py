"""Edited measurement files with a valid seal."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from medscore.io.hdf5 import seal


@contextmanager
def editing(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for editing, and renew its seal at the end."""
    with h5py.File(path, "r+") as file:
        yield file
    seal(path)
