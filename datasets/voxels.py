"""The voxels of a NIfTI file as single precision, read and scaled a part at a time.

nibabel scales a volume as a whole, in double precision: a file of 1 GiB of 16-bit numbers needs
ten times its size then. Here one array of float32 is filled from the stream, gzip or not.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from medscore.io.budget import check_memory
from medscore.io.opening import open_file

PIECE = 2**22
"""Voxels that are read and scaled at a time."""

FURTHEST = 2**24
"""Largest offset of the voxels in bytes; before them are the header and its extensions."""

_OFFSETS = {348: ("f4", 108), 540: ("i8", 168)}
"""Type and place of the voxels' offset in the header of NIfTI-1 and NIfTI-2, by its size."""


def check_header(path: Path) -> None:
    """Reject a header whose extensions would take more memory than any real ones.

    Args:
        path: NIfTI file.

    Raises:
        ValueError: the voxels begin beyond ``FURTHEST``.
    """
    with _stream(path) as file:
        head = file.read(540)
    for order in "<>":
        size = int(np.frombuffer(head[:4].ljust(4, b"\0"), order + "i4")[0])
        if size in _OFFSETS and len(head) >= 348:
            kind, at = _OFFSETS[size]
            offset = float(np.frombuffer(head[at : at + int(kind[1])], order + kind)[0])
            if not offset <= FURTHEST:
                raise ValueError(f"the voxels begin at byte {offset:g}")


def read_voxels(path: Path, image: SpatialImage, channel: int = 0) -> NDArray[np.float32]:
    """Read one volume of a file.

    Args:
        path: the file.
        image: the file as nibabel opened it; its voxels are not read.
        channel: index of the volume in a 4-D file.

    Returns:
        Array of 2 or 3 axes in the order of the file, as a view of the transposed memory.

    Raises:
        ValueError: the file ends before the volume does, or is damaged.
        MedscoreError: the volume exceeds the memory budget.
    """
    proxy = cast(ArrayProxy, image.dataobj)
    shape = tuple(int(n) for n in proxy.shape[:3])
    count, kind = math.prod(shape), np.dtype(proxy.dtype)
    check_memory(4 * count, path, "voxels")
    values = np.empty(count, np.float32)
    with _stream(path) as file:
        file.seek(int(proxy.offset) + channel * count * kind.itemsize)
        for start in range(0, count, PIECE):
            piece = values[start : start + PIECE]
            content = file.read(piece.size * kind.itemsize)
            if len(content) < piece.size * kind.itemsize:
                raise ValueError(f"ends after {start} of {count} voxels")
            _scale(np.frombuffer(content, kind), proxy, piece)
        if (channel + 1) * count == math.prod(proxy.shape):
            file.read(1)  # the end of a gzip stream, where its checksum is compared
    return values.reshape(shape[::-1]).T


def _scale(stored: NDArray[Any], proxy: Any, out: NDArray[np.float32]) -> None:
    """Stored numbers times the slope plus the intercept."""
    with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which is refused later
        if proxy.slope == 1 and proxy.inter == 0:
            np.copyto(out, stored, casting="same_kind" if stored.dtype.kind == "f" else "unsafe")
        else:
            out[:] = stored * np.float64(proxy.slope) + np.float64(proxy.inter)


@contextmanager
def _stream(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed if its name ends so."""
    with open_file(path) as file:
        if path.name.lower().endswith(".gz"):
            with gzip.open(file) as inflated:
                yield cast(IO[bytes], inflated)
        else:
            yield file
