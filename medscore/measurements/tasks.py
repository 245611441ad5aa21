"""The tasks that can be simulated: from an image's grid to an operator and a scan.

To add a task, write a function here and add its lines to ``TASKS`` and ``OPTIONS``.
"""

from __future__ import annotations

import math

import torch

from medscore.errors import MedscoreError
from medscore.measurements.choices import Choices, Grid, Scan, check_views
from medscore.measurements.cone_scan import cone_ct
from medscore.measurements.measurement import HU, MAGNITUDE
from medscore.measurements.metal import metal_pixels, metal_scan
from medscore.measurements.mr_scan import many_coils, one_coil
from medscore.measurements.square import Task, ct_scan, on_a_square, plain
from medscore.operators.base import Operator
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import full_grid, limited_angle, sparse_view
from medscore.operators.images.blur import Blur, gaussian_kernel
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.operators.noise import PoissonNoise

__all__ = ["NEEDS", "OPTIONS", "TASKS", "Choices", "Grid", "Scan", "inpaint", "metal_pixels"]


@on_a_square
def sparse_ct(grid: Grid, c: Choices) -> Scan:
    """Sparse-view CT: ``views`` equally spaced parallel-beam views over 180 degrees.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the number of views is invalid.
    """
    return ct_scan(_few_views(grid, c), grid, c)


@on_a_square
def limited_angle_ct(grid: Grid, c: Choices) -> Scan:
    """Limited-angle CT: all views of an arc.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the arc is invalid.
    """
    if not 0 < c.arc <= 180:
        raise MedscoreError(f"`arc` is {c.arc:g} degrees", hint="use more than 0, at most 180")
    side = grid.rows
    try:
        operator = limited_angle(side, grid.spacing, 0.0, math.radians(c.arc))
    except ValueError as error:
        raise MedscoreError(
            f"`arc` is {c.arc:g} degrees, which contains no view",
            hint=f"use at least {180 / full_grid(1, side):.3g}, the distance of two views",
        ) from error
    return ct_scan(operator, grid, c)


@on_a_square
def mar(grid: Grid, c: Choices) -> Scan:
    """Metal artifact removal: all views of a patient with metal, without the rays through it.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the noise is not that of photon counting, or no implant lies in the image.
    """
    side = grid.rows
    return metal_scan(sparse_view(side, grid.spacing, full_grid(1, side)), grid, c)


@on_a_square
def sparse_mar(grid: Grid, c: Choices) -> Scan:
    """Metal artifact removal with few views.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: as :func:`mar`, or the number of views is invalid.
    """
    return metal_scan(_few_views(grid, c), grid, c)


def inpaint(grid: Grid, c: Choices) -> Scan:
    """Inpainting: all pixels except a box in the middle.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the hidden share is invalid.
    """
    if not 0 < c.hidden < 1:
        raise MedscoreError(f"`hidden` is {c.hidden:g}", hint="use more than 0, less than 1")
    known = torch.ones(grid.shape, dtype=torch.bool)
    (top, height), (left, width) = (
        (round(n * (1 - c.hidden) / 2), round(n * c.hidden)) for n in grid.shape
    )
    known[top : top + height, left : left + width] = False
    if bool(known.all()) or not bool(known.any()):
        raise MedscoreError(
            f"`hidden` is {c.hidden:g}, which hides {'no' if bool(known.all()) else 'every'} pixel",
            hint="use 0.25",
        )
    return _pixels(Inpainting(known), grid, c)


def super_resolution(grid: Grid, c: Choices) -> Scan:
    """Super-resolution: means over blocks of ``factor`` x ``factor`` pixels.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the factor does not divide the image.
    """
    try:
        return _pixels(SuperResolution(*grid.shape, c.factor), grid, c)
    except ValueError as error:
        rows, columns = grid.shape
        raise MedscoreError(
            f"`factor` is {c.factor}, which does not divide {rows}x{columns}", hint="use 2 or 4"
        ) from error


def deblur(grid: Grid, c: Choices) -> Scan:
    """Deblurring: a Gaussian blur.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the blur is invalid for the image.
    """
    if not 0 < c.blur <= min(grid.shape) / 9:
        raise MedscoreError(
            f"`blur` is {c.blur:g} pixels",
            hint=f"use more than 0, at most {min(grid.shape) / 9:.3g}",
        )
    return _pixels(Blur(gaussian_kernel(c.blur), *grid.shape), grid, c)


TASKS: dict[str, Task] = {
    "sparse-ct": sparse_ct,
    "limited-angle": limited_angle_ct,
    "cone-ct": cone_ct,
    "mar": mar,
    "sparse-mar": sparse_mar,
    "mri": one_coil,
    "mri-multicoil": many_coils,
    "inpaint": inpaint,
    "sr": super_resolution,
    "deblur": deblur,
}
"""Tasks by name."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "sparse-ct": ("views", "finer", "spectrum"),
    "limited-angle": ("arc", "finer", "spectrum"),
    "cone-ct": ("views", "source_distance", "finer"),
    "mar": ("implants", "finer", "spectrum"),
    "sparse-mar": ("views", "implants", "finer", "spectrum"),
    "mri": ("acceleration", "mask", "trajectory", "phase"),
    "mri-multicoil": ("acceleration", "mask", "trajectory", "phase", "coils", "maps"),
    "inpaint": ("hidden",),
    "sr": ("factor",),
    "deblur": ("blur",),
}
"""The parameters in :class:`Choices` that a task uses, besides ``noise`` and ``seed``."""

NEEDS = {
    "sparse-ct": "CT", "limited-angle": "CT", "cone-ct": "CT", "mar": "CT", "sparse-mar": "CT",
    "mri": "MR", "mri-multicoil": "MR",
}  # fmt: skip
"""The modality that a task requires; other tasks take CT and MR."""


def measures_finer(task: str, c: Choices) -> bool:
    """True if a task measures its object on a finer grid than that of the reconstruction.

    Args:
        task: name of the task.
        c: parameters of the scan.
    """
    return "finer" in OPTIONS[task] and c.refinement > 1


def _few_views(grid: Grid, c: Choices) -> Radon:
    check_views(c.views)
    return sparse_view(grid.rows, grid.spacing, c.views)


def _pixels(operator: Operator, grid: Grid, c: Choices) -> Scan:
    if isinstance(c.noise, PoissonNoise):
        raise MedscoreError("pixels count no photons", hint="set `noise` to gaussian:STD")
    unit = HU if grid.modality == "CT" else MAGNITUDE
    return Scan(operator, unit, plain(operator, c.noise))
