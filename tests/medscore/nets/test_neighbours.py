"""The 2.5-D network: what it sees, and that it learns the mean of a slice given its neighbours."""

import math

import pytest
import torch
from local_networks import randomised
from torch import Tensor, nn

from medscore.nets.neighbours import NeighboursDenoiser, NeighboursSpec, mirrored
from medscore.objectives.denoising import LogNormalTimes
from medscore.priors.network import NetworkPrior
from medscore.priors.preconditioning import denoiser, ratio
from medscore.sdes.linear import VE
from medscore.training.neighbours import NeighboursLoss, NeighboursOnBody

SPEC = NeighboursSpec(reach=2, width=8, blocks=1)
RATIO = torch.tensor(0.1)


def network(spec: NeighboursSpec = SPEC) -> NeighboursDenoiser:
    """A network with random weights."""
    torch.manual_seed(0)
    made = spec.build()
    randomised(made)
    return made.eval().requires_grad_(False)


def stack(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_beyond_its_ends_a_volume_is_mirrored() -> None:
    assert mirrored(-2, 7, 5).tolist() == [2, 1, 0, 1, 2, 3, 4, 3, 2]
    assert mirrored(-3, 4, 2).tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert mirrored(-2, 3, 1).tolist() == [0] * 5


def test_it_begins_with_the_slices_as_they_are() -> None:
    x = stack(7, 6, 8)
    assert torch.equal(SPEC.build().improved(x, stack(7, 6, 8, seed=1), RATIO, 2.0, 0.8), x[2:5])


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_a_slice_depends_on_its_neighbours_within_reach_and_on_both_distances(
    shape: tuple[int, int],
) -> None:
    made, x, noise = network(), stack(9, *shape), stack(9, *shape, seed=1)

    def improved(x: Tensor, noise: Tensor, slice_mm: float = 2.0, pixel_mm: float = 0.8) -> Tensor:
        return made.improved(x, noise, RATIO, slice_mm, pixel_mm)[2]  # slice 4 of the stack

    before = improved(x, noise)
    for k in range(9):
        for changed in ((x.clone(), noise.clone()), (x.clone(), noise.clone())):
            changed[0][k] += 1
            changed[1][k] -= 1
            assert torch.allclose(improved(*changed), before) == (abs(k - 4) > 2)
    assert not torch.allclose(improved(x, noise, slice_mm=3.0), before)
    assert not torch.allclose(improved(x, noise, pixel_mm=1.2), before)


class _White(nn.Module):
    """The posterior mean of white images of unit variance from one noisy slice."""

    def forward(self, u: Tensor, s: Tensor) -> Tensor:
        """The denoised images."""
        return u / (1 + s[:, None, None, None] ** 2)


@pytest.mark.slow
def test_it_learns_the_posterior_mean_given_the_neighbours() -> None:
    """Slices that are all the same, of white pixels: the mean of 2 r + 1 noisy slices is
    sufficient, and the error of the posterior mean is known."""
    sigma, side = 0.5, 16
    prior = NetworkPrior(_White(), VE(0.01, 10.0), preconditioning=denoiser, condition=ratio)
    torch.manual_seed(0)
    model = NeighboursOnBody(prior, NeighboursSpec(reach=1, width=16, blocks=1, error=0.5).build())
    loss = NeighboursLoss(LogNormalTimes(math.log(sigma), 1e-3))
    optimiser = torch.optim.Adam(model.network.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(1)

    def drawn(count: int) -> tuple[Tensor, Tensor, Tensor]:
        slices = torch.randn(count, 1, side, side, generator=generator).expand(-1, 6, -1, -1)
        maps = torch.ones(count, 2, side, side)
        z = torch.randn(count, 8, side, side, generator=generator)
        return torch.cat([slices, maps], 1), torch.rand(count, generator=generator), z

    for step in range(300):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * min(1.0, (300 - step) / 150)
        optimiser.zero_grad()
        loss(model, *drawn(4)).mean().backward()
        optimiser.step()

    def variance(slices: int) -> float:
        """Variance of a pixel given that number of noisy slices."""
        return 1 / (1 + slices / sigma**2)

    with torch.no_grad():
        found = float(loss(model, *drawn(64)).mean())
    exact = variance(3) / variance(1)  # 0.385
    assert exact * 0.97 < found < exact * 1.05
