"""A cache of large projection matrices on disk, so that they are computed only once.

It is the folder ``$MEDSCORE_CACHE``, or ``medscore`` in the user's cache folder. The least recently
used files are removed when the total size exceeds :data:`LIMIT`. If the cache cannot be read or
written, a warning is logged and the matrix is computed without it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.files import atomic_path

VERSION = "joseph-2"
"""Part of every key; to be changed when the matrix of a geometry changes."""

SMALLEST = 64 * 2**20
"""Matrices of fewer bytes are not cached: computing them takes less than half a second."""

LIMIT = 8 * 2**30
"""Largest total size in bytes."""

log = logging.getLogger(__name__)


def folder() -> Path:
    """The folder of the cache."""
    own = os.environ.get("MEDSCORE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medscore"


def get(key: str, build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The arrays of a key: read from disk, or computed and stored.

    Args:
        key: identifies the matrix.
        build: computes the arrays.
    """
    path = folder() / f"{hashlib.sha256(f'{VERSION} {key}'.encode()).hexdigest()[:32]}.safetensors"
    if path.is_file():
        try:
            arrays = load_file(path)
            path.touch()
            return arrays
        except (OSError, SafetensorError) as error:
            log.warning("%s: cannot be read (%s), computed again", path, error)
    arrays = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            _write(partial, arrays)
        _forget_the_oldest(path)
    except (OSError, MedscoreError, SafetensorError) as error:
        log.warning("%s: cannot be stored (%s)", path, error)
    return arrays


def _write(path: Path, arrays: dict[str, Tensor]) -> None:
    """Write a safetensors file without the copy in memory that safetensors itself makes."""
    names = {
        torch.float16: "F16", torch.float32: "F32", torch.float64: "F64",
        torch.int32: "I32", torch.uint16: "U16",
    }  # fmt: skip
    header, offset = {}, 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            array.contiguous().numpy().tofile(file)


def _forget_the_oldest(newest: Path) -> None:
    kept = sorted(newest.parent.glob("*.safetensors"), key=lambda p: -p.stat().st_mtime)
    total = 0
    for path in kept:
        total += path.stat().st_size
        if total > LIMIT and path != newest:
            path.unlink(missing_ok=True)
