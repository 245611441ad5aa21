"""Volumes that are scanned whole: their exact posterior, and slices that are taken in parts."""

from typing import Any

import numpy as np
import pytest
import torch

from medscore.datasets.volume import Source, Volume
from medscore.domain import ImageDomain
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate
from medscore.priors.analytic import GaussianPrior
from medscore.priors.slicewise import Slicewise
from medscore.reconstruction.posterior import sample_posterior
from medscore.reconstruction.sampling import Sampling
from medscore.registry.settings import Settings
from medscore.sdes.linear import VE

SIDE, SLICES = 8, 4
DOMAIN = ImageDomain(name="g", modality="CT", low=-1000.0, high=1500.0, quantity="HU")


def volume(side: int = SIDE, slices: int = SLICES) -> Volume:
    z, y, x = np.mgrid[-1 : 1 : slices * 1j, -1 : 1 : side * 1j, -1 : 1 : side * 1j]
    inside = x**2 + y**2 + 0.5 * z**2 < 0.8
    values = np.where(inside, 40 + 200 * (x > 0.2), -1000).astype(np.float32)
    return Volume(values, np.diag([-2.0, -2.0, 3.0, 1.0]), "CT", Source("array", "ab" * 32))


def prior() -> GaussianPrior:
    """Slices of smooth Gaussian images."""
    place = torch.arange(SIDE).float()
    near = torch.exp(-0.5 * ((place[:, None] - place) / 1.5) ** 2)
    covariance = 0.04 * torch.kron(near, near) + 1e-3 * torch.eye(SIDE**2)
    return GaussianPrior(VE(0.01, 20.0), torch.full((SIDE**2,), 0.3), covariance)


def drawn(m: Measurement, steps: int, *, pairs: bool = False, **changes: Any) -> Any:
    """Two samples by moment matching."""
    settings = Settings(
        samples=2, steps=steps, conditioner="moment-matching", grid="log-snr", pairs=pairs,
        parameters={"sampler.eta": 1.0, "conditioner.iterations": 30},
    )  # fmt: skip
    method = Sampling(settings, **changes)
    own = prior()
    noise = torch.full((1, 1, 1, 1, 1), 0.02)
    return sample_posterior(m, own, DOMAIN, method.plan(own, noise))


@pytest.mark.slow
def test_the_middle_of_a_pair_of_a_gaussian_volume_is_its_posterior_mean() -> None:
    """It is exact but for the steps, which a fifth of the posterior's deviation is enough for. The
    slices, which the prior does not couple, are coupled by the oblique rays."""
    m = simulate(volume(), "cone-ct", views=3, noise="gaussian:0.02")
    found = drawn(m, 15, pairs=True)
    own = prior()
    count = SIDE**2 * SLICES
    unit = float(m.mu_water or 0) * 2.5  # the prior's range of 2500 HU in 1/mm
    voxels = torch.eye(count, dtype=torch.float64).reshape(count, 1, SLICES, SIDE, SIDE)
    matrix = unit * m.operator.forward(voxels.float()).double().flatten(1).T
    y = torch.from_numpy(m.data).double().flatten()  # air, the 0 of the range, attenuates nothing
    whole = torch.block_diag(*[own.covariances[0].double()] * SLICES)
    mean = own.means[0].double().repeat(SLICES)
    gain = whole @ matrix.T
    inner = matrix @ gain + 0.02**2 * torch.eye(len(y), dtype=torch.float64)
    exact = mean + gain @ torch.linalg.solve(inner, y - matrix @ mean)
    left = (whole - gain @ torch.linalg.solve(inner, gain.T)).diagonal().sqrt()
    assert float(left.mean() / whole.diagonal().sqrt().mean()) < 0.8  # the data matter
    ours = (torch.from_numpy(found.mean).double().flatten() + 1000) / 2500
    assert float(((ours - exact) / left).abs().max()) < 0.2


@pytest.mark.slow
def test_the_number_of_slices_at_a_time_does_not_matter() -> None:
    m = simulate(volume(), "cone-ct", views=3, noise="gaussian:0.02")
    one, all_ = (drawn(m, 2, batch_size=size).samples for size in (1, 8))
    np.testing.assert_allclose(one, all_, atol=0.05)


def test_slices_are_denoised_in_parts() -> None:
    own = prior()
    x = torch.randn(2, 1, 5, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.3, 0.6])
    whole = Slicewise(own).denoise(x, t)
    torch.testing.assert_close(Slicewise(own, 3).denoise(x, t), whole)
    each = own.denoise(x[1, :, 2][None], t[1:])
    torch.testing.assert_close(whole[1, :, 2][None], each)
