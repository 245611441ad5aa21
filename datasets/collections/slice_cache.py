"""A cache on disk of training slices, so that a second start reads no image files.

An index holds the size, modification time and content hash of each file. Slices are stored under a
key made of that hash and the preprocessing: a file that was only copied or touched is hashed again
but not read again, and a file whose content changed is read. No names of files or patients are
stored: the index is by the hash of the path, and names come from the files at every start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
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

from medscore.datasets.collections.archives import is_archive
from medscore.errors import MedscoreError
from medscore.io.files import atomic_path, atomic_write
from medscore.io.json_files import parse_json, read_object
from medscore.io.numpy_files import open_npz
from medscore.io.opening import is_regular, is_there, read_bytes, regular_file

VERSION = "slices-3"
"""Part of every key; changes when the same file gives other slices."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slices:
    """Axial slices in the range of the network.

    Attributes:
        images: (n, side, side) float16; HU within [0, 1], magnitudes with their 99.5th percentile
            at 1.
        spacing_mm: (n,) pixel spacing after reduction to ``side``; NaN where it is not recorded.
        patients: the patient of each slice.
        scans: name of the scan that each slice comes from, if known.
        notes: what the reader noticed or changed.
    """

    images: Tensor
    spacing_mm: NDArray[np.float64]
    patients: tuple[str, ...]
    scans: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def scan_of(self, patient: str) -> str:
        """Name of the first scan of a patient.

        Args:
            patient: an entry of ``patients``.
        """
        return self.scans[self.patients.index(patient)] if self.scans else patient


class SliceCache:
    """A folder of training slices.

    Args:
        folder: created if it does not exist.
        preprocessing: everything that the slices depend on besides the files.
    """

    def __init__(self, folder: Path, preprocessing: str) -> None:
        self.folder, self.preprocessing = folder, preprocessing
        self._lock = threading.Lock()
        self._index: dict[str, dict[str, str]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if is_there(folder / "index.json"):
                self._index = read_object(folder / "index.json")
        except (OSError, MedscoreError) as error:
            log.warning("the index of slices in %s is not used: %s", folder, error)
        self._changed = False

    def get(self, patient: str, files: Sequence[Path], read: Callable[[], Slices]) -> Slices:
        """Return the slices of a scan from the cache, or read and store them.

        Args:
            patient: patient of the scan; used for slices whose patient the files do not name.
            files: files or folders of the scan.
            read: reads the slices.
        """
        key = f"{VERSION} {self.preprocessing} {self._content(files)}"
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
        stored = _load(path, patient, files)
        if stored is not None:
            return stored
        made = read()
        tensors = {"images": made.images, "spacing_mm": from_numpy(made.spacing_mm)}
        names = _stored_patients(files)
        places = [names.index(name) if name in names else -1 for name in made.patients]
        notes = [_stored(note, files) for note in made.notes]
        metadata = {"patients": json.dumps(places), "notes": json.dumps(notes)}
        with atomic_path(path) as partial:
            save_file(tensors, partial, metadata=metadata)
        return made

    def save(self) -> None:
        """Write the index if it has changed.

        Raises:
            MedscoreError: the folder cannot be written.
        """
        if self._changed:
            text = json.dumps(self._index, indent=0, sort_keys=True)
            atomic_write(self.folder / "index.json", text.encode())

    def _content(self, paths: Sequence[Path]) -> str:
        """Hash of the bytes of all files, from the index where size and time are unchanged."""
        name = hashlib.sha256(str(paths[0].resolve()).encode()).hexdigest()[:32]
        files = [file for path in paths for file in _files(path)]
        states = [(file.name, (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
        state = hashlib.sha256(repr(states).encode()).hexdigest()
        entry = self._index.get(name)
        if isinstance(entry, dict) and entry.get("state") == state and "content" in entry:
            return str(entry["content"])
        digest = hashlib.sha256()
        for file in files:
            digest.update(read_bytes(file))
        with self._lock:
            self._index[name] = {"state": state, "content": digest.hexdigest()}
            self._changed = True
        return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    """The file, or all files of a folder and the folders in it."""
    return sorted(p for p in path.rglob("*") if is_regular(p)) if path.is_dir() else [path]


def _stored_patients(files: Sequence[Path]) -> list[str]:
    """The patients of an archive's slices; none for other files, which are of one patient."""
    if not is_archive(files[0]):
        return []
    with open_npz(files[0], "slices") as archive:
        return [str(name) for name in archive["patient"]]


def _names(files: Sequence[Path]) -> dict[str, str]:
    """What stands for each name of a file or of its folder in a stored note, by name."""
    paths = dict.fromkeys(
        part for path in files for file in _files(path) for part in (file, file.parent, path)
    )
    found: dict[str, str] = {}
    for i, path in enumerate(paths):
        for kind, name in (("path", str(path)), ("name", path.name), ("stem", path.stem)):
            found.setdefault(name, f"{{{i}.{kind}}}")
    return found


def _stored(note: str, files: Sequence[Path]) -> str:
    """A note with all whole names replaced, the longest first, and without the values it quotes."""
    names = _names(files)
    some = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
    note = re.sub(rf"(?<!\w)(?:{some})(?!\w)", lambda match: names[match[0]], note)
    return re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", note)


def _with_names(note: str, files: Sequence[Path]) -> str:
    """A stored note with the names of the files as they are now."""
    back = {place: name for name, place in _names(files).items()}
    return re.sub(r"\{\d+\.\w+\}", lambda match: back.get(match[0], match[0]), note)


def _load(path: Path, patient: str, files: Sequence[Path]) -> Slices | None:
    if not is_there(path):
        return None
    try:
        with safe_open(regular_file(path), framework="pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            names = _stored_patients(files)
            places = parse_json(metadata["patients"])
            patients = tuple(patient if k < 0 else names[k] for k in places)
            notes = tuple(_with_names(note, files) for note in parse_json(metadata["notes"]))
            images, spacing = file.get_tensor("images"), file.get_tensor("spacing_mm")
        spacing_mm = np.asarray(spacing.numpy(), dtype=np.float64)
        return Slices(images, spacing_mm, patients, notes=notes)
    except (OSError, SafetensorError, LookupError, ValueError, TypeError) as error:
        log.warning("the slices in %s are read again: %s", path, error)
        return None
