"""The bound by which images are judged as typical or unusual."""

import math

import numpy as np
import pytest
import torch

from medscore.likelihood.typicality import Typical, judged, nats_per_dim, network_range, z_scores
from medscore.nets.local_unet import LocalUNetSpec
from medscore.nets.unet import UNetSpec
from medscore.priors.base import Prior
from medscore.priors.contract import DataContract, Provenance, VESpec
from medscore.priors.network import NetworkPrior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.types import State, Times

STD = 0.2


class White(Prior):
    """Images of independent N(0, STD^2) pixels."""

    def __init__(self, sde: SDE) -> None:
        self.sde = sde

    def denoise(self, x: State, t: Times) -> State:
        a, b = self.sde.alpha(t), self.sde.sigma(t)
        gain: State = (a * STD**2 / (a**2 * STD**2 + b**2)).reshape(-1, 1, 1, 1) * x
        return gain


@pytest.mark.parametrize("sde", [VE(sigma_max=5.0), VP(), SubVP()], ids=["VE", "VP", "SubVP"])
def test_of_the_prior_s_own_images_it_is_the_entropy_of_a_number(sde: SDE) -> None:
    """16 draws for 16,384 pixels give 0.1 nats; a single draw is 0.2 to 2 nats off."""
    x = STD * torch.randn(2, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    eps = torch.tensor(sde.eps)
    variance = float(sde.alpha(eps) ** 2 * STD**2 + sde.sigma(eps) ** 2)
    expected = 0.5 * math.log(2 * math.pi * math.e * variance)
    found = nats_per_dim(White(sde), x)
    assert found.tolist() == pytest.approx([expected] * 2, abs=0.1)
    assert torch.allclose(nats_per_dim(White(sde), x[1:]), found[1:])
    assert float(nats_per_dim(White(sde), 2 * x)[0]) > expected + 1


def test_the_range_of_a_prior() -> None:
    ct = DataContract(
        name="a", modality="CT", quantity="HU", low=-1000, high=1500, size=8,
        spacing_mm=(1.0, 1.0), data_mean=0.0, data_std=1.0, sde=VESpec(),
        network=UNetSpec(channels=(8,), groups=8),
        provenance=Provenance(data="none", licence="CC0", patients=1, slices=1, steps=1, seed=0),
    )  # fmt: skip
    hu = np.array([[[-2000, -1000], [250, 9000]]], dtype=np.float32)
    assert network_range(hu, ct).flatten().tolist() == [0, 0, 0.5, 1]
    mr = ct.model_copy(update={"modality": "MR", "quantity": "magnitude", "low": 0.0, "high": 1.0})
    values = np.arange(201, dtype=np.float32)[None, None] * 3
    assert float(network_range(values, mr)[0, 0, 0, 199]) == pytest.approx(1)
    assert float(network_range(values, mr)[0, 0, 0, 200]) > 1
    assert torch.equal(network_range(0 * values, mr), torch.zeros(1, 1, 1, 201))


def test_images_of_any_matrix_are_judged_on_one_grid() -> None:
    """Images of 32 x 32, 48 x 40 and 16 x 16 pixels with the same area means have the same z."""
    torch.manual_seed(0)
    network = LocalUNetSpec(channels=(8, 8), blocks=(1, 1)).build()
    torch.nn.init.normal_(network.last.weight, std=0.05)  # an untrained network returns zeros
    prior = NetworkPrior(network, VE(0.01, 20.0))
    contract = DataContract(
        name="a", modality="CT", quantity="HU", low=-1000, high=1000, size=None,
        spacing_mm=(0.5, 3.0), data_mean=0.0, data_std=1.0, sde=VESpec(),
        network=LocalUNetSpec(channels=(8, 8), blocks=(1, 1)),
        provenance=Provenance(data="none", licence="CC0", patients=1, slices=1, steps=1, seed=0),
    )  # fmt: skip
    typical = Typical(prior="", mean=0.0, deviation=1.0, count=2, side=16, pixel_mm=2.0)
    coarse = np.random.default_rng(0).uniform(-900, 900, (1, 16, 16)).astype(np.float32)

    def z(values: np.ndarray) -> float:
        placed = prior.on_grid((values.shape[1], values.shape[2]), 1.0)
        assert judged(typical, placed, contract, values) == ()
        return float(z_scores(typical, placed, contract, values)[0])

    expected = z(coarse)
    assert z(coarse.repeat(2, 1).repeat(2, 2)) == pytest.approx(expected, abs=1e-4)
    framed = coarse.copy()
    framed[:, :, :2] = framed[:, :, -2:] = -1000
    narrow = framed.repeat(3, 1).repeat(3, 2)[:, :, 4:-4]  # the rest is surrounded by air
    assert z(narrow) == pytest.approx(z(framed), abs=1e-4)
    assert z(coarse[:, ::-1].copy()) != pytest.approx(expected, abs=1e-4)
