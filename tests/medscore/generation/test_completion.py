"""Completion: observed parts are preserved exactly, the rest follows the prior."""

import pytest
import torch
from torch import Tensor

from medscore.conditioners.ddnm import DDNM
from medscore.generation.completion import complete
from medscore.operators.base import Operator
from medscore.operators.images.colorization import Colorization
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.priors.analytic import GaussianPrior
from medscore.sdes.linear import VE

SIDE = 4


def prior(channels: int) -> GaussianPrior:
    """Images with correlated neighbouring pixels."""
    d = channels * SIDE**2
    apart = (torch.arange(d)[:, None] - torch.arange(d)).abs()
    return GaussianPrior(VE(0.01, 20.0), torch.full((d,), 0.5), 0.1 * torch.exp(-apart / 4.0))


def image(channels: int) -> Tensor:
    draws = prior(channels).sample(1, 0.0, torch.Generator().manual_seed(0))
    return draws.reshape(1, channels, SIDE, SIDE)


def half() -> Tensor:
    known = torch.ones(SIDE, SIDE, dtype=torch.bool)
    known[1:3, 1:3] = False
    return known


CASES: list[tuple[Operator, int]] = [
    (Inpainting(half()), 1), (SuperResolution(SIDE, SIDE, 2), 1), (Colorization(SIDE, SIDE), 3),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "channels"), CASES, ids=["inpaint", "sr", "colour"])
def test_what_is_known_stays(operator: Operator, channels: int) -> None:
    x = image(channels)
    y = operator.forward(x)
    found = complete(prior(channels), operator, y, range(3), (channels, SIDE, SIDE), steps=10)
    assert found.x.shape == (3, channels, SIDE, SIDE)
    assert float((operator.forward(found.x) - y).abs().max()) < 1e-5
    assert float((found.x[0] - found.x[1]).abs().max()) > 1e-3  # samples differ elsewhere


def test_known_pixels_are_the_same_to_the_last_bit() -> None:
    operator, x = Inpainting(half()), image(1)
    found = complete(prior(1), operator, operator.forward(x), range(2), (1, SIDE, SIDE), steps=5)
    assert bool((found.x[:, :, half()] == x[:, :, half()]).all())


def test_the_rest_follows_what_is_known() -> None:
    """For every pixel the mean of 64 samples is closer to the posterior mean than the prior mean is
    (the conditioner is approximate).
    """
    operator, x, known = Inpainting(half()), image(1), half().flatten()
    own = prior(1)
    mean, covariance = own.means[0], own.covariances[0]
    gain = covariance[~known][:, known] @ torch.linalg.inv(covariance[known][:, known])
    expected = mean[~known] + gain @ (x.flatten() - mean)[known]
    found = complete(own, operator, operator.forward(x), range(64), (1, SIDE, SIDE), rule=DDNM)
    free = found.x.flatten(1)[:, ~known]
    assert bool(((free.mean(0) - expected).abs() < 0.8 * (mean[~known] - expected).abs()).all())


def test_a_completion_depends_on_its_seed_alone() -> None:
    operator = Inpainting(half())
    y = operator.forward(image(1))
    both = complete(prior(1), operator, y, [4, 5], (1, SIDE, SIDE), steps=5)
    one = complete(prior(1), operator, y, [5], (1, SIDE, SIDE), steps=5)
    assert torch.allclose(both.x[1:], one.x, atol=1e-5)
