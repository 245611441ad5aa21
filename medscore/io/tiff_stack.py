"""The stack of a TIFF file; pages that were written one by one are put in their order."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from medscore.errors import MedscoreError, reading
from medscore.io.budget import check_memory
from medscore.io.hdf5 import INFLATES


def read_tiff(path: Path) -> NDArray[Any]:
    """Read all pages of a TIFF file as one array.

    Args:
        path: regular file.

    Raises:
        MedscoreError: it is no TIFF file, its pages differ in size or type, it declares more than
            it holds, or it exceeds the memory budget.
    """
    with reading("TIFF", path), tifffile.TiffFile(path) as file:
        series = [s for s in file.series if not s.keyframe.is_reduced]
        shapes = list(dict.fromkeys((s.shape, str(s.dtype)) for s in series))
        if len(shapes) != 1 or (len(series) > 1 and len(series[0].shape) != 2):
            raise MedscoreError(
                f"holds {len(series)} images, of {' and '.join(map(_described, shapes[:3]))}",
                where=path,
                hint="save one stack, or pages of one size and type",
            )
        declared = len(series) * math.prod(series[0].shape) * series[0].dtype.itemsize
        if declared > INFLATES * path.stat().st_size:
            raise ValueError(f"declares {declared / 2**30:.2g} GiB that the file does not hold")
        check_memory(4 * len(series) * math.prod(series[0].shape), path, "pixels")
        pages: list[NDArray[Any]] = [s.asarray() for s in series]
    values = pages[0] if len(pages) == 1 else np.stack(pages)
    if values.dtype.kind not in "iuf":
        raise MedscoreError(f"holds {values.dtype}", where=path, hint="use grey values")
    return values


def _described(kind: tuple[tuple[int, ...], str]) -> str:
    shape, dtype = kind
    return f"{' x '.join(map(str, shape))} {dtype}"
