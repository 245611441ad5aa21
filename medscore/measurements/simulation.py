"""Simulated measurements of real images, slice by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medscore.datasets.fit import reduce
from medscore.datasets.load import SMALLEST
from medscore.datasets.volume import Volume, check_modality, check_values, guess
from medscore.datasets.voxel_grid import check_grid
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER
from medscore.measurements.choices import Choices, Grid, check_seed
from medscore.measurements.measurement import ATTENUATION, LARGEST, Measurement
from medscore.measurements.refined import whole_field
from medscore.measurements.spec import choices, scan_spec
from medscore.measurements.tasks import NEEDS, TASKS, measures_finer
from medscore.numeric import is_whole


def simulate(
    image: Volume,
    task: str,
    *,
    noise: str = "none",
    seed: int = 0,
    size: int | None = None,
    **options: Any,
) -> Measurement:
    """Simulate the measurement of an image.

    CT with noise is measured on a finer grid than that of the reconstruction, by detectors with a
    width; see ``finer`` of :class:`~medscore.measurements.choices.Choices`.

    Args:
        image: CT in HU or MR magnitudes, of any matrix and pixel spacing.
        task: what is measured: a key of :data:`medscore.measurements.tasks.TASKS`.
        noise: noise model in the unit of the data: ``none``, ``gaussian:STD``,
            ``poisson:PHOTONS`` (photons per ray) or ``poisson:PHOTONS,ELECTRONIC`` (with the
            standard deviation of the electronic noise in photons).
        seed: seed of the noise and of random sampling patterns; each slice has noise of its own.
        size: rows and columns of the image to reconstruct, which shows the same field; by default
            those of ``image``. Its area means are the ground truth, as of ``load_image``. CT on a
            finer grid is measured from ``image`` in its own matrix, everything else from the area
            means.
        options: parameters of the task; see :data:`medscore.measurements.tasks.OPTIONS` and
            :class:`medscore.measurements.choices.Choices`.

    Raises:
        MedscoreError: the task is unknown, ``image`` is no image that was read, not of its
            modality, or an option is unknown to the task or invalid.
    """
    if not isinstance(image, Volume):
        raise MedscoreError(
            f"`image` is {_described(image)}, expected an image that was read",
            hint="read a file with load_image",
        )
    spec = scan_spec(task, noise, seed, options)
    chosen = choices(spec)
    check_values(image.values)
    check_grid(image.affine)
    if size is not None and (not is_whole(size) or size < SMALLEST):
        raise MedscoreError(f"`size` is {size!r:.80}", hint=f"use a whole number from {SMALLEST}")
    image = check_modality(image, NEEDS.get(task) or guess(image))
    return simulate_scan(image, task, chosen, noise_name=noise, seed=seed, size=size)


def simulate_scan(
    image: Volume,
    task: str,
    chosen: Choices,
    *,
    noise_name: str,
    seed: int,
    size: int | None = None,
) -> Measurement:
    """Simulate the measurement of an image that was checked already.

    Args:
        image: slices of the modality that the task requires.
        task: a key of :data:`medscore.measurements.tasks.TASKS`.
        chosen: parameters of the scan.
        noise_name: noise to record in the measurement.
        seed: seed of the noise.
        size: rows and columns of the image to reconstruct; by default those of ``image``.

    Raises:
        MedscoreError: a parameter is invalid, or the data are too large for a scan.
    """
    check_seed(seed)
    source, own = image, None
    if size is not None:
        image = reduce(source, size)
        if measures_finer(task, chosen):
            column, row, _ = source.spacing
            own = whole_field(source.values.shape[1:], (row, column))
        else:
            source = image
    count, rows, columns = image.values.shape
    column, row, between = image.spacing
    matrix = None if own is None else own.side
    grid = Grid(rows, columns, column, image.modality, row, matrix, count, between)
    scan = TASKS[task](grid, chosen)
    data: NDArray[Any] | None = None
    metal = None if scan.with_metal is None else np.empty(image.values.shape, np.float32)
    if scan.whole and count:
        volume = source.values if own is None else np.stack([own.of(s) for s in source.values])
        generator = torch.Generator().manual_seed(seed * 1_000_003)
        data = scan.measure(torch.from_numpy(volume).float()[None, None], generator).numpy()
    for index, slice_ in enumerate(() if scan.whole else source.values):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        values = slice_ if own is None else own.of(slice_)
        truth = torch.from_numpy(values).float()[None, None]
        if metal is None or scan.with_metal is None:
            y = scan.measure(truth, generator)
        else:
            y, shown, share = scan.with_metal(truth, generator)
            metal[index] = torch.where(share > 0, shown, torch.nan)[0, 0].numpy()
        if data is None:
            data = np.empty((len(image.values), *y.shape[1:]), dtype=y.numpy().dtype)
        data[index] = y[0].numpy()
    if data is None:
        raise MedscoreError("the volume has no slices", hint="select at least one")
    _check_largest(data, scan.image_unit, noise_name)
    try:
        operator = scan.operator_of(torch.from_numpy(data))
    except ValueError as error:
        raise MedscoreError(
            f"coil maps cannot be estimated: {error}",
            hint="decrease `acceleration`, or set `maps` to low-resolution or known",
        ) from error
    return Measurement(
        data=data,
        operator=operator,
        task=task,
        modality=image.modality,
        image_unit=scan.image_unit,
        mu_water=MU_WATER if image.modality == "CT" else None,
        noise=scan.noise or noise_name,
        affine=image.affine,
        source=image.source,
        metal=metal,
    )


def _described(image: object) -> str:
    """The value where it is short, else its type."""
    short = isinstance(image, str | Path | int | float | None)
    return repr(image) if short else f"a {type(image).__name__}"


def _check_largest(data: NDArray[Any], image_unit: str, noise_name: str) -> None:
    """Slice by slice, so that no copy of all data is made."""
    largest = np.max([np.abs(slice_).max() for slice_ in data])
    limit = LARGEST if image_unit == ATTENUATION else np.finfo(np.float32).max
    if not largest <= limit:  # NaN too
        raise MedscoreError(
            f"with `noise` {noise_name} the data reach {largest:g}",
            hint="use an image in its proper unit and the noise of a scan",
        )
