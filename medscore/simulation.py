"""Simulated measurements of real images: sparse-view parallel-beam CT."""

from __future__ import annotations

import numpy as np
import torch

from medscore.attenuation import MU_WATER, hu_to_mu
from medscore.datasets.measurement import LINE_INTEGRAL, Measurement, OperatorSpec
from medscore.datasets.volume import Volume
from medscore.operators.noise import NoiseModel
from medscore.operators.scans import sparse_view


def simulate_sparse_ct(
    volume: Volume, *, views: int, noise: NoiseModel, noise_name: str, seed: int
) -> Measurement:
    """Line integrals of a CT volume in HU over ``views`` equally spaced views.

    Args:
        volume: square slices and pixels, checked by the caller.
        noise: applied to the line integrals, seeded per slice.
        noise_name: recorded in the measurement.
    """
    size, spacing = volume.values.shape[1], volume.spacing[0]
    operator = sparse_view(size, spacing, views)
    mu = torch.from_numpy(hu_to_mu(volume.values)).float()
    data = torch.zeros(len(mu), 1, operator.geometry.views, operator.geometry.detectors)
    for index, image in enumerate(mu):
        y = operator.forward(image[None, None])
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        data[index] = noise(y, operator.mask(y), generator)[0]
    return Measurement(
        data=data.numpy(),
        mask=operator.measured.numpy().astype(np.uint8),
        operator=OperatorSpec(
            kind="parallel-beam",
            size=size,
            spacing_mm=spacing,
            views=operator.geometry.views,
        ),
        task="sparse-ct",
        modality="CT",
        unit=LINE_INTEGRAL,
        mu_water=MU_WATER,
        noise=noise_name,
        affine=volume.affine,
        source=volume.source,
    )
