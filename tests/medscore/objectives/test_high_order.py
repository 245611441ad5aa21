"""Second and third order: what they regress on is right, and whom they help."""

import pytest
import torch
from densities import NAMES, SDES, D, mixture, points
from torch import Tensor

from medscore.objectives.high_order import residuals, signs
from medscore.sde import SDE, VP

COUNT = 20_000


def features(x: Tensor) -> Tensor:
    """Functions of x_t, (features, batch)."""
    y = x / x.std(0)
    return torch.stack(
        [torch.ones(len(x)).to(x), y[:, 0], y[:, 1] ** 2 - 1, torch.sin(2 * y[:, 2])]
    )


@pytest.mark.parametrize("probes", [0, 1], ids=["axes", "signs"])
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_residuals_have_mean_zero_given_x_t(sde: SDE, probes: int) -> None:
    """At the exact score, against four functions of x_t at three noise levels, at most 5 standard
    errors of 20,000 draws: all 288 comparisons of this test fail once in 6,000 times.
    """
    prior = mixture(sde)
    x0 = points(mixture(VP()), COUNT, 0.0)
    generator = torch.Generator().manual_seed(5)
    for ratio in (0.1, 0.4, 1.5):
        t = sde.time(torch.full((COUNT,), ratio, dtype=torch.float64))
        z = torch.randn(COUNT, D, generator=generator, dtype=torch.float64)
        u = torch.rand(COUNT, generator=generator, dtype=torch.float64)
        directions = signs(x0, u, probes) if probes else None
        second, third = residuals(prior, x0, t, z, directions)
        of = features(sde.marginal(x0, t, z))
        for residual in (second[0], *third[0].T):
            product = (of * residual).detach()
            error = product.std(1) / COUNT**0.5
            assert bool((product.mean(1).abs() < 5 * error).all())
