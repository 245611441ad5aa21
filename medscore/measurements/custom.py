"""A measurement from user-supplied data and operator."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.datasets.volume import Source, centred_affine
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER
from medscore.measurements.measurement import IMAGE_UNITS, Measurement
from medscore.measurements.noise_model import noise_model
from medscore.operators.base import Operator


def make_measurement(
    data: Tensor | NDArray[np.generic],
    operator: Operator,
    *,
    image_unit: str,
    spacing_mm: float = 1.0,
    affine: NDArray[np.float64] | None = None,
    noise: str = "none",
    task: str = "custom",
) -> Measurement:
    """Combine data with the operator that measured them, for :func:`medscore.reconstruct`.

    Args:
        data: measurements, (slices, *the shape of the operator's output), zero where nothing was
            measured.
        operator: A, on images in ``image_unit``.
        image_unit: unit of the images that the operator acts on: "1/mm" (CT attenuation), "HU", or
            "magnitude" (MR).
        spacing_mm: pixel spacing in mm of the images.
        affine: 4 x 4 matrix from voxel (column, row, slice) to patient coordinates in mm, instead
            of ``spacing_mm``.
        noise: noise of the data: "none", "gaussian:STD", "poisson:PHOTONS", or "unknown" to
            estimate it.
        task: name for the provenance.

    Raises:
        MedscoreError: an unknown unit or noise model, or data that do not fit the operator.
    """
    if image_unit not in IMAGE_UNITS:
        raise MedscoreError(
            f"`image_unit` is {image_unit!r}", hint=f"use one of: {', '.join(IMAGE_UNITS)}"
        )
    if noise not in ("unknown", "estimate", "estimate:uniform"):
        noise_model(noise)
    y = torch.as_tensor(data).detach().cpu()
    if y.ndim == len(operator.grid_shape):
        y = y[None]
    try:
        operator.check(y)
    except ValueError as error:
        raise MedscoreError(f"`data`: {error}", hint="give A x of each slice") from error
    *_, rows, columns = operator.image_shape
    if affine is None:
        affine = centred_affine(rows, columns, (spacing_mm, spacing_mm, spacing_mm))
    values = (y.to(torch.complex64) if y.is_complex() else y.float()).contiguous().numpy()
    modality = IMAGE_UNITS[image_unit]
    return Measurement(
        data=values,
        operator=operator,
        task=task,
        modality=modality,
        image_unit=image_unit,
        mu_water=MU_WATER if modality == "CT" else None,
        noise=noise,
        affine=np.asarray(affine, dtype=np.float64),
        source=Source("array", hashlib.sha256(values.tobytes()).hexdigest()),
    )
