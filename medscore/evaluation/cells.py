"""The cells of a comparison: one slice, measured by one task, reconstructed by one method.

Each finished cell is a file of its own, named by the hash of all that it depends on. So a run that
was killed goes on where it stopped, and a cell whose settings changed is found anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.errors import MedscoreError, reading
from medscore.io.files import atomic_write
from medscore.metrics.image_quality import Quality


@dataclass(frozen=True)
class Cell:
    """What was found of one slice.

    Attributes:
        task, method, case, patient: what it is of. qualities: of the method's image, and of one of
            its samples where it has several, by the name of the row.
        nfe: network evaluations per sample. operator_calls: batched. residual: the largest
            |y - A x| / |y|. seconds: wall time.
    """

    task: str
    method: str
    case: str
    patient: str
    qualities: dict[str, Quality]
    nfe: int
    operator_calls: int
    residual: float
    seconds: float


def key_of(*parts: Any) -> str:
    """A file name for what these parts fix; they are JSON, or have a stable ``repr``."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Store:
    """The finished cells in a folder: KEY.json, and KEY.npz where the images are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, key: str, *, images: bool = False) -> bool:
        """Whether the cell is there, with its images if they are asked for."""
        return self._file(key).is_file() and (not images or self._images(key).is_file())

    def put(self, key: str, cell: Cell, images: dict[str, NDArray[np.float32]] | None) -> None:
        """Write a cell, its images first, so that what :meth:`has` finds is whole."""
        if images is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **images)  # type: ignore[arg-type]
            atomic_write(self._images(key), buffer.getvalue())
        record = asdict(cell)
        for quality in record["qualities"].values():
            quality |= {k: v if math.isfinite(v) else None for k, v in quality.items()}
        atomic_write(self._file(key), (json.dumps(record, indent=1) + "\n").encode())

    def get(self, key: str) -> Cell:
        """Read a cell.

        Raises:
            MedscoreError: it is damaged.
        """
        path = self._file(key)
        with reading("a finished cell", path, "remove it: it is then computed again"):
            record = json.loads(path.read_text())
            try:
                found = {
                    row: Quality(**{k: math.inf if v is None else v for k, v in q.items()})
                    for row, q in record.pop("qualities").items()
                }
                return Cell(**record, qualities=found)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"lacks or adds a field: {error}") from error

    def images(self, key: str) -> dict[str, NDArray[np.float32]]:
        """The images of a cell (H, W) by name.

        Raises:
            MedscoreError: they are damaged.
        """
        path = self._images(key)
        hint = "remove it: it is then computed again"
        with reading("images", path, hint), np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive}

    def make(self) -> None:
        """Make the folder.

        Raises:
            MedscoreError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MedscoreError(
                f"cannot be written ({error.strerror})",
                where=self.folder,
                hint="choose another folder",
            ) from error

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _images(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
