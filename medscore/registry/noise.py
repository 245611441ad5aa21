"""The noise standard deviation of a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.measurements.noise_model import UNIFORM, noise_model, parts_of
from medscore.measurements.noise_std import and_model, photon_std, std_of, uniform_std
from medscore.operators.mri.centre import scanner
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.noise_level import kspace_corners, trajectory_ends

ESTIMATES = {"estimate": photon_std, UNIFORM: uniform_std}
"""Noise estimated from line integrals: photon counts, or one standard deviation for all rays."""


Noise = str | float | Sequence[float] | Tensor
"""A noise model or source by name, or standard deviations that broadcast to the measurements."""


def noise_std_of(noise: Noise, measurement: Measurement, where: str | Path) -> Tensor | None:
    """The noise standard deviation of a measurement, broadcastable to its data; None if noise-free.

    Args:
        noise: ``recorded`` for the recorded noise of the measurement; a name in ``ESTIMATES`` to
            estimate it from the data, which is also done if the recorded noise is ``unknown``; a
            noise model as for :func:`noise_model`; ``estimate:uniform+MODEL`` for a model and the
            errors beyond it; or the standard deviation itself, in the unit of the data, as a number
            or a tensor that broadcasts to the data. 0 is noise-free.
        measurement: the data.
        where: name of the measurement in error messages.

    Raises:
        MedscoreError: an unknown noise model, values that are no standard deviations, or data that
            do not determine the noise level.
    """
    if not isinstance(noise, str):
        return _given(noise, measurement)
    text = noise
    y = torch.from_numpy(measurement.data)
    if text == "recorded":
        text = measurement.noise
    if text == "unknown":
        text = "estimate"
    mask = measurement.operator.mask(y)
    try:
        estimate, model = parts_of(text)
        if estimate and model and measurement.image_unit == ATTENUATION:
            known = std_of(noise_model(model), y)
            return ESTIMATES[estimate](y, mask) if known is None else and_model(known, y, mask)
        if text not in ESTIMATES:
            return std_of(noise_model(text), y)
        if measurement.image_unit == ATTENUATION:
            return ESTIMATES[text](y, mask)
        if y.is_complex():
            scan = scanner(measurement.operator)
            if isinstance(scan, NonuniformFourier | MulticoilNonuniform):
                found = trajectory_ends(y, mask, scan.trajectory)
            else:
                found = kspace_corners(y, mask)
            if not bool((found > 0).all()):
                raise ValueError("the corners of k-space show no noise")
            return found.reshape(-1, *(1,) * (y.ndim - 1))
        raise ValueError("pixel data do not determine it")
    except ValueError as error:
        raise MedscoreError(
            f"the noise level is unknown: {error}", where=where, hint="set `noise`"
        ) from error


def _given(noise: float | Sequence[float] | Tensor, measurement: Measurement) -> Tensor | None:
    try:
        std = torch.as_tensor(noise, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MedscoreError(
            f"`noise` is {noise!r}", hint="use a name, a number or a tensor"
        ) from error
    if not bool((std >= 0).all() & std.isfinite().all()):
        raise MedscoreError("`noise` has negative or non-finite values", hint="use 0 or more")
    if std.ndim == 0:
        return std.reshape(1, 1, 1, 1) if float(std) else None
    shape = measurement.data.shape
    fits = all(n in (1, m) for n, m in zip(reversed(std.shape), reversed(shape), strict=False))
    if std.ndim > len(shape) or not fits:
        raise MedscoreError(
            f"`noise` has shape {tuple(std.shape)}, but the measurements {shape}",
            hint="use a number, or a shape that broadcasts to that of the measurements",
        )
    return std.reshape(*(1,) * (len(shape) - std.ndim), *std.shape)
