"""What of an image ``medscore generate --known`` takes as given: pixels, block means, greys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from medscore.datasets.collections.pictures import load_pictures
from medscore.errors import MedscoreError
from medscore.generation.given import Given, given, pattern_of
from medscore.measurements.tasks import Choices, Grid, inpaint as middle_hidden
from medscore.operators.base import Operator
from medscore.operators.images.colorization import Colorization
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.priors.contract import DataContract


@dataclass(frozen=True)
class Part:
    """Which part of which images.

    Attributes:
        files: of the images. task: a name in ``TASKS``. mask: of ``inpaint``, a picture, white
            where pixels are known; without it a box in the middle of so much of the sides is
            ``hidden``. factor: of ``sr``. spacing_mm: of pixels, where an archive does not say.
    """

    files: tuple[Path, ...]
    task: str = "inpaint"
    mask: Path | None = None
    hidden: float = 0.5
    factor: int = 2
    spacing_mm: float | None = None


@dataclass(frozen=True)
class Known:
    """What is known.

    Attributes:
        operator: A, the same for all. y: measurements of n images on the full grid, (n, channel, H,
            W). seen: images (n, channel, H, W) that show it. images: where it is from.
    """

    operator: Operator
    y: Tensor
    seen: Tensor
    images: Given


def inpaint(part: Part, contract: DataContract) -> Known:
    """All pixels where a mask is white, or outside a box in the middle."""
    size = contract.size
    if part.mask is None:
        grid = Grid(size, size, 1.0, "picture")
        operator: Operator = middle_hidden(grid, Choices(hidden=part.hidden)).operator
    else:
        _check_mask(part.mask, part.files, contract)
        mask = pattern_of(part.mask)
        found = load_pictures([mask], root=Path("/"), size=size, colour=False)
        whole = found.images[0, 0] > 1 - 1e-6  # where it is reduced: all of a pixel is known
        if len(found.images) != 1 or not 0 < int(whole.sum()) < size**2:
            raise MedscoreError(
                f"--mask: {int(whole.sum())} of {size**2} pixels are white", where=part.mask,
                hint="give one picture, white where the image is known, black elsewhere",
            )  # fmt: skip
        operator = Inpainting(whole)
    images = given(part.files, contract, spacing_mm=part.spacing_mm)
    y = operator.forward(images.x)
    grey = torch.full_like(images.x, 0.5)
    return Known(operator, y, torch.where(operator.mask(y).bool(), y, grey), images)


def _check_mask(mask: Path, files: Sequence[Path], contract: DataContract) -> None:
    """Refuse one of another shape than the images, which its middle would be cut out of."""
    if mask.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        raise MedscoreError("--mask in a format that changes whites", where=mask, hint="give a PNG")
    shape = _shape(mask)
    if shape is None or shape == (contract.size, contract.size):
        return
    for file in files:
        its = _shape(file)
        width, height = its or (1, 1)
        if shape[0] * height != shape[1] * width:
            raise MedscoreError(
                f"--mask of {shape[0]}x{shape[1]} pixels, {file} is "
                + ("no picture file" if its is None else f"of {width}x{height}"),
                where=mask, hint="give one of the images' proportions, or a square",
            )  # fmt: skip


def _shape(file: Path) -> tuple[int, int] | None:
    """Width and height of a picture file, if it is one; broken ones are refused elsewhere."""
    try:
        with Image.open(file) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def sr(part: Part, contract: DataContract) -> Known:
    """Images of 1 / factor the size, each pixel the mean of a block."""
    size, factor = contract.size, part.factor
    if factor < 2 or size % factor:
        raise MedscoreError(
            f"--factor {factor} of a prior with images of side {size}",
            hint="use a divisor of the side, 2 or more",
        )
    operator = SuperResolution(size, size, factor)
    images = given(part.files, contract, side=size // factor, spacing_mm=part.spacing_mm)
    y = operator.measurement(images.x)
    return Known(operator, y, operator.zero_filled(y), images)


def colorize(part: Part, contract: DataContract) -> Known:
    """Grey images; of what has colours, their mean."""
    if contract.quantity != "colour":
        raise MedscoreError(
            f"--task colorize with prior {contract.name} of {contract.quantity} images",
            hint="use a prior of pictures with `colour: true`",
        )
    operator = Colorization(contract.size, contract.size)
    images = given(part.files, contract)
    y = operator.measurement(images.x.mean(1, keepdim=True))
    return Known(operator, y, operator.zero_filled(y), images)


TASKS: dict[str, Callable[[Part, DataContract], Known]] = {
    "inpaint": inpaint, "sr": sr, "colorize": colorize,
}  # fmt: skip


def known(part: Part, contract: DataContract) -> Known:
    """What the options say.

    Raises:
        MedscoreError: naming the option, or the file.
    """
    if part.task not in TASKS:
        raise MedscoreError(f"--task {part.task!r}", hint=f"use one of: {', '.join(TASKS)}")
    inpaints, usual = part.task == "inpaint", Part(())
    for name, asked, of in (
        ("--mask", part.mask != usual.mask, inpaints),
        ("--hidden", part.hidden != usual.hidden, inpaints and part.mask is None),
        ("--factor", part.factor != usual.factor, part.task == "sr"),
    ):
        if asked and not of:
            beside = " and --mask" if inpaints and name == "--hidden" else ""
            raise MedscoreError(f"{name} with --task {part.task}{beside}", hint="leave it out")
    return TASKS[part.task](part, contract)
