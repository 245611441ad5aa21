"""Options that several commands have: which part of an image file is meant."""

from __future__ import annotations

from typing import Annotated

import typer

Series = Annotated[
    str | None, typer.Option(help="Of a folder with several: UID, description, or a part of it.")
]
Channel = Annotated[int | None, typer.Option(help="Which volume of a 4-D NIfTI file, from 0.")]
