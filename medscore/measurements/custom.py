"""A measurement from user-supplied data and operator."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.datasets.raw.units import check_line_integrals
from medscore.datasets.volume import Source, centred_affine
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER
from medscore.measurements.contents import (
    ATTENUATION,
    IMAGE_UNITS,
    Measurement,
    check_measurement,
    pixel_of,
    voxels_of,
)
from medscore.measurements.noise_model import UNIFORM, noise_model, parts_of
from medscore.operators.base import Operator
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.radon import Radon
from medscore.operators.mri.multicoil import sensitivity_of

NAMES = {
    "data": "`data`",
    "metal": "`metal`",
    "image_unit": "`image_unit`",
    "geometry/affine": "`affine`",
}
"""Arguments by the names of the fields of a file."""


def make_measurement(
    data: Tensor | NDArray[np.generic],
    operator: Operator,
    *,
    image_unit: str,
    spacing_mm: float | None = None,
    affine: NDArray[np.float64] | None = None,
    noise: str = "none",
    task: str = "custom",
    metal: NDArray[np.floating] | None = None,
) -> Measurement:
    """Combine data with the operator that measured them, for :func:`medscore.reconstruct`.

    Args:
        data: measurements, (slices, *the shape of the operator's output), zero where nothing was
            measured.
        operator: A, on images in ``image_unit``.
        image_unit: unit of the images that the operator acts on: "1/mm" (CT attenuation), "HU", or
            "magnitude" (MR).
        spacing_mm: pixel spacing in mm of the images; by default that of a CT operator, or 1.
        affine: 4 x 4 matrix from voxel (column, row, slice) to patient coordinates in mm, instead
            of ``spacing_mm``.
        noise: noise of the data: "none", "gaussian:STD", "poisson:PHOTONS",
            "poisson:PHOTONS,ELECTRONIC", or "unknown" to estimate it.
        task: name for the provenance.
        metal: HU (slices, H, W) of the scanner's own image in metal implants, NaN elsewhere; they
            are put back into the reconstruction.

    Raises:
        MedscoreError: an unknown unit or noise model, or data, operator, unit and geometry that do
            not fit each other, or line integrals that look like counts.
    """
    _check_types(data, operator, image_unit, noise, task)
    modality = IMAGE_UNITS[image_unit]
    values = _values(data, operator)
    made = Measurement(
        data=values,
        operator=operator,
        task=task,
        modality=modality,
        image_unit=image_unit,
        mu_water=MU_WATER if modality == "CT" else None,
        noise=noise,
        affine=_affine(operator, spacing_mm, affine),
        source=Source("array", hashlib.sha256(values.tobytes()).hexdigest()),
        metal=None if metal is None else np.asarray(metal, dtype=np.float32),
    )
    check_measurement(made, _fault)
    if isinstance(operator, Radon | ConeBeam) and image_unit == ATTENUATION:
        check_line_integrals(values[:, :, operator.measured.numpy()])
    return made


def _fault(what: str) -> MedscoreError:
    for of_file, name in NAMES.items():
        what = what.replace(of_file, name, 1) if what.startswith(of_file) else what
    return MedscoreError(what, hint="see the arguments of make_measurement")


def _check_types(
    data: object, operator: object, image_unit: object, noise: object, task: object
) -> None:
    if not isinstance(data, Tensor | np.ndarray):
        raise MedscoreError(f"`data` is a {type(data).__name__}", hint="give a tensor or an array")
    if not isinstance(operator, Operator):
        raise MedscoreError(
            f"`operator` is a {type(operator).__name__}",
            hint="make an operator of two functions with LinearOperator",
        )
    if not isinstance(image_unit, str) or image_unit not in IMAGE_UNITS:
        raise MedscoreError(
            f"`image_unit` is {image_unit!r}", hint=f"use one of: {', '.join(IMAGE_UNITS)}"
        )
    if not isinstance(task, str) or not task:
        raise MedscoreError(f"`task` is {task!r}", hint="give a name, such as custom")
    if noise not in ("unknown", "estimate", UNIFORM):
        model = parts_of(noise)[1] if isinstance(noise, str) else noise
        noise_model(model)  # type: ignore[arg-type]  # which it checks


def _values(
    data: Tensor | NDArray[np.generic], operator: Operator
) -> NDArray[np.float32] | NDArray[np.complex64]:
    """The data with an axis of slices, and one of channels where the operator states none."""
    try:
        y = torch.as_tensor(data).detach().cpu()
    except (TypeError, ValueError) as error:
        raise MedscoreError(
            f"`data` is of type {data.dtype}", hint="use float32 or complex64"
        ) from error
    if y.numel() == 0:
        raise MedscoreError(f"`data` has shape {tuple(y.shape)}", hint="give at least one slice")
    axes = len(operator.grid_shape)
    without_channel = axes == 2 and sensitivity_of(operator) is None
    if without_channel and y.ndim == 3:
        y = y[:, None]
    if isinstance(operator, ConeBeam) and y.ndim == axes - 1:
        y = y[None]
    while axes <= y.ndim < axes + 1 + without_channel:
        y = y[None]
    try:
        operator.check(y)
    except ValueError as error:
        raise MedscoreError(f"`data`: {error}", hint="give A x of each slice") from error
    dtype = torch.complex64 if y.is_complex() else torch.float32
    values: NDArray[np.float32] = y.resolve_conj().to(dtype).contiguous().numpy()
    return values


def _affine(
    operator: Operator, spacing_mm: object, affine: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    if affine is not None:
        try:
            return np.asarray(affine, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise MedscoreError(
                f"`affine` is {affine!r}, expected a 4x4 matrix", hint="use that of an image"
            ) from error
    if spacing_mm is None and (grid := voxels_of(operator)) is not None:
        z, y, x = grid.spacing
        return centred_affine(*grid.shape[1:], (x, y, z))
    if spacing_mm is None:
        spacing_mm = pixel_of(operator) or 1.0
    number = isinstance(spacing_mm, int | float | np.number) and not isinstance(spacing_mm, bool)
    if not number or not 0 < float(spacing_mm) < math.inf:  # type: ignore[arg-type]
        raise MedscoreError(
            f"`spacing_mm` is {spacing_mm!r}, expected a positive number",
            hint="use mm, such as 0.7",
        )
    _check_pixel(operator, float(spacing_mm))  # type: ignore[arg-type]
    *_, rows, columns = operator.image_shape if len(operator.image_shape) > 1 else (1, 1)
    return centred_affine(rows, columns, (float(spacing_mm),) * 3)  # type: ignore[arg-type]


def _check_pixel(operator: Operator, spacing: float) -> None:
    pixel = pixel_of(operator)
    if pixel is not None and not math.isclose(spacing, pixel, rel_tol=2e-3):
        raise MedscoreError(
            f"`spacing_mm` is {spacing:g}, but the operator has pixels of {pixel:g} mm",
            hint="omit `spacing_mm`",
        )
