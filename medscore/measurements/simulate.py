"""Simulated measurements of real images, slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medscore.datasets.volume import Volume
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER
from medscore.measurements.measurement import Measurement
from medscore.measurements.tasks import TASKS, Choices, Grid


def simulate(
    volume: Volume, task: str, choices: Choices, *, noise_name: str, seed: int
) -> Measurement:
    """What the scan of a task makes of a volume in HU or of magnitudes.

    Args:
        volume: square pixels, modality known; checked by the caller. noise_name: recorded in the
            measurement. seed: of the noise, which each slice draws by itself.

    Raises:
        MedscoreError: choices that the task cannot do.
    """
    _, rows, columns = volume.values.shape
    scan = TASKS[task](Grid(rows, columns, volume.spacing[0], volume.modality), choices)
    data: NDArray[Any] | None = None
    for index, image in enumerate(volume.values):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        y = scan.measure(torch.from_numpy(image).float()[None, None], generator)
        if data is None:
            data = np.empty((len(volume.values), *y.shape[1:]), dtype=y.numpy().dtype)
        data[index] = y[0].numpy()
    if data is None:
        raise MedscoreError("the volume has no slices", hint="choose some")
    return Measurement(
        data=data,
        operator=scan.operator,
        task=task,
        modality=volume.modality,
        image_unit=scan.image_unit,
        mu_water=MU_WATER if volume.modality == "CT" else None,
        noise=scan.noise or noise_name,
        affine=volume.affine,
        source=volume.source,
    )
