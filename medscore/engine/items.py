"""Sequential work on items whose results are saved, so that an interrupted run can be resumed.

The state is a safetensors file: the tensors of item i are named ``i.NAME``, and the header holds
the fingerprint of the run and the items' records as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medscore.errors import Interrupted, MedscoreError
from medscore.io.files import atomic_write
from medscore.io.json_files import parse_json
from medscore.io.opening import is_there, regular_file


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
class ItemFile:
    """The file with the finished items of a run.

    Attributes:
        path: the file; it exists only while the run is unfinished.
        fingerprint: identifies the run; items of another run are refused.
    """

    path: Path
    fingerprint: str

    def load(self) -> list[Item]:
        """The finished items; an empty list if there is no file.

        Raises:
            MedscoreError: the file is damaged or belongs to another run.
        """
        if not is_there(self.path):
            return []
        try:
            with safe_open(regular_file(self.path), framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            fingerprint, records = (
                header["fingerprint"],
                parse_json(header["records"], finite=False),
            )
            items = [Item(dict(record)) for record in records]
            for key, tensor in tensors.items():
                number, _, name = key.partition(".")
                items[int(number)].tensors[name] = tensor
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise MedscoreError(
                f"cannot be read as the state of an interrupted run ({error})",
                where=self.path, hint="remove it",
            ) from error  # fmt: skip
        if fingerprint != self.fingerprint:
            raise MedscoreError(
                "is the state of another run, with other settings or input", where=self.path,
                hint="repeat that run to finish it, or remove the file",
            )  # fmt: skip
        return items

    def save(self, items: Sequence[Item]) -> None:
        """Write the finished items atomically.

        Args:
            items: all finished items in order.
        """
        tensors = {
            f"{number}.{name}": tensor.detach().cpu().contiguous()
            for number, item in enumerate(items)
            for name, tensor in item.tensors.items()
        }
        records = json.dumps([item.record for item in items])
        header = {"fingerprint": self.fingerprint, "records": records}
        atomic_write(self.path, save(tensors, metadata=header))

    def remove(self) -> None:
        """Delete the file after the results of the run were written."""
        self.path.unlink(missing_ok=True)


def run_items(
    count: int,
    work: Callable[[int], Item],
    file: ItemFile | None = None,
    on_item: Callable[[int, Item], None] = lambda done, item: None,
) -> list[Item]:
    """Compute the items 0 to ``count`` - 1 in order; an interrupted run resumes at the next item.

    The file is left in place: call :meth:`ItemFile.remove` after the results were written.

    Args:
        count: number of items.
        work: computes the result of the item with the given index.
        file: file for finished items; None to save nothing.
        on_item: called after every item with the number of finished items and its result.

    Raises:
        MedscoreError: the file is damaged or belongs to another run.
        Interrupted: Ctrl-C during a run that saves its items.
    """
    items = [] if file is None else file.load()
    try:
        for index in range(len(items), count):
            items.append(work(index))
            if file is not None:
                file.save(items)
            on_item(index + 1, items[-1])
    except KeyboardInterrupt as stop:
        if file is None:
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
    """The state file of an interrupted run: a hidden file beside its output.

    Args:
        output: file or folder that the run writes.
        title: distinguishes several state files of the same output.
    """
    name = f"{output.name}.{title}" if title else output.name
    return output.parent / f".{name}.resume.safetensors"
