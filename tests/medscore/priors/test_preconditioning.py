"""All prediction targets give the same denoiser, tested with exact predictions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from medscore.priors import preconditioning as p
from medscore.priors.analytic import GaussianPrior
from medscore.priors.contract import PredictionSpec
from medscore.priors.network import NetworkPrior
from medscore.sdes.base import SDE
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

SDES: list[SDE] = [VE(0.01, 50.0), VP(), SubVP(), DDPM()]
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
MEAN = torch.tensor([0.3, -0.2], dtype=torch.float64)


def wide(c: Tensor) -> Tensor:
    return c[:, None]


TARGETS: dict[str, Callable[[GaussianPrior, Tensor, Tensor], Tensor]] = {
    "score": lambda g, x, t: g.score(x, t),
    "scaled_score": lambda g, x, t: wide(g.sde.sigma(t)) * g.score(x, t),
    "noise": lambda g, x, t: -wide(g.sde.sigma(t)) * g.score(x, t),
    "velocity": lambda g, x, t: (
        -wide(g.sde.alpha(t) * g.sde.sigma(t)) * g.score(x, t)
        - wide(g.sde.sigma(t)) * g.denoise(x, t)
    ),
    "clean": lambda g, x, t: g.denoise(x, t),
}
"""The exact value of what each row of the table says F is: z is -sigma times the score."""


class Exact(nn.Module):
    """A network with exact predictions for known x and t, which records its inputs."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        self.seen, self.told = u, c
        return self.answer


@pytest.mark.parametrize("sde", SDES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("target", TARGETS)
def test_an_exact_prediction_gives_the_exact_denoiser_and_score(sde: SDE, target: str) -> None:
    exact = GaussianPrior(sde, MEAN, COVARIANCE)
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = Exact(TARGETS[target](exact, x, t))
    spec = PredictionSpec(target=target, condition="time")
    prior = NetworkPrior(
        network, sde, preconditioning=spec.preconditioning(0.5), condition=spec.time_variable()
    )
    torch.testing.assert_close(prior.denoise(x, t), exact.denoise(x, t))
    torch.testing.assert_close(prior.score(x, t), exact.score(x, t), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(network.seen, x)  # these networks receive the noisy image itself
    torch.testing.assert_close(network.told, 999 * t)


@pytest.mark.parametrize("sde", SDES, ids=lambda s: type(s).__name__)
def test_edm_gives_unit_variance_in_and_asks_for_unit_variance_out(sde: SDE) -> None:
    """For data of standard deviation d, c_in u and (x0 - m - c_skip u)/c_out have variance 1."""
    t, d = torch.linspace(0.05, 1, 9, dtype=torch.float64), 0.3
    skip, out, into = p.EDM(d)(sde, t)
    s = sde.ratio(t)
    torch.testing.assert_close(into**2 * (d**2 + s**2), torch.ones_like(t))
    target = ((1 - skip) ** 2 * d**2 + skip**2 * s**2) / out**2
    torch.testing.assert_close(target, torch.ones_like(t))


def test_conditions_say_what_their_names_say() -> None:
    ve, vp = VE(0.01, 50.0), VP()
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    torch.testing.assert_close(p.log_sigma(ve, t).exp(), ve.sigma(t))
    torch.testing.assert_close(p.log_ratio(vp, t).exp(), vp.sigma(t) / vp.alpha(t))


@pytest.mark.parametrize("sde", SDES, ids=lambda s: type(s).__name__)
def test_levels_are_exact_integers_at_the_scales_and_fractions_between(sde: SDE) -> None:
    times = torch.linspace(sde.eps, 1, 1000, dtype=torch.float64)
    assert torch.equal(p.Level(1000)(sde, times), torch.arange(1000.0, dtype=torch.float64))
    middle = (times[1:] + times[:-1]) / 2
    found = p.Level(1000)(sde, middle)
    torch.testing.assert_close(found, torch.arange(999.0, dtype=torch.float64) + 0.5)
    assert float(p.Level(1000)(sde, torch.zeros(1, dtype=torch.float64))) == 0
