"""The noise standard deviation of a measurement."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.measurements.noise_model import noise_model
from medscore.measurements.noise_std import photon_std, std_of, uniform_std
from medscore.operators.noise_level import kspace_corners

ESTIMATES = {"estimate": photon_std, "estimate:uniform": uniform_std}
"""Noise estimated from line integrals: photon counts, or one standard deviation for all rays."""


def noise_std_of(text: str, measurement: Measurement, where: str | Path) -> Tensor | None:
    """The noise standard deviation of a measurement, broadcastable to its data; None if noise-free.

    Args:
        text: ``recorded`` for the recorded noise of the measurement; a name in ``ESTIMATES`` to
            estimate it from the data, which is also done if the recorded noise is ``unknown``; or a
            noise model as for :func:`noise_model`.
        measurement: the data.
        where: name of the measurement in error messages.

    Raises:
        MedscoreError: an unknown noise model, or data that do not determine the noise level.
    """
    y = torch.from_numpy(measurement.data)
    if text == "recorded":
        text = measurement.noise
    if text == "unknown":
        text = "estimate"
    mask = measurement.operator.mask(y)
    try:
        if text not in ESTIMATES:
            return std_of(noise_model(text), y)
        if measurement.image_unit == ATTENUATION:
            return ESTIMATES[text](y, mask)
        if y.is_complex():
            return kspace_corners(y, mask)[:, None, None, None]
        raise ValueError("pixel data do not determine it")
    except ValueError as error:
        raise MedscoreError(
            f"the noise level is unknown: {error}", where=where, hint="set `noise`"
        ) from error
