"""The cells of a comparison: one slice, measured by one task and reconstructed by one method.

Each finished cell is a separate file, named by the hash of everything that it depends on. A killed
run therefore continues where it stopped, and a cell whose settings changed is computed again.
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
from pydantic import TypeAdapter, ValidationError

from medscore.errors import reading
from medscore.evaluation.filling import make_folder
from medscore.io.files import atomic_write
from medscore.io.json_files import read_object
from medscore.io.numpy_files import open_npz
from medscore.io.opening import is_there, read_bytes
from medscore.io.specs import faults
from medscore.metrics.image_quality import Quality


@dataclass(frozen=True)
class Cell:
    """The result for one slice.

    Attributes:
        task: name of the task.
        method: name of the method.
        case: what outputs call the slice (:class:`~medscore.datasets.collections.cohort.Case`).
        patient: what outputs call its patient.
        qualities: quality by row of the table: of the method's image and, if the method draws
            several samples, of one sample.
        nfe: network evaluations per sample.
        operator_calls: batched applications of A, its adjoint and T_inv.
        residual: largest relative residual |y - A x| / |y|.
        seconds: wall time.
        precision: precision of the network, of sampling methods.
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
    precision: str = ""


def key_of(*parts: Any) -> str:
    """A file name that identifies a result.

    Args:
        parts: everything that the result depends on; values that JSON can hold, or that have a
            stable ``repr``.
    """
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


IMAGES = "images_sha256"
"""Key of the hash of a cell's images."""

CELL = TypeAdapter(Cell)
"""Checks the types of what a cell holds."""


class Store:
    """The finished cells in a folder: KEY.json, and KEY.npz if the images are kept.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, key: str, *, images: bool = False) -> bool:
        """True if a cell is stored.

        Args:
            key: key of the cell.
            images: whether its images must be stored too.
        """
        return is_there(self._file(key)) and (not images or is_there(self._images(key)))

    def put(self, key: str, cell: Cell, images: dict[str, NDArray[np.float32]] | None) -> None:
        """Write a cell; its images are written first, so that a stored cell is complete.

        Args:
            key: key of the cell.
            cell: the cell.
            images: images (H, W) by name; None to store none.
        """
        record = asdict(cell)
        if images is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **images)  # type: ignore[arg-type]
            atomic_write(self._images(key), buffer.getvalue())
            record[IMAGES] = hashlib.sha256(buffer.getvalue()).hexdigest()
        for quality in record["qualities"].values():
            quality |= {k: v if math.isfinite(v) else None for k, v in quality.items()}
        atomic_write(self._file(key), (json.dumps(record, indent=1) + "\n").encode())

    def get(self, key: str) -> Cell:
        """Read a cell.

        Args:
            key: key of the cell.

        Raises:
            MedscoreError: the file is damaged.
        """
        path = self._file(key)
        hint = "remove it, and it is computed again"
        with reading("a finished cell", path, hint):
            record = read_object(path, hint=hint)
            try:
                record.pop(IMAGES, None)
                found = {
                    row: Quality(**{k: math.inf if v is None else v for k, v in q.items()})
                    for row, q in record.pop("qualities").items()
                }
                return CELL.validate_python(asdict(Cell(**record, qualities=found)))
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"a field is missing or unknown: {error}") from error
            except ValidationError as error:
                raise ValueError(faults(error)) from error

    def images(self, key: str) -> dict[str, NDArray[np.float32]]:
        """The images (H, W) of a cell by name.

        Args:
            key: key of the cell.

        Raises:
            MedscoreError: the file is damaged.
        """
        path = self._images(key)
        hint = "remove it, and it is computed again"
        with reading("images", path, hint):
            stated = read_object(self._file(key), hint=hint).get(IMAGES)
            if stated != hashlib.sha256(read_bytes(path)).hexdigest():
                raise ValueError("their hash differs")
        with open_npz(path, "images", hint) as archive:
            return {name: archive[name] for name in archive}

    def make(self) -> None:
        """Create the folder, and remove what a killed run left unfinished in it.

        Raises:
            WriteError: the folder cannot be created.
        """
        make_folder(self.folder)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _images(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
