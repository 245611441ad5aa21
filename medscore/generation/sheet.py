"""Images as 8-bit pixels, one by one and together on a contact sheet."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

GAP = 2
"""Pixels between images on a sheet."""


def pixels(x: Tensor) -> NDArray[np.uint8]:
    """8-bit pixels (n, H, W) or (n, H, W, 3).

    Args:
        x: images (n, 1 or 3, H, W), where 0 is black and 1 white.
    """
    scaled = x.detach().cpu().clamp(0, 1).mul(255).round().byte().numpy()
    return scaled[:, 0] if scaled.shape[1] == 1 else scaled.transpose(0, 2, 3, 1)


def contact_sheet(x: Tensor, columns: int | None = None) -> Image.Image:
    """All images on one sheet, row by row; images of at most 32 rows are magnified.

    Args:
        x: images (n, 1 or 3, H, W), where 0 is black and 1 white.
        columns: images per row; the sheet is about square if None.
    """
    shown = pixels(x)
    count, height, width = shown.shape[:3]
    columns = columns or math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *shown.shape[3:])
    whole = np.full(shape, 128, np.uint8)
    for i, image in enumerate(shown):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        whole[top : top + height, left : left + width] = image
    zoom = max(1, 64 // height)
    return Image.fromarray(whole.repeat(zoom, 0).repeat(zoom, 1))
