r"""The image grid of a prior and that of a measurement: how the one is fitted to the other.

The measurement stays on the grid of its source. A prior of another matrix or pixel spacing works on
its own grid, with the operator :math:`A U`, where U undoes the fit
(:mod:`medscore.datasets.fit`); its samples are put back onto the source's grid. What the prior's
grid cannot show is the resampling error :math:`x - U D x`, which is measured on the image itself
(:func:`resampling_psnr`), and which noise-free data must not be forced to contain
(:func:`discretization_std`).
"""

from __future__ import annotations

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
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.resampled import Resampled

Data = NDArray[np.float32] | NDArray[np.complex64]
"""Measurements (slices, channel or coil, ...)."""

WINDOW = 15
"""Side of the window over which the square of the discretisation error is averaged."""

LEAST = 0.1
"""Smallest local discretisation error, relative to the root mean square of all."""

ROUNDING = 1e-6
"""Root mean square, relative to the range, of errors that are rounding."""

LEAST_OF_DATA = 1e-4
"""Smallest discretisation error, relative to the root mean square of the data."""


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

    Args:
        operator: the operator A on the grid of the source.
        fit: the fit.
    """
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
    """Standard deviation of what the prior's grid leaves out of the data, taken as noise.

    It is that of A (x - U D x) for a reconstruction x without a prior. In k-space it is local,
    because the frequencies that the grid cannot show are lost altogether. Rays and pixels have one
    for the whole slice: there most is lost at contours, which local weights would leave to the
    prior.

    Args:
        m: the measurement.
        operator: its operator A on real images of the source's grid.
        fit: the fit of its image to the prior's grid.
        images: reconstruction of the slices (slices, H, W), in the unit of A's images.
    """
    found = []
    for i, image in enumerate(images[None] if m.whole else images):
        chosen = operator.select([i])
        lost = torch.from_numpy(image - fit.undo(fit.apply(image)))[None, None]
        error = chosen.forward(_channels(chosen, lost))
        mask = chosen.mask(error).expand(error.shape)
        power = error.abs().square() / (2 if error.is_complex() else 1)
        mean = (power * mask).sum() / mask.sum()
        local = _averaged(power, mask) if error.is_complex() else mean.expand(1, 1, 1, 1)
        data = float(np.square(np.abs(m.data[i])).sum(dtype=np.float64) / float(mask.sum()))
        least = max(float(mean) * LEAST**2, data * LEAST_OF_DATA**2)
        found.append(local.clamp_min(least or 1.0).sqrt())
    return torch.cat(found)


def _channels(operator: Operator, images: Tensor) -> Tensor:
    """Real images as those of an operator, which may have two channels."""
    if len(operator.image_shape) < 3 or operator.image_shape[0] == 1:
        return images
    return torch.cat([images, torch.zeros_like(images)], dim=1)


def _averaged(power: Tensor, mask: Tensor) -> Tensor:
    """Means over the measured neighbours; zero where there are none."""
    flat, seen = (x.reshape(-1, 1, *x.shape[-2:]) for x in (power * mask, mask))

    def pooled(x: Tensor) -> Tensor:
        return avg_pool2d(x, WINDOW, stride=1, padding=WINDOW // 2)

    near: Tensor = pooled(flat) / pooled(seen).clamp_min(1e-6)
    return near.reshape(power.shape)


def resampling_psnr(volume: Volume, fit: Fit) -> float:
    """PSNR in dB of the image after the fit and back, inside the field: what the grid can show.

    The range is that of the CT convention, or the brightest value for MR; infinite if nothing is
    lost.

    Args:
        volume: the image on the grid of the source.
        fit: its fit to the prior's grid.
    """
    modality, inside = guess(volume), fit.inside
    fill, low, high = fill_of(modality), CT_CONVENTION.low, CT_CONVENTION.high
    if modality != "CT":
        low, high = 0.0, float(volume.values.max())
    error, count = 0.0, 0
    for image in volume.values:
        lost = fit.undo(fit.apply(image, fill), fill).clip(low, high) - image.clip(low, high)
        error += float((lost[inside].astype(np.float64) ** 2).sum())
        count += int(inside.sum())
    relative = error / count / (high - low) ** 2
    return float("inf") if relative < ROUNDING**2 else float(-10 * np.log10(relative))


def fit_note(volume: Volume, fit: Fit, prior: str) -> str:
    """What the fit of an image to a prior's grid does and loses, in one sentence.

    Args:
        volume: the image on the grid of the source.
        fit: its fit.
        prior: name of the prior.
    """
    (rows, columns), (x, y, _) = fit.source_shape, volume.spacing
    return (
        f"{columns} x {rows} pixels of {pixel_text(x, y)} are fitted to those of prior {prior}, "
        f"{grid_text(fit, x)}: {psnr_text(resampling_psnr(volume, fit))}{share_text(fit)}"
    )


def grid_text(fit: Fit, column: float) -> str:
    """The new grid of a fit, for messages.

    Args:
        fit: the fit.
        column: distance between the columns of the source in mm.
    """
    rows, columns = fit.shape
    pixel = column * fit.columns.step
    return f"{columns} x {rows} pixels of {pixel_text(pixel, pixel)}"


def pixel_text(x: float, y: float) -> str:
    """A pixel spacing, for messages.

    Args:
        x: distance between the columns in mm.
        y: distance between the rows in mm.
    """
    return f"{x:.4g} mm" if abs(x - y) <= 1e-3 * x else f"{x:.4g} x {y:.4g} mm"


def psnr_text(psnr: float) -> str:
    """What resampling loses, for messages.

    Args:
        psnr: from :func:`resampling_psnr`.
    """
    if psnr == float("inf"):
        return "nothing is lost"
    return f"{psnr:.1f} dB remain after resampling and back"


def share_text(fit: Fit) -> str:
    """The share of pixels outside the field, for messages; empty if there are none.

    Args:
        fit: the fit.
    """
    share = 100 * float((~fit.inside).mean())
    return f", {share:.1f} % of the pixels lie outside its field" if share else ""
