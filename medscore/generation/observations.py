"""Noise-free observations of images that samples are conditioned on: pixels, block means, greys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.datasets.collections.pictures import load_pictures
from medscore.errors import MedscoreError
from medscore.io.pictures import open_picture
from medscore.likelihood.image_set import ImageSet
from medscore.likelihood.inputs import pattern_of, read_images
from medscore.measurements.tasks import Choices, Grid, inpaint as hide_centre
from medscore.operators.base import Operator
from medscore.operators.images.colorization import Colorization
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.priors.contract import DataContract


@dataclass(frozen=True)
class ObservationSettings:
    """Which images are observed, and which part of them.

    Attributes:
        files: the images.
        task: a name in ``TASKS``.
        mask: for ``inpaint``, an image that is white where pixels are observed; None hides a box
            in the centre instead.
        hidden: for ``inpaint`` without a mask, the side of the box as a fraction of the image's.
        factor: for ``sr``, the side of a block in pixels.
        spacing_mm: pixel size in mm, for archives that do not record it.
        accept: kinds of images that are used all the same.
    """

    files: tuple[Path, ...]
    task: str = "inpaint"
    mask: Path | None = None
    hidden: float = 0.5
    factor: int = 2
    spacing_mm: float | None = None
    accept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observations:
    """Noise-free measurements of n images.

    Attributes:
        operator: A, the same for all images.
        y: measurements on the full grid, (n, channel, H, W).
        shown: images (n, channel, H, W) that show the measurements.
        images: the source images; of super-resolution, at the reduced size.
    """

    operator: Operator
    y: Tensor
    shown: Tensor
    images: ImageSet


def inpaint(settings: ObservationSettings, contract: DataContract) -> Observations:
    """The pixels where a mask is white, or those outside a box in the centre.

    Args:
        settings: images and mask.
        contract: data contract of the prior.
    """
    size = contract.side
    if settings.mask is None:
        grid = Grid(size, size, 1.0, "picture")
        operator: Operator = hide_centre(grid, Choices(hidden=settings.hidden)).operator
    else:
        operator = Inpainting(_read_mask(settings.mask, settings.files, contract))
    images = _images(settings, contract, size)
    y = operator.forward(images.x)
    grey = torch.full_like(images.x, 0.5)
    return Observations(operator, y, torch.where(operator.mask(y).bool(), y, grey), images)


def _read_mask(mask: Path, files: Sequence[Path], contract: DataContract) -> Tensor:
    """Observed pixels (H, W) at the prior's size; a reduced pixel must be white throughout."""
    _check_mask(mask, files, contract)
    size = contract.side
    found = load_pictures([pattern_of(mask)], root=Path("/"), size=size, colour=False)
    white = found.images[0, 0] > 1 - 1e-6
    if len(found.images) != 1 or not 0 < int(white.sum()) < size**2:
        raise MedscoreError(
            f"`mask`: {int(white.sum())} of {size**2} pixels are white", where=mask,
            hint="give one image, white where pixels are observed and black elsewhere",
        )  # fmt: skip
    return white


def _check_mask(mask: Path, files: Sequence[Path], contract: DataContract) -> None:
    """Reject a mask whose proportions differ from the images': it would be cropped differently."""
    if mask.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        raise MedscoreError(
            "`mask` has a lossy format, which changes white pixels", where=mask, hint="give a PNG"
        )
    shape = _shape(mask)
    if shape is None or shape == (contract.side, contract.side):
        return
    for file in files:
        its = _shape(file)
        width, height = its or (1, 1)
        if shape[0] * height != shape[1] * width:
            raise MedscoreError(
                f"`mask` has {shape[0]}x{shape[1]} pixels, {file} "
                + ("is not an image file" if its is None else f"has {width}x{height}"),
                where=mask, hint="give a mask of the images' proportions, or a square one",
            )  # fmt: skip


def _shape(file: Path) -> tuple[int, int] | None:
    """Width and height of an image file; None for other files, which are rejected elsewhere."""
    try:
        with open_picture(file) as image:
            return image.size
    except MedscoreError:
        return None


def sr(settings: ObservationSettings, contract: DataContract) -> Observations:
    """Images of 1 / factor the prior's size, in which each pixel is the mean of a block.

    Args:
        settings: images and factor.
        contract: data contract of the prior.
    """
    size, factor = contract.side, settings.factor
    if factor < 2 or size % factor:
        raise MedscoreError(
            f"`factor` is {factor}, which does not divide the prior's image side {size}",
            hint="use a divisor of the side, 2 or more",
        )
    operator = SuperResolution(size, size, factor)
    images = _images(settings, contract, size // factor)
    y = operator.measurement(images.x)
    return Observations(operator, y, operator.zero_filled(y), images)


def colorize(settings: ObservationSettings, contract: DataContract) -> Observations:
    """Grey images; the mean over the channels of colour images.

    Args:
        settings: images.
        contract: data contract of the prior.
    """
    if contract.quantity != "colour":
        raise MedscoreError(
            f"`task` is colorize, but prior {contract.name} is of {contract.quantity} images",
            hint="use a prior that was trained with `colour: true`",
        )
    operator = Colorization(contract.side, contract.side)
    images = _images(settings, contract, contract.side)
    y = operator.measurement(images.x.mean(1, keepdim=True))
    return Observations(operator, y, operator.zero_filled(y), images)


def _images(settings: ObservationSettings, contract: DataContract, size: int) -> ImageSet:
    return read_images(
        settings.files, contract, size=size, spacing_mm=settings.spacing_mm, accept=settings.accept
    )


TASKS: dict[str, Callable[[ObservationSettings, DataContract], Observations]] = {
    "inpaint": inpaint, "sr": sr, "colorize": colorize,
}  # fmt: skip


def observe(settings: ObservationSettings, contract: DataContract) -> Observations:
    """Read the images and measure the part of them that the settings select.

    Args:
        settings: images, task and the task's parameters.
        contract: data contract of the prior.

    Raises:
        MedscoreError: a parameter is invalid or belongs to another task, or a file is unsuitable.
    """
    task = settings.task
    if task not in TASKS:
        raise MedscoreError(f"`task` is {task!r}", hint=f"use one of: {', '.join(TASKS)}")
    inpaints, defaults = task == "inpaint", ObservationSettings(())
    for name, given, applies in (
        ("mask", settings.mask != defaults.mask, inpaints),
        ("hidden", settings.hidden != defaults.hidden, inpaints and settings.mask is None),
        ("factor", settings.factor != defaults.factor, task == "sr"),
    ):
        if given and not applies:
            beside = " and `mask`" if inpaints and name == "hidden" else ""
            raise MedscoreError(
                f"`{name}` does not apply with `task` {task}{beside}", hint="leave it out"
            )
    return TASKS[task](settings, contract)
