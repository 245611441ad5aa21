"""Natural images, grayscale or colour, from PNG and JPEG files or NumPy arrays, with labels.

They are cropped to the central square, reduced by area mean, and scaled to values from 0 to 1. The
label is an archive's ``label``, or the name of the folder in which a file lies.
"""

from __future__ import annotations

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
from medscore.io.numpy_files import is_npz, open_npz, read_npy
from medscore.io.pictures import open_picture

FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
ARRAYS = (".npz", ".npy")


@dataclass(frozen=True)
class Pictures:
    """Images of one size.

    Attributes:
        images: (n, channel, size, size) float32 from 0 to 1; one channel, or three for colour.
        labels: label of each image.
        names: name of the file of each image, and its index in it.
        files: file of each image.
    """

    images: Tensor
    labels: tuple[str, ...]
    names: tuple[str, ...]
    files: tuple[Path, ...] = ()


def load_pictures(
    patterns: Sequence[str],
    *,
    root: str | Path,
    size: int,
    colour: bool,
    white: float | None = None,
) -> Pictures:
    """Load all images whose files match, in the order of their names.

    Args:
        patterns: patterns of file names below ``root``; ``**`` matches any depth.
        root: data folder.
        size: pixels per side.
        colour: convert all images to three channels, otherwise to one.
        white: value of arrays that becomes 1; by default the largest of an integer type, or 1.

    Raises:
        MedscoreError: no file matches, a file is not an image or smaller than ``size``, or its
            values are not within 0 to ``white``.
    """
    root = Path(root)
    images: list[Tensor] = []
    labels: list[str] = []
    names: list[str] = []
    files: list[Path] = []
    for pattern in patterns:
        hits = matching_paths(pattern, root)
        hits = [hit for hit in hits if hit.suffix.lower() in (*FILES, *ARRAYS)]
        if not hits:
            raise MedscoreError(
                "no image matches",
                where=root / pattern,
                hint=f"files must end in {', '.join((*FILES, *ARRAYS))}",
            )
        for path in hits:
            values, found = _read(path, colour, white)
            images.append(_square(values, size, path))
            labels += found
            names += [f"{path.name}#{i}" for i in range(len(found))]
            files += [path] * len(found)
    return Pictures(torch.cat(images).contiguous(), tuple(labels), tuple(names), tuple(files))


def _read(path: Path, colour: bool, white: float | None) -> tuple[Tensor, list[str]]:
    """Images (n, channel, H, W) from 0 to 1, and their labels."""
    hint = "use PNG or JPEG files, or arrays (n, H, W) or (n, H, W, 3)"
    if path.suffix.lower() in ARRAYS:
        with reading("pictures", path, hint):
            values, names = _arrays(path)
    else:
        white = None
        with open_picture(path, "pictures", hint) as image:
            pages = int(getattr(image, "n_frames", 1))
            if pages != 1:
                raise ValueError(f"{pages} pages or frames in one file")
            values = _pixels(image, colour)[None]
        names = [path.parent.name]
    if white is None:
        whole = np.issubdtype(values.dtype, np.integer)
        white = float(np.iinfo(values.dtype.name).max) if whole else 1.0
    scaled = torch.from_numpy(values.astype(np.float32) / white)
    if not (float(scaled.min()) >= 0 and float(scaled.max()) <= 1):  # NaN too
        raise MedscoreError(
            f"holds values from {values.min():g} to {values.max():g}, expected 0 to {white:g}",
            where=path,
            hint="set `white`, the value that becomes 1, in the recipe",
        )
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
    if deep:  # PIL's conversions would clip them at 255
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits, PIL's mode {image.mode}")
    return np.asarray(image.convert("RGB" if colour else "L"))


def _arrays(path: Path) -> tuple[NDArray[Any], list[str]]:
    names: list[str] = []
    if is_npz(path):
        with open_npz(path, "pictures") as archive:
            values = archive["image"]
            names = [str(name) for name in archive["label"]] if "label" in archive else []
    else:
        values = read_npy(path, "pictures")
    names = names or [""] * len(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"an array of {values.dtype}")
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] != 3):
        raise ValueError(f"an array of shape {values.shape}")
    if len(names) != len(values) or not values.size:
        raise ValueError(f"{len(values)} images and {len(names)} labels")
    return values, names


def _square(images: Tensor, size: int, path: Path) -> Tensor:
    """Central square, reduced to ``size`` by area mean."""
    height, width = images.shape[2:]
    side = min(height, width)
    if side < size:
        raise MedscoreError(
            f"images of {width}x{height} do not reduce to {size}x{size}",
            where=path,
            hint="use a smaller `size`, or larger images",
        )
    top, left = (height - side) // 2, (width - side) // 2
    cut = images[:, :, top : top + side, left : left + side]
    return torch.nn.functional.adaptive_avg_pool2d(cut, size)
