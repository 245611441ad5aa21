"""The cells of a comparison or a calibration: those that are stored, and those still to compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from medscore.engine.spread import Spread
from medscore.errors import Interrupted, WriteError
from medscore.io.files import PART

Cell = TypeVar("Cell")
Piece = TypeVar("Piece")


def filled(
    cells: dict[int, Cell],
    pieces: Sequence[Piece],
    work: Callable[[Piece], Any],
    keep: Callable[[int, Any], Cell],
    spread: Spread,
    on_cell: Callable[[int, int, Cell | None], None],
) -> list[Cell]:
    """Compute the cells that are not stored yet.

    Args:
        cells: the stored cells, by place in ``pieces``.
        pieces: all cells to compute.
        work: computes a piece; it can be sent to another process.
        keep: stores what was computed of the piece at a place, and gives its cell.
        spread: distributes the work.
        on_cell: called with the number of finished cells, of all cells, and the last cell.

    Returns:
        All cells in the order of ``pieces``.

    Raises:
        MedscoreError: a cell cannot be computed; finished cells are kept.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    done, total = dict(cells), len(pieces)
    todo = [i for i in range(total) if i not in done]
    on_cell(len(done), total, None)
    try:
        for place, found in spread(work, [pieces[i] for i in todo]):
            cell = keep(todo[place], found)
            done[todo[place]] = cell
            on_cell(len(done), total, cell)
    except KeyboardInterrupt as stop:
        raise Interrupted from stop
    return [done[i] for i in range(total)]


def make_folder(folder: Path) -> None:
    """Create the folder of the cells, and remove what a killed run left unfinished in it.

    Args:
        folder: the folder.

    Raises:
        WriteError: the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{PART}*"):
            left.unlink()
    except OSError as error:
        raise WriteError(folder, error) from error
