"""Pictures of images: one each, and all on a sheet."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

GAP = 2
"""Pixels between images on a sheet."""


def pixels(x: Tensor) -> NDArray[np.uint8]:
    """Images (n, 1 or 3, H, W), 0 black and 1 white, as (n, H, W) or (n, H, W, 3)."""
    scaled = x.detach().cpu().clamp(0, 1).mul(255).round().byte().numpy()
    return scaled[:, 0] if scaled.shape[1] == 1 else scaled.transpose(0, 2, 3, 1)


def sheet(x: Tensor, columns: int | None = None) -> Image.Image:
    """All images in rows of so many, about square by default; small ones are magnified."""
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
