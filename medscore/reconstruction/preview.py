"""The preview of a reconstruction: images side by side in one window, with a scale bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

TITLE = 16
"""Height of the titles in pixels."""


def default_window(modality: str, image: NDArray[np.floating]) -> tuple[float, float]:
    """The values shown black and white, by modality.

    Args:
        modality: "CT" or "MR".
        image: the image, whose brightness counts unless it is CT.
    """
    if modality == "CT":
        return -1000.0, 1000.0
    return 0.0, max(float(np.quantile(image, 0.998)), 1e-30)


@dataclass(frozen=True)
class Panel:
    """One column of a preview.

    Attributes:
        title: title above the column.
        image: the slices (slices, H, W).
        low: value that is shown black.
        high: value that is shown white.
    """

    title: str
    image: NDArray[np.floating]
    low: float
    high: float


def picture(
    columns: dict[str, NDArray[np.floating]],
    window: tuple[float, float],
    spacing: float,
    *,
    spread: NDArray[np.floating] | None = None,
    unit: str = "",
) -> Image.Image:
    """An image with one column per reconstruction and one row per slice, for up to four slices.

    Args:
        columns: images (slices, H, W) by name.
        window: values that are shown black and white, written in the first title.
        spacing: pixel spacing in mm, for the scale bar in the lower left corner.
        spread: standard deviation (slices, H, W), shown after the first two columns, with white at
            a twentieth of the window; None to omit it.
        unit: unit of the values.
    """
    low, high = window
    shown = [Panel(name, image, low, high) for name, image in columns.items()]
    title = f"{shown[0].title}  {low:.4g}..{high:.4g} {unit}".rstrip()
    shown[0] = replace(shown[0], title=title)
    if spread is not None:
        tenth = (high - low) / 20
        title = f"std (white {tenth:.3g} {unit}".rstrip() + ")"
        shown.insert(2, Panel(title, spread, 0.0, tenth))
    return panels(shown, spacing)


def panels(shown: Sequence[Panel], spacing: float) -> Image.Image:
    """An image with one column per panel and one row per slice, for up to four slices.

    Args:
        shown: the columns.
        spacing: pixel spacing in mm, for the scale bar in the lower left corner.
    """
    count, _, width = shown[0].image.shape
    chosen = np.linspace(0, count - 1, min(4, count)).round().astype(int)
    zoom = max(1, round(256 / width))
    scaled = [(panel.image - panel.low) / (panel.high - panel.low) for panel in shown]
    grid = np.block([[image[i] for image in scaled] for i in chosen])
    pixels = (np.clip(grid, 0, 1) * 255).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
    canvas = Image.new("L", (pixels.shape[1], pixels.shape[0] + TITLE))
    canvas.paste(Image.fromarray(pixels), (0, TITLE))
    draw = ImageDraw.Draw(canvas)
    for index, panel in enumerate(shown):
        draw.text((index * width * zoom + 4, 2), panel.title, fill=255)
    _bar(draw, canvas.height, width * zoom, spacing / zoom)
    return canvas


def _bar(draw: ImageDraw.ImageDraw, bottom: int, width: int, mm_per_pixel: float) -> None:
    """Draw a scale bar with a round length in mm, at most a third of the image."""
    length = bar_length(width * mm_per_pixel)
    right = 6 + round(length / mm_per_pixel)
    draw.rectangle((6, bottom - 9, right, bottom - 6), fill=255, outline=0)
    draw.text((6, bottom - 22), f"{length:g} mm", fill=255, stroke_width=1, stroke_fill=0)


def bar_length(field_of_view: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most a third of the image's width.

    Args:
        field_of_view: width of the image in mm.
    """
    most = field_of_view / 3
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)
