"""Distances between sets of samples: known values, and the differences they detect."""

import math
from itertools import pairwise

import pytest
import torch
from densities import NAMES, SDES, D, mixture
from torchmetrics.image.fid import FrechetInceptionDistance

from medscore.generation.quality import frechet, mmd, precision_recall, sliced_wasserstein
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.grids import log_snr
from medscore.sdes.base import SDE
from medscore.white_noise import Noise


def normal(n: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    draws = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return shift + scale * draws


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.slow
def test_a_shift_is_as_far_as_it_is_long() -> None:
    """Along a direction v the distance is |v . shift|, whose mean square is |shift|^2 / D."""
    x = normal(500, 0)
    shift = torch.tensor([3.0, 0, 0, 0]).double()
    found = sliced_wasserstein(x, x + shift, generator(), projections=20_000)
    assert found == pytest.approx(3 / 2, rel=0.02)
    assert sliced_wasserstein(x, x[torch.randperm(500)], generator()) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="shapes"):
        sliced_wasserstein(x, x[:-1], generator())


def test_mmd_of_two_points_is_known() -> None:
    x, y = torch.zeros(1, 2).double(), torch.tensor([[3.0, 4.0]]).double()
    assert mmd(x, y, width=5.0) == pytest.approx(math.sqrt(2 - 2 * math.exp(-0.5)))
    assert mmd(x, x, width=1.0) == 0


def test_mmd_sees_another_distribution() -> None:
    reference = normal(400, 0)
    same, wide = mmd(normal(400, 1), reference), mmd(normal(400, 1, scale=1.5), reference)
    assert wide > 2 * same
    with pytest.raises(ValueError, match="no spread"):
        mmd(reference, torch.ones(5, 4).double())


class Same(torch.nn.Module):
    """A network whose features are the images themselves."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(("n", "m"), [(300, 200), (3, 200), (3, 2)], ids=["many", "few", "fewer"])
def test_the_frechet_distance_is_torchmetrics(n: int, m: int) -> None:
    x, y = normal(n, 0), normal(m, 1, shift=0.5, scale=1.5)
    peer = FrechetInceptionDistance(Same(4))
    peer.update(x, real=True)
    peer.update(y, real=False)
    assert frechet(x, y) == pytest.approx(float(peer.compute()), rel=1e-5)


def test_the_frechet_distance_of_gaussians_is_known() -> None:
    x = normal(500, 0)
    assert frechet(x, x + 2) == pytest.approx(16)
    assert frechet(x, 3 * x) == pytest.approx(
        4 * float(torch.cov(x.T).trace()) + 4 * float(x.mean(0).square().sum())
    )
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="two images"):
        frechet(x, x[:1])


def test_precision_falls_with_strange_samples_and_recall_with_missing_ones() -> None:
    reference = normal(400, 0)
    precision, recall = precision_recall(normal(400, 1), reference)
    assert min(precision, recall) > 0.6
    far = torch.cat([normal(200, 1), normal(200, 2, shift=20)])
    assert precision_recall(far, reference)[0] == pytest.approx(precision / 2, abs=0.1)
    narrow_precision, narrow_recall = precision_recall(normal(400, 1, scale=0.2), reference)
    assert narrow_precision > 0.9
    assert narrow_recall < 0.3
    with pytest.raises(ValueError, match="no 3 neighbours"):
        precision_recall(reference[:3], reference)


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_samples_of_a_mixture_are_about_as_near_to_real_ones_as_those_to_each_other(
    sde: SDE,
) -> None:
    """The biased MMD of 300 samples (mean of 20 draws) is at most 1.5 times that of real ones."""
    n, draws = 300, 20
    prior = mixture(sde)
    x = torch.randn(n * draws, D, generator=generator(), dtype=torch.float64) * sde.prior_std
    sampler = DPMSolverPP2M()
    times = log_snr(sde, 60)
    memory = sampler.init(x)
    for t, s in pairwise(times.double()):
        x, memory = sampler.step(prior, x, t.expand(len(x)), s.expand(len(x)), Noise([]), memory)
    real = prior.sample(2 * n * draws, sde.eps, generator())
    held_out, other = real[: n * draws].split(n), real[n * draws :].split(n)
    width = float(torch.pdist(held_out[0]).median())
    ours = [mmd(a, b, width=width) for a, b in zip(x.split(n), held_out, strict=True)]
    theirs = [mmd(a, b, width=width) for a, b in zip(other, held_out, strict=True)]
    assert sum(ours) <= 1.5 * sum(theirs)
