"""Slices that were read once, on disk: a second start takes no reading.

An index says of each file its size, its time and the hash of its content; what was made of it lies
under a name made of that hash, of the patient and of the preprocessing. So a file that was only
copied or touched is hashed again but not read again, and one whose content changed is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, from_numpy

from medscore.errors import MedscoreError
from medscore.io.files import atomic_path, atomic_write

VERSION = "slices-1"
"""Part of every key: changes when the same file gives other slices."""

log = logging.getLogger(__name__)


class SliceCache:
    """A folder of read slices.

    Args:
        folder: made if it is not there. preprocessing: what the slices depend on beside the files.
    """

    def __init__(self, folder: Path, preprocessing: str) -> None:
        self.folder, self.preprocessing = folder, preprocessing
        self._lock = threading.Lock()
        self._index: dict[str, dict[str, str]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._index = json.loads((folder / "index.json").read_text())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("the index of slices in %s is not used: %s", folder, error)
        self._changed = False

    def get(self, patient: str, files: Sequence[Path], read: Callable[[], Slices]) -> Slices:
        """The slices of a patient's files, by ``read`` if they are not kept; kept from then on."""
        content = self._content(files)
        key = f"{VERSION} {self.preprocessing} {patient} {content}"
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
        kept = _load(path)
        if kept is not None:
            return kept
        made = read()
        tensors = {"images": made.images, "spacing_mm": from_numpy(made.spacing_mm)}
        with atomic_path(path) as partial:
            save_file(tensors, partial, metadata={"patients": json.dumps(made.patients)})
        return made

    def save(self) -> None:
        """Write the index, if there is news.

        Raises:
            MedscoreError: the folder cannot be written.
        """
        if self._changed:
            text = json.dumps(self._index, indent=0, sort_keys=True)
            atomic_write(self.folder / "index.json", text.encode())

    def _content(self, files: Sequence[Path]) -> str:
        """The hash of all their bytes, from the index where size and time are the same."""
        name = str(files[0].resolve())
        states = [(file.name, (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
        state = hashlib.sha256(repr(states).encode()).hexdigest()
        known = self._index.get(name)
        if known is not None and known.get("state") == state:
            return known["content"]
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        with self._lock:
            self._index[name] = {"state": state, "content": digest.hexdigest()}
            self._changed = True
        return digest.hexdigest()


def _load(path: Path) -> Slices | None:

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            patients = tuple(json.loads(metadata["patients"]))
            images, spacing = file.get_tensor("images"), file.get_tensor("spacing_mm")
        return Slices(images, np.asarray(spacing.numpy(), dtype=np.float64), patients)
    except (OSError, SafetensorError, KeyError, ValueError, MedscoreError) as error:
        log.warning("slices kept in %s are read again: %s", path, error)
        return None


@dataclass(frozen=True)
class Slices:
    """Axial slices in the network's range.

    Attributes:
        images: (n, side, side) float16; HU within [0, 1], magnitudes with their 99.5th percentile
            at 1.
        spacing_mm: (n,) pixel spacing after reduction to ``side``; NaN where no file says.
        patients: the patient of each slice.
    """

    images: Tensor
    spacing_mm: NDArray[np.float64]
    patients: tuple[str, ...]
