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
"""Noise levels from line integrals: counted photons, or one deviation for all rays."""


def noise_deviation(text: str, measurement: Measurement, where: Path) -> Tensor | None:
    """The deviation of the data, by what the file records (``recorded``), by the data themselves
    (an entry of ``ESTIMATES``, and where the file records ``unknown``), or by another model; None
    for none.

    Raises:
        MedscoreError: a noise that is not known, or data that tell no level.
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
        raise ValueError("the data are pixels, which do not tell it")
    except ValueError as error:
        raise MedscoreError(
            f"no noise level: {error}", where=where, hint="give it with --noise"
        ) from error
