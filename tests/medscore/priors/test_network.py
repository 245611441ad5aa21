"""Score and denoiser are two views of one evaluation."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.priors.analytic import GaussianPrior
from medscore.priors.base import Prior
from medscore.priors.counted import Counted
from medscore.priors.network import NetworkPrior
from medscore.priors.preconditioning import EDM
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP

SDES: list[SDE] = [VE(0.01, 50.0), VP(), SubVP()]


def gaussian(sde: SDE) -> GaussianPrior:
    root = torch.tensor([[1.0, 0.2, 0.0], [0.0, 0.7, -0.5], [0.3, 0.0, 0.4]], dtype=torch.float64)
    mean = torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64)
    return GaussianPrior(sde, mean, root @ root.T)


@pytest.mark.parametrize("sde", SDES, ids=repr)
@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_score_is_the_gradient_of_the_log_density(sde: SDE, t: float) -> None:
    prior = gaussian(sde)
    mean, covariance = prior.marginal(t)
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x.requires_grad_()
    log_p = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
    expected = torch.autograd.grad(log_p.sum(), x)[0]
    times = torch.full((6,), t, dtype=torch.float64)
    torch.testing.assert_close(prior.score(x.detach(), times), expected)


class Constant(nn.Module):
    """Returns a constant, so the preconditioning can be read off."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, u: Tensor, log_s: Tensor) -> Tensor:
        return torch.full_like(u, self.value)


@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_a_silent_network_is_the_denoiser_of_white_data(sde: SDE) -> None:
    """With F = 0 the preconditioned denoiser is exact for N(m, d^2 I) data."""
    m, d = 0.2, 0.4
    prior = NetworkPrior(Constant(0.0), sde, preconditioning=EDM(d), data_mean=m)
    white = GaussianPrior(sde, torch.full((4,), m), d**2 * torch.eye(4))
    x = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(prior.denoise(x, t), white.denoise(x, t), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_network_output_counts_as_the_posterior_standard_deviation(sde: SDE) -> None:
    """F = 1 shifts the denoiser by s d / sqrt(s^2 + d^2), the posterior std of N(m, d^2) data."""
    d, t = 0.4, torch.tensor([0.3])
    x = torch.zeros(1, 1, 2, 2)
    silent = NetworkPrior(Constant(0.0), sde, preconditioning=EDM(d)).denoise(x, t)
    loud = NetworkPrior(Constant(1.0), sde, preconditioning=EDM(d)).denoise(x, t)
    s = float(sde.sigma(t) / sde.alpha(t))
    assert float((loud - silent).mean()) == pytest.approx(s * d / (s**2 + d**2) ** 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"network": Constant}, "`network` is the class Constant"),
        ({"sde": VE}, r"`sde` is the class VE - use an SDE object, such as VE\(\)"),
        ({"domain": "CT"}, "`domain` is 'CT' - use medscore.ImageDomain"),
        ({"preconditioning": "denoiser"}, "`preconditioning` is 'denoiser'"),
        ({"condition": "ratio"}, "`condition` is 'ratio'"),
        ({"data_mean": "x"}, "`data_mean` is 'x'"),
    ],
)
def test_arguments_of_other_types_are_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        NetworkPrior(**{"network": Constant(0.0), "sde": VE(), **changed})


class Returns(Prior):
    """A prior that returns any value."""

    sde = VP()

    def __init__(self, value: Any) -> None:
        self.value = value

    def denoise(self, x: Tensor, t: Tensor) -> Any:
        return self.value


class Three(nn.Module):
    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        return torch.cat([u] * 3, 1)


@pytest.mark.parametrize(
    ("prior", "why"),
    [
        (Returns(None), "prior Returns returned NoneType for an input of the shape"),
        (Returns(torch.zeros(1, 1, 4, 1)), r"returned the shape \(1, 1, 4, 1\)"),
        (NetworkPrior(Three(), VE()), r"the network returned the shape \(1, 3, 4, 4\)"),
    ],
)
def test_another_output_is_refused_at_the_first_call(prior: Prior, why: str) -> None:
    x, t = torch.zeros(1, 1, 4, 4), torch.tensor([0.5])
    for call in (prior.score, Counted(prior).denoise):
        with pytest.raises(MedscoreError, match=why):
            call(x, t)
