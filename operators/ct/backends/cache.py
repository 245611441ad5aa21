"""Large projection matrices on disk, so that a second start does not make them again.

They lie in ``$MEDSCORE_CACHE``, or ``medscore`` in the user's cache folder; the oldest go when all
together take more than :data:`LIMIT`. A cache that cannot be read or written is done without, and a
warning is logged.
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

VERSION = "joseph-1"
"""Part of every key: changes when the same geometry gives another matrix."""

SMALLEST = 64 * 2**20
"""Matrices under this many bytes are made again: it takes under half a second."""

LIMIT = 8 * 2**30
"""Bytes that all of them may take."""

log = logging.getLogger(__name__)


def folder() -> Path:
    """Where they lie."""
    own = os.environ.get("MEDSCORE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medscore"


def get(key: str, build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The arrays of that key: from disk, or from ``build`` and then kept."""
    path = folder() / f"{hashlib.sha256(f'{VERSION} {key}'.encode()).hexdigest()[:32]}.safetensors"
    if path.is_file():
        try:
            arrays = load_file(path)
            path.touch()
            return arrays
        except (OSError, SafetensorError) as error:
            log.warning("%s: cannot be read (%s), made again", path, error)
    arrays = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            _write(partial, arrays)
        _forget_the_oldest(path)
    except (OSError, MedscoreError, SafetensorError) as error:
        log.warning("%s: cannot be kept for the next time (%s)", path, error)
    return arrays


def _write(path: Path, arrays: dict[str, Tensor]) -> None:
    """A safetensors file, written without the copy in memory that safetensors itself makes."""
    names = {torch.float32: "F32", torch.float64: "F64", torch.int32: "I32"}
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
