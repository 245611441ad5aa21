"""Training on grey levels: the images that the objective receives."""

import torch
from torch import Tensor

from medscore.objectives.dequantised import Dequantised
from medscore.objectives.grey_levels import Levels
from medscore.priors.analytic import GaussianPrior
from medscore.priors.base import Prior
from medscore.sdes.linear import VP

LEVELS = Levels(2)
N = 4000


def given(x0: Tensor, u: Tensor) -> Tensor:
    """The images that the objective receives."""
    seen: list[Tensor] = []

    def objective(prior: Prior, x: Tensor, u: Tensor, z: Tensor) -> Tensor:
        seen.append(x)
        return x.sum(1)

    prior = GaussianPrior(VP(), torch.zeros(2), torch.eye(2))
    Dequantised(objective, LEVELS)(prior, x0, u, torch.zeros_like(x0))
    return seen[0]


def test_levels_are_kept_and_the_noise_is_uniform_and_independent_for_each_sample() -> None:
    """Mean and mean square of 8,000 draws are right within 5 standard errors."""
    generator = torch.Generator().manual_seed(0)
    x0, u = torch.rand(N, 2, generator=generator), torch.rand(N, generator=generator)
    x = given(x0, u)
    assert torch.equal(LEVELS.quantise(x), LEVELS.quantise(x0))
    v = x * 4 - LEVELS.quantise(x0)
    assert abs(float(v.mean()) - 1 / 2) < 5 * (1 / 12 / (2 * N)) ** 0.5
    assert abs(float(v.square().mean()) - 1 / 3) < 5 * (4 / 45 / (2 * N)) ** 0.5
    assert len(v.unique()) > N
    assert torch.equal(given(x0[5:6], u[5:6]), x[5:6])
    assert not torch.equal(given(x0[5:6], u[6:7]), x[5:6])
