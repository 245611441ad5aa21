r"""The image grid of a prior and that of a measurement: how the one is fitted to the other.

The measurement stays on the grid of its source. A prior of another matrix or pixel spacing works on
its own grid, with the operator :math:`A U`, where U undoes the fit
(:mod:`medscore.datasets.fit`); its samples are put back onto the source's grid. What the prior's
grid cannot show is the resampling error :math:`x - U D x`, which is measured on the image itself
(:func:`resampling_psnr`), and which noise-free data must not be forced to contain
(:func:`discretization_std`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from medscore.datasets.fit import Fit, fill_of, fit_grid
from medscore.datasets.volume import AIR, Volume, guess
from medscore.domain import ImageDomain
from medscore.measurements.measurement import HU, Measurement
from medscore.metrics.convention import CT_CONVENTION
from medscore.operators.base import Operator
from medscore.operators.ct.radon import Radon
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.resampled import Resampled

Data = NDArray[np.float32] | NDArray[np.complex64]
"""Measurements (slices, channel or coil, ...)."""

WINDOW = 15
"""Side of the window over which the square of the discretisation error is averaged."""

LEAST = 0.1
"""Smallest local discretisation error, relative to the root mean square of all."""


def fit_to(domain: ImageDomain, shape: tuple[int, ...], spacing: tuple[float, float]) -> Fit | None:
    """The fit of a grid to that of a prior; ``None`` if the prior takes it as it is.

    Args:
        domain: image domain of the prior.
        shape: rows and columns.
        spacing: distance between the columns and between the rows in mm.
    """
    column, row = spacing
    low, high = domain.spacing_mm or (0.0, float("inf"))
    square = domain.spacing_mm is None or abs(column - row) <= 2e-3 * column
    if domain.size is None and square and low <= column <= high:
        return None
    if shape == (domain.size, domain.size) and square and low <= column <= high:
        return None
    size = domain.size
    if size is None:
        pixel = min(max(min(spacing), low), high)
        size = int(np.ceil(max(shape[0] * row, shape[1] * column) / pixel - 1e-6))
    found = fit_grid(shape, (row, column), size, domain.spacing_mm)
    return None if found.trivial else found


def through(operator: Operator, fit: Fit) -> Operator:
    """An operator on the new grid of a fit, as one on the grid of the source.

    Args:
        operator: the operator on the new grid.
        fit: the fit.
    """
    if fit.trivial:
        return operator
    (rows, columns), (height, width) = fit.shape, fit.source_shape
    shifts = fit.rows.shift, fit.columns.shift
    if height <= rows and width <= columns and None not in shifts:
        return Padded(operator, height, width)
    matrices = fit.rows.down, fit.columns.down, fit.rows.up, fit.columns.up
    return Resampled(operator, *map(torch.from_numpy, matrices))


def on_new_grid(operator: Operator, fit: Fit) -> Operator:
    """An operator on the grid of the source of a fit, as one on the new grid: A U.

    A projector takes the pixels of the new grid themselves, which is faster: its rays stay where
    they are, as both grids have the same centre.

    Args:
        operator: the operator A on the grid of the source.
        fit: the fit.
    """
    if isinstance(operator, Radon) and fit.concentric and fit.rows.step == fit.columns.step:
        beam = operator.geometry
        beam = replace(beam, size=fit.shape[0], spacing=beam.spacing * fit.rows.step)
        return Radon(beam, operator.diagonal, operator.noise_model)
    matrices = fit.rows.up, fit.columns.up, fit.rows.down, fit.columns.down
    return Resampled(operator, *map(torch.from_numpy, matrices))


def inside_data(m: Measurement, fit: Fit) -> Data:
    """The data without the part of the air around the field of the prior's grid.

    In HU air is -1000, so that pixels outside the field contribute to the data.

    Args:
        m: the measurement.
        fit: the fit of its image to the prior's grid.
    """
    if m.image_unit != HU or fit.inside.all():
        return m.data
    outside = torch.from_numpy(~fit.inside).float()[None, None] * AIR
    parts = [m.operator.select([i]).forward(outside)[0].numpy() for i in range(len(m.data))]
    data: Data = (m.data - np.stack(parts)).astype(m.data.dtype)
    return data


def discretization_std(
    m: Measurement, operator: Operator, fit: Fit, images: NDArray[np.float32]
) -> Tensor:
    """Local standard deviation of what the prior's grid leaves out of the data, as noise.

    It is A x - A' D x of a reconstruction x without a prior, with the operator A' on the prior's
    grid, squared and averaged over a window.

    Args:
        m: the measurement.
        operator: its operator A on real or complex images of the source's grid.
        fit: the fit of its image to the prior's grid.
        images: reconstruction of the slices (slices, H, W), in the unit of A's images.
    """
    found, on_grid = [], on_new_grid(operator, fit)
    for i, image in enumerate(images):
        chosen, coarse = operator.select([i]), on_grid.select([i])
        x, fitted = (torch.from_numpy(v)[None, None] for v in (image, fit.apply(image)))
        error = chosen.forward(_channels(chosen, x)) - coarse.forward(_channels(coarse, fitted))
        mask = chosen.mask(error)
        power = error.abs().square() / (2 if error.is_complex() else 1)
        found.append(_averaged(power, mask.expand(power.shape)).sqrt())
    return torch.cat(found)


def _channels(operator: Operator, images: Tensor) -> Tensor:
    """Real images as those of an operator, which may have two channels."""
    if len(operator.image_shape) < 3 or operator.image_shape[0] == 1:
        return images
    return torch.cat([images, torch.zeros_like(images)], dim=1)


def _averaged(power: Tensor, mask: Tensor) -> Tensor:
    """Means over the measured neighbours, at least a small share of the mean of all."""
    flat, seen = power.reshape(-1, 1, *power.shape[-2:]), mask.reshape(-1, 1, *mask.shape[-2:])

    def pooled(x: Tensor) -> Tensor:
        return avg_pool2d(x, WINDOW, stride=1, padding=WINDOW // 2)

    near, count = pooled(flat * seen), pooled(seen)
    mean = (flat * seen).sum() / seen.sum()
    local = torch.where(count > 0, near / count.clamp_min(1e-6), mean)
    return local.clamp_min(float(mean) * LEAST**2 + 1e-30).reshape(power.shape)


def resampling_psnr(volume: Volume, fit: Fit) -> float:
    """PSNR in dB of the image after the fit and back, inside the field: what the grid can show.

    The range is that of the CT convention, or the brightest value for MR; infinite if nothing is
    lost.

    Args:
        volume: the image on the grid of the source.
        fit: its fit to the prior's grid.
    """
    modality = guess(volume)
    fill, inside = fill_of(modality), fit.inside
    error, count = 0.0, 0
    for image in volume.values:
        image = image.clip(CT_CONVENTION.low, CT_CONVENTION.high) if modality == "CT" else image
        lost = (fit.undo(fit.apply(image, fill), fill) - image)[inside].astype(np.float64)
        error, count = error + float((lost**2).sum()), count + lost.size
    width = CT_CONVENTION.high - CT_CONVENTION.low
    if modality != "CT":
        width = float(volume.values.max())
    tiny = (1e-6 * width) ** 2  # rounding
    return (
        float("inf") if error <= tiny * count else float(-10 * np.log10(error / count / width**2))
    )
