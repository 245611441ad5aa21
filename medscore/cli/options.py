"""Options that several commands share, and their checks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from medscore.errors import MedscoreError
from medscore.registry.checks import check_ranges

Series = Annotated[
    str | None,
    typer.Option(help="Series of a folder with several: UID, description, or a part of it."),
]
Spacing = Annotated[
    float | None, typer.Option(help="Pixel spacing in mm, for archives that do not state it.")
]
Device = Annotated[str, typer.Option(help="Device: auto, cpu or cuda.")]
Channel = Annotated[int | None, typer.Option(help="Volume of a 4-D NIfTI file, from 0.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Parameter of a method, NAME=VALUE, as conditioner.zeta=0.3; repeatable. `medscore "
        "methods` lists them.",
    ),
]


def check_limit(limit: int | None) -> None:
    """Refuse a ``--limit`` that leaves no image.

    Raises:
        MedscoreError: under 1.
    """
    check_ranges(("--limit", 1 if limit is None else limit, 1, 10**9))


def check_size(size: int | None) -> None:
    """Refuse a ``--size`` too small for an image.

    Raises:
        MedscoreError: under 8.
    """
    if size is not None and size < 8:
        raise MedscoreError(f"--size is {size}", hint="use at least 8")


def check_new(file: Path) -> None:
    """Refuse to write over a file, or where none can be.

    Raises:
        MedscoreError: it is there, or its folder is not or cannot be written.
    """
    if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        raise MedscoreError(
            "its folder is not there, or cannot be written", where=file, hint="choose another"
        )
    if file.exists():
        raise MedscoreError(
            "the output file exists already", where=file, hint="choose a new one or remove it"
        )
