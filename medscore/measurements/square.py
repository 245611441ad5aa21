"""CT of slices on any grid: a scan of the square around them, in square pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TypeAlias

import torch
from torch import Tensor

from medscore.datasets.volume import AIR
from medscore.hounsfield import hu_to_mu
from medscore.measurements.choices import Choices, Grid, Scan
from medscore.measurements.fitting import through
from medscore.measurements.measurement import ATTENUATION
from medscore.measurements.metal import TRACE_OF_METAL
from medscore.measurements.noise_model import and_more
from medscore.measurements.object_scan import object_measure
from medscore.operators.base import Operator
from medscore.operators.ct.radon import Radon
from medscore.operators.noise import Noiseless, NoiseModel

Task: TypeAlias = Callable[[Grid, Choices], Scan]
"""Makes a scan from the image's grid and the parameters."""


def on_a_square(task: Task) -> Task:
    """A task for square images on any grid: air or interpolation to square pixels around it.

    Args:
        task: a task that takes square images in square pixels.
    """

    @wraps(task)
    def on_any_grid(grid: Grid, c: Choices) -> Scan:
        fit = grid.square
        if fit.trivial:
            return task(grid, c)
        side, spacing = fit.shape[0], min(grid.spacing, grid.row_spacing or grid.spacing)
        scan = task(Grid(side, side, spacing, grid.modality), c)

        operator = through(scan.operator, fit)
        if scan.with_metal is None and c.same_rays:
            return Scan(operator, ATTENUATION, plain(operator, c.noise, hu_to_mu))

        def measure(image: Tensor, generator: torch.Generator) -> Tensor:
            return scan.measure(torch.from_numpy(fit.apply(image.numpy(), AIR)), generator)

        shown_with_metal = scan.with_metal
        if shown_with_metal is None:
            return replace(scan, operator=operator, measure=measure)

        def with_metal(image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
            padded = torch.from_numpy(fit.apply(image.numpy(), AIR))
            y, shown, share = shown_with_metal(padded, generator)
            share = torch.from_numpy(fit.undo(share.numpy()))
            share = torch.where(share > TRACE_OF_METAL, share, 0)
            return y, torch.from_numpy(fit.undo(shown.numpy(), AIR)), share

        return replace(scan, operator=operator, measure=measure, with_metal=with_metal)

    return on_any_grid


def ct_scan(operator: Radon, grid: Grid, c: Choices) -> Scan:
    """A scan without metal: of the reconstruction's own pixels, or of a finer object.

    Args:
        operator: operator on the attenuation in 1/mm.
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: as :func:`~medscore.measurements.object_scan.object_measure`.
    """
    if c.same_rays:
        return Scan(operator, ATTENUATION, plain(operator, c.noise, hu_to_mu))
    return Scan(operator, ATTENUATION, object_measure(operator, grid, c), noise_of_object(c))


def noise_of_object(c: Choices) -> str:
    """The noise to record of the data of an object on a finer grid.

    What a finer object does to the data is not known to the operator: beside the noise, its error
    is to be estimated from the data. The noise of noise-free data, and of photons after the
    correction of beam hardening, is recorded as unknown.

    Args:
        c: parameters of the scan.
    """
    return "unknown" if c.spectrum or isinstance(c.noise, Noiseless) else and_more(c.noise)


def plain(
    operator: Operator, noise: NoiseModel, to_unit: Callable[[Tensor], Tensor] = lambda x: x
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """The measurement of an image by an operator, with noise.

    Args:
        operator: the operator.
        noise: model of the noise.
        to_unit: maps the image to the unit on which the operator acts.
    """

    def measure(image: Tensor, generator: torch.Generator) -> Tensor:
        y = operator.forward(to_unit(image))
        return noise(y, operator.mask(y), generator)

    return measure
