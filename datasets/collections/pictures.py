"""Any other images: folders of PNG or JPEG files, NumPy arrays; grey or colour; with labels.

They become squares with values from 0 to 1, the middle cut out and reduced by area mean. A label is
an archive's ``label``, or the name of the folder that a file lies in.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medscore.datasets.collections.sources import matching_paths
from medscore.errors import MedscoreError, reading

FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
ARRAYS = (".npz", ".npy")

DENSEST = 10_000
"""Pixels of a byte, more than the densest format has; a header may claim anything."""


@dataclass(frozen=True)
class Pictures:
    """Images of one size.

    Attributes:
        images: (n, channel, size, size) float32 from 0 to 1; one channel, or three of colour.
        labels: of each image, as text. names: of its file and place in it.
    """

    images: Tensor
    labels: tuple[str, ...]
    names: tuple[str, ...]


def load_pictures(
    patterns: Sequence[str], *, root: Path, size: int, colour: bool, white: float | None = None
) -> Pictures:
    """All images whose files match patterns below ``root``, in the order of their names.

    Args:
        size: side of the squares. colour: three channels, else one; others are converted.
        white: value of arrays that becomes 1; by default an integer type's largest, or 1.

    Raises:
        MedscoreError: no file matches, a file is no image, one smaller than ``size``, or values
            outside 0 to ``white``.
    """
    images: list[Tensor] = []
    labels: list[str] = []
    names: list[str] = []
    for pattern in patterns:
        hits = matching_paths(pattern, root)
        hits = [hit for hit in hits if hit.suffix.lower() in (*FILES, *ARRAYS)]
        if not hits:
            raise MedscoreError(
                "no picture is there", where=root / pattern,
                hint=f"files end in {', '.join((*FILES, *ARRAYS))}",
            )  # fmt: skip
        for path in hits:
            values, found = _read(path, colour, white)
            images.append(_square(values, size, path))
            labels += found
            names += [f"{path.name}#{i}" for i in range(len(found))]
    return Pictures(torch.cat(images).contiguous(), tuple(labels), tuple(names))


def _read(path: Path, colour: bool, white: float | None) -> tuple[Tensor, list[str]]:
    """Images (n, channel, H, W) from 0 to 1, and their labels."""
    hint = "a PNG or JPEG file, or an array (n, H, W) or (n, H, W, 3), is needed"
    with reading("pictures", path, hint), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if path.suffix.lower() in ARRAYS:
            values, names = _arrays(path)
        else:
            white = None
            with Image.open(path) as image:
                if image.width * image.height > DENSEST * path.stat().st_size:
                    raise ValueError(f"its bytes cannot hold {image.width}x{image.height} pixels")
                values = _pixels(image, colour)[None]
            names = [path.parent.name]
    if white is None:
        whole = np.issubdtype(values.dtype, np.integer)
        white = float(np.iinfo(values.dtype.name).max) if whole else 1.0
    scaled = torch.from_numpy(values.astype(np.float32) / white)
    if not (float(scaled.min()) >= 0 and float(scaled.max()) <= 1):  # NaN too
        raise MedscoreError(
            f"holds values from {values.min():g} to {values.max():g}, 0 to {white:g} were expected",
            where=path, hint="say in the recipe which value is `white`",
        )  # fmt: skip
    scaled = scaled[:, None] if scaled.ndim == 3 else scaled.permute(0, 3, 1, 2)
    if colour and scaled.shape[1] == 1:
        scaled = scaled.expand(-1, 3, -1, -1)
    if not colour and scaled.shape[1] == 3:
        luma = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601, as PIL's "L"
        scaled = torch.einsum("nchw,c->nhw", scaled, luma)[:, None]
    return scaled, names


def _pixels(image: Image.Image, colour: bool) -> NDArray[Any]:
    """(H, W) or (H, W, 3), 8 or 16 bits."""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if deep:  # PIL's conversions would cut them off at 255
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits, PIL's mode {image.mode}")
    return np.asarray(image.convert("RGB" if colour else "L"))


def _arrays(path: Path) -> tuple[NDArray[Any], list[str]]:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            values, names = loaded, [""] * len(loaded)
        else:
            with loaded as archive:
                values = archive["image"]
                names = [str(name) for name in archive["label"]] if "label" in archive else []
    names = names or [""] * len(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"an array of {values.dtype}")
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] != 3):
        raise ValueError(f"an array of shape {values.shape}")
    if len(names) != len(values) or not values.size:
        raise ValueError(f"{len(values)} images and {len(names)} labels")
    return values, names


def _square(images: Tensor, size: int, path: Path) -> Tensor:
    """The middle, reduced to ``size`` by area mean."""
    height, width = images.shape[2:]
    side = min(height, width)
    if side < size:
        raise MedscoreError(
            f"images of {width}x{height} do not reduce to {size}x{size}", where=path,
            hint="choose a smaller size, or larger images",
        )  # fmt: skip
    top, left = (height - side) // 2, (width - side) // 2
    cut = images[:, :, top : top + side, left : left + side]
    return torch.nn.functional.adaptive_avg_pool2d(cut, size)
