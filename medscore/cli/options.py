"""Options that several commands share, and their checks."""

from __future__ import annotations

from typing import Annotated

import typer

from medscore.cli.words import ACCEPTED
from medscore.errors import MedscoreError
from medscore.io.files import check_new as check_new

Series = Annotated[
    str | None,
    typer.Option(
        help="Series of a folder with several: UID, description, or a part of it; patient of an "
        "archive of arrays."
    ),
]
ImageSpacing = Annotated[
    str | None,
    typer.Option(
        "--spacing",
        help="Spacing in mm, for arrays that do not state it: one number, or COLUMN,ROW,SLICE.",
    ),
]
Array = Annotated[
    str | None, typer.Option(help="Name of the array, in a .npz or .mat file with several.")
]
Spacing = Annotated[
    float | None, typer.Option(help="Pixel spacing in mm, for archives that do not state it.")
]
Device = Annotated[str, typer.Option(help="Device: auto, cpu or cuda.")]
Channel = Annotated[int | None, typer.Option(help="Volume of a 4-D file, from 0.")]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Kind of image that is used all the same, repeatable: {', '.join(ACCEPTED)}."
    ),
]
Identity = Annotated[
    bool,
    typer.Option(
        "--keep-identity",
        help="State the names of the input files and of their patients, not only hashes of the "
        "files.",
    ),
]
Pattern = Annotated[
    list[str] | None,
    typer.Option(
        "--pattern",
        help="Pattern of the files below the data folder, as '*/*.dcm', instead of those in the "
        "YAML file; repeatable.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Parameter of a method, NAME=VALUE, as conditioner.zeta=0.3; repeatable. `medscore "
        "methods` lists them.",
    ),
]


def spacing_of(text: str | None) -> tuple[float, ...] | None:
    """The numbers of a spacing.

    Args:
        text: numbers in mm, separated by commas.

    Raises:
        MedscoreError: it is not that.
    """
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise MedscoreError(
            f"`spacing` is {text!r:.60}", hint="use mm, as 0.7 or 0.7,0.7,3"
        ) from None


def window_of(text: str) -> tuple[float, float]:
    """The values that a picture shows black and white.

    Args:
        text: LOW,HIGH.

    Raises:
        MedscoreError: it is not that.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not low < high:
        raise MedscoreError(f"`window` {text!r}", hint="use LOW,HIGH, as -160,240")
    return low, high
