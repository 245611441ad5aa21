"""Opening picture files: five formats, by content, and only such as fit into the memory budget.

Pillow chooses its reader by content, whatever a file is called, and one of its readers starts
Ghostscript, an interpreter of programs, on PostScript. So the formats are named here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from medscore.errors import reading
from medscore.io.budget import check_memory
from medscore.io.opening import open_file

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Pillow's names of the formats that are read."""

DENSEST = 10_000
"""Upper bound of the pixels per byte of any format; a header that claims more is false."""

LARGEST = 2**28
"""Largest number of pixels of a picture."""


@contextmanager
def open_picture(
    path: str | os.PathLike[str], what: str = "a picture", hint: str = ""
) -> Iterator[Image.Image]:
    """Open a picture; an exception in the block becomes a MedscoreError.

    Args:
        path: the file.
        what: noun for the file in messages.
        hint: what the user can do.

    Raises:
        MedscoreError: it is no picture of ``FORMATS``, or declares more pixels than it can hold or
            the budget allows, or anything in the block fails.
    """
    hint = hint or f"use a file in one of the formats {', '.join(FORMATS)}"
    with (
        open_file(path) as file,
        reading(what, Path(path), hint),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # on pixels, which are counted here, and broken metadata
        with Image.open(file, formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > min(LARGEST, DENSEST * os.fstat(file.fileno()).st_size):
                raise ValueError(f"{image.width}x{image.height} pixels are not in the file")
            check_memory(4 * pixels * len(image.getbands()), path, "pixels")  # type: ignore[arg-type]
            yield image
