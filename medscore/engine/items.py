"""Sequential work on items whose results are saved, so that an interrupted run can be resumed.

The state is a folder. Every finished item is a safetensors file in it, named by its number and
written once; its header holds the fingerprint of the run, the item's record as JSON, and a hash of
record and tensors. A further file, ``point``, may hold the state of an unfinished item.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medscore.errors import Interrupted, MedscoreError, WriteError
from medscore.io.files import atomic_write, forget, remove_empty
from medscore.io.json_files import parse_object
from medscore.io.opening import is_regular, is_there, regular_file
from medscore.io.weights import weights_hash

POINT = "point"
"""Name of the state of an unfinished item."""


DAMAGE = (SafetensorError, OSError, ValueError, KeyError, TypeError)
"""What reading a damaged file raises."""


@dataclass(frozen=True)
class Item:
    """The result for one item.

    Attributes:
        record: values that JSON can hold, by name.
        tensors: tensors by name.
    """

    record: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemFolder:
    """The folder with the finished items of a run.

    Attributes:
        path: the folder; it exists only while the run is unfinished.
        fingerprint: identifies the run; items of another run are refused.
        note: a text that is kept with every item, and that any run can read.
    """

    path: Path
    fingerprint: str
    note: str = ""

    def load(self) -> list[Item]:
        """The finished items; an empty list if there is no folder.

        Raises:
            MedscoreError: a file is damaged or belongs to another run.
        """
        if is_there(self.path) and not self.path.is_dir():
            raise self._damaged("it is no folder")
        items: list[Item] = []
        while (item := self._read(_name(len(items)))) is not None:
            items.append(item)
        return items

    def save(self, number: int, item: Item) -> None:
        """Write a finished item, atomically; the state of an unfinished one is removed.

        Args:
            number: number of the item, from 0.
            item: its result.

        Raises:
            WriteError: the folder cannot be written; the items before are kept.
        """
        self._write(_name(number), item)
        self._file(POINT).unlink(missing_ok=True)

    def saved(self) -> tuple[str, str] | None:
        """Fingerprint and note of the run whose items are saved; None if there are none to read."""
        for path in (self._file(_name(0)), self._file(POINT)):
            if not is_regular(path):
                continue
            try:
                header, _ = _content(path)
            except DAMAGE:  # load refuses it
                return None
            return header["fingerprint"], header["note"]
        return None

    def load_point(self) -> Item | None:
        """The state of the unfinished item; None if there is none.

        Raises:
            MedscoreError: the file is damaged or belongs to another run.
        """
        return self._read(POINT)

    def save_point(self, item: Item) -> None:
        """Write the state of the unfinished item, atomically.

        Args:
            item: the state.

        Raises:
            WriteError: the folder cannot be written; the last saved state is kept.
        """
        self._write(POINT, item)

    def remove(self) -> None:
        """Delete the folder after the results of the run were written."""
        forget([self.path])

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def _write(self, name: str, item: Item) -> None:
        tensors = {key: x.detach().cpu().contiguous() for key, x in item.tensors.items()}
        header = {"fingerprint": self.fingerprint, "note": self.note}
        header["record"] = json.dumps(item.record)
        header["sha256"] = _hash(header, tensors)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            atomic_write(self._file(name), save(tensors, metadata=header))
        except OSError as error:
            raise WriteError(self.path, error) from error
        except WriteError:
            remove_empty([self.path])
            raise

    def _read(self, name: str) -> Item | None:
        path = self._file(name)
        if not is_there(path):
            return None
        try:
            header, tensors = _content(regular_file(path))
            record = parse_object(header["record"], finite=False)
        except DAMAGE as error:
            raise self._damaged(f"{path.name}: {error}") from error
        if header["fingerprint"] != self.fingerprint:
            raise MedscoreError(
                "is the saved state of another run, with other settings or input", where=self.path,
                hint="repeat that run to finish it, or remove the folder",
            )  # fmt: skip
        return Item(record, tensors)

    def _damaged(self, what: str) -> MedscoreError:
        return MedscoreError(
            f"cannot be read as the saved state of an interrupted run ({what})",
            where=self.path, hint="remove it",
        )  # fmt: skip


def _content(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file, whose hash must fit."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if header["sha256"] != _hash(header, tensors):
        raise ValueError("its hash differs")
    return header, tensors


def _hash(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """A hash of what a file holds: nothing else can tell that a number in it is wrong."""
    parts = (header["fingerprint"], header["note"], header["record"], weights_hash(tensors))
    text = "\n".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()


def _name(number: int) -> str:
    return f"{number:07d}"


def run_items(
    count: int,
    work: Callable[[int], Item],
    folder: ItemFolder | None = None,
    on_item: Callable[[int, Item], None] = lambda done, item: None,
) -> list[Item]:
    """Compute the items 0 to ``count`` - 1 in order; an interrupted run resumes at the next item.

    The folder is left in place: call :meth:`ItemFolder.remove` after the results were written.

    Args:
        count: number of items.
        work: computes the result of the item with the given index.
        folder: folder for finished items; None to save nothing.
        on_item: called after every item with the number of finished items and its result.

    Raises:
        MedscoreError: a saved item is damaged or belongs to another run.
        Interrupted: Ctrl-C during a run that saves its items.
    """
    items = [] if folder is None else folder.load()
    try:
        for index in range(len(items), count):
            items.append(work(index))
            if folder is not None:
                folder.save(index, items[-1])
            on_item(index + 1, items[-1])
    except KeyboardInterrupt as stop:
        if folder is None:
            raise
        raise Interrupted from stop
    return items


def fingerprint_of(*parts: Any) -> str:
    """A hash that identifies a run.

    Args:
        parts: everything that the result depends on, as values that JSON can hold.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def state_path(output: Path, title: str = "") -> Path:
    """The saved state of an interrupted run: a hidden folder beside its output.

    Args:
        output: file or folder that the run writes.
        title: distinguishes several states of the same output.
    """
    name = f"{output.name}.{title}" if title else output.name
    return output.parent / f".{name}.resume"
