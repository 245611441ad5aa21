"""A small volume, its scan slice by slice, and a prior of its slices."""

import numpy as np
import torch

from medscore.datasets.volume import Source, Volume
from medscore.domain import ImageDomain
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate
from medscore.priors.analytic import GaussianPrior
from medscore.sdes.linear import VE

SIDE, SLICES = 8, 5


def volume(slices: int = SLICES, modality: str = "CT") -> Volume:
    z, y, x = np.mgrid[-1 : 1 : slices * 1j, -1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = x**2 + y**2 + 0.3 * z**2 < 0.8
    values = np.where(inside, 40 + 200 * (x > 0.2), -1000).astype(np.float32)
    values = values if modality == "CT" else (values + 1000) / 1000
    return Volume(values, np.diag([-2.0, -2.0, 1.0, 1.0]), modality, Source("array", "ab" * 32))


def scan(slices: int = SLICES) -> Measurement:
    return simulate(volume(slices), "sparse-ct", views=5, noise="gaussian:0.01")


def prior(modality: str = "CT") -> GaussianPrior:
    """Slices of smooth Gaussian images."""
    place = torch.arange(SIDE).float()
    near = torch.exp(-0.5 * ((place[:, None] - place) / 1.5) ** 2)
    covariance = 0.04 * torch.kron(near, near) + 1e-3 * torch.eye(SIDE**2)
    own = GaussianPrior(VE(0.01, 20.0), torch.full((SIDE**2,), 0.3), covariance)
    ct = {"modality": "CT", "low": -1000.0, "high": 1500.0, "quantity": "HU"}
    mr = {"modality": "MR", "low": 0.0, "high": 1.0, "quantity": "magnitude"}
    own.domain = ImageDomain(name="g", **(ct if modality == "CT" else mr))  # type: ignore[arg-type]
    return own
