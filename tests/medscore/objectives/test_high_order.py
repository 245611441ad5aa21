"""Second and third order: their targets, and their loss and gradient."""

import pytest
import torch
from densities import NAMES, SDES, D, mixture, points
from torch import Tensor, nn

from medscore.objectives.denoising import likelihood_importance
from medscore.objectives.high_order import HighOrder, residuals, signs
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VP
from medscore.types import State, Times

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
    """At the exact score the residuals are uncorrelated with four functions of x_t.

    Checked at three noise levels within 5 standard errors of 20,000 draws; any of the 504
    comparisons fails by chance once in 3,400 runs.
    """
    prior = mixture(sde)
    x0 = points(mixture(VP()), COUNT, 0.0)
    generator = torch.Generator().manual_seed(5)
    for ratio in (0.1, 0.4, 1.5):
        t = sde.time(torch.full((COUNT,), ratio, dtype=torch.float64))
        z = torch.randn(COUNT, D, generator=generator, dtype=torch.float64)
        u = torch.rand(COUNT, generator=generator, dtype=torch.float64)
        directions = signs(x0, u, probes) if probes else None
        jacobian, trace, slope = residuals(prior, x0, t, z, directions)
        of = features(sde.marginal(x0, t, z))
        for residual in (*jacobian.unbind(2), trace, *slope.unbind(2)):
            residual = residual[0]
            product = (of * residual).detach()
            error = product.std(1) / COUNT**0.5
            assert bool((product.mean(1).abs() < 5 * error).all())


class Cubic(Prior):
    """The score W x + c x^3, whose Jacobian W + 3 diag(c x^2) is not symmetric."""

    def __init__(self, sde: SDE) -> None:
        generator = torch.Generator().manual_seed(8)
        self.sde = sde
        self.w = nn.Parameter(torch.randn(D, D, generator=generator, dtype=torch.float64))
        self.c = nn.Parameter(torch.randn(D, generator=generator, dtype=torch.float64))

    def of(self, x: Tensor) -> Tensor:
        return x @ self.w.T + self.c * x**3

    def denoise(self, x: State, t: Times) -> State:
        return (x + self.sde.sigma(t)[:, None] ** 2 * self.of(x)) / self.sde.alpha(t)[:, None]


def by_hand(prior: Cubic, x0: Tensor, u: Tensor, z: Tensor, directions: Tensor | None) -> Tensor:
    """The loss of each sample with weights 0.7 and 0.2 of second and third order, by matrices."""
    t = likelihood_importance().times(prior.sde, u)
    found = []
    for i in range(len(x0)):
        sigma = prior.sde.sigma(t[i])
        x = prior.sde.alpha(t[i]) * x0[i] + sigma * z[i]
        nabla = prior.w + torch.diag(3 * prior.c * x**2)
        one = (sigma * prior.of(x) + z[i]).detach()
        two = (sigma**2 * nabla + torch.eye(D)).detach()
        if directions is None:
            jacobian = sigma**2 * nabla + torch.eye(D) - torch.outer(one, one)
            trace = sigma**2 * nabla.trace() + D - one @ one
            slope = sigma**3 * 6 * prior.c * x + (one @ one - two.trace()) * one - 2 * two.T @ one
        else:
            v = directions[0, i]
            jacobian = sigma**2 * nabla.T @ v + v - (v @ one) * one
            trace = sigma**2 * v @ nabla @ v + v @ v - (v @ one) ** 2
            slope = (
                sigma**3 * 6 * prior.c * x + ((v @ one) ** 2 - v @ two @ v) * one
                - 2 * (v @ one) * (two.T @ v)
            )  # fmt: skip
        second = jacobian.square().sum() + trace**2
        found.append(0.7 * second + 0.2 * slope.square().sum())
    return torch.stack(found) / D


@pytest.mark.parametrize("probes", [0, 1], ids=["axes", "signs"])
@pytest.mark.parametrize("sde", SDES[1:], ids=NAMES[1:])
def test_the_loss_and_its_gradient_are_those_computed_with_matrices(sde: SDE, probes: int) -> None:
    prior, first = Cubic(sde), likelihood_importance()
    x0, z = torch.randn(2, 4, D, generator=torch.Generator().manual_seed(1)).double()
    u = torch.tensor([0.1, 0.4, 0.6, 0.9], dtype=torch.float64)
    directions = signs(x0, u, probes) if probes else None
    found = HighOrder(first, 0.7, 0.2, probes)(prior, x0, u, z)
    expected = first(prior, x0, u, z) + by_hand(prior, x0, u, z, directions)
    assert torch.allclose(found, expected, rtol=1e-9)
    ours, theirs = (torch.autograd.grad(v.sum(), [prior.w, prior.c]) for v in (found, expected))
    assert torch.allclose(ours[0], theirs[0], rtol=1e-9)
    assert torch.allclose(ours[1], theirs[1], rtol=1e-9)
