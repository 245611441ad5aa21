"""What several commands have: which part of a file is meant, sizes, and new files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from medscore.errors import MedscoreError
from medscore.io.files import check_new as check_new

Series = Annotated[
    str | None, typer.Option(help="Of a folder with several: UID, description, or a part of it.")
]
Spacing = Annotated[
    float | None, typer.Option(help="Pixel size in mm, for archives that do not record it.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Channel = Annotated[int | None, typer.Option(help="Which volume of a 4-D NIfTI file, from 0.")]


def check_size(size: int | None) -> None:
    """Refuse a ``--size`` too small for an image.

    Raises:
        MedscoreError: under 8.
    """
    if size is not None and size < 8:
        raise MedscoreError(f"--size is {size}", hint="use at least 8")


def config_path(path: Path, *kinds: str) -> Path:
    """A configuration by its path, or one that ships with medscore by its name.

    Args:
        kinds: the folders of ``configs`` to look in.

    Raises:
        MedscoreError: neither.
    """
    if path.is_file():
        return path
    folder = Path(str(files("medscore.configs")))
    shipped = {file.stem: file for kind in kinds for file in sorted((folder / kind).glob("*.yaml"))}
    if str(path) in shipped:
        return shipped[str(path)]
    raise MedscoreError(
        "no such configuration",
        where=path,
        hint=f"use a YAML file, or one of: {', '.join(shipped)}",
    )
