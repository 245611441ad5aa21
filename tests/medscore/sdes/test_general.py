"""General diffusions, tested on geometric Brownian motion, whose marginals are known.

The solution of dx = 0.1 x dt + 0.5 x dw with a log-normal start remains log-normal: log x has mean
m + (0.1 - 0.5^2 / 2) t and variance v + 0.5^2 t. The diffusion depends on the state, so the
divergence of G G^T in Eq. B.5 and B.6 is not zero.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from support import SharedNoise
from torch import Tensor

from medscore.priors.analytic import GaussianPrior
from medscore.samplers.euler_maruyama import EulerMaruyama
from medscore.sdes.general import GeneralSDE
from medscore.sdes.linear import VP

RATE, VOLATILITY, MEAN, VARIANCE = 0.1, 0.5, 0.2, 0.09
GBM = GeneralSDE(lambda x, t: RATE * x, lambda x, t: VOLATILITY * x)
N = 20_000


def law(t: float) -> tuple[float, float]:
    """Mean and standard deviation of log x_t."""
    mean = MEAN + (RATE - VOLATILITY**2 / 2) * t
    return mean, math.sqrt(VARIANCE + VOLATILITY**2 * t)


def score(x: Tensor, t: float) -> Tensor:
    mean, std = law(t)
    return -1 / x - (torch.log(x) - mean) / (std**2 * x)


def draws(t: float, seed: int) -> Tensor:
    mean, std = law(t)
    return torch.exp(mean + std * SharedNoise(seed)(torch.zeros(N, 1, dtype=torch.float64)))


def agrees(x: Tensor, t: float) -> bool:
    """Mean and standard deviation of the logarithm agree within 6 standard errors and 1 %.

    The latter allows for the bias of the steps; false-alarm rate below 1e-7.
    """
    mean, std = law(t)
    logs = torch.log(x)
    return (
        abs(float(logs.mean()) - mean) < 6 * std / N**0.5 + 0.01 * std
        and abs(float(logs.std()) / std - 1) < 6 / (2 * N) ** 0.5 + 0.01
    )


def test_simulation_follows_the_known_law() -> None:
    assert agrees(GBM.simulate(draws(0.0, 0), 1.0, 200, SharedNoise(1)), 1.0)


def test_the_reverse_process_returns_to_the_start() -> None:
    assert agrees(GBM.reverse(score, draws(1.0, 2), 1.0, 0.0, 400, SharedNoise(3)), 0.0)


def test_without_the_divergence_it_would_not() -> None:
    class Wrong(GeneralSDE):
        def _divergence(self, x: Tensor, t: float) -> Tensor:
            return torch.zeros_like(x)

    wrong = Wrong(GBM.drift, GBM.diffusion)
    assert not agrees(wrong.reverse(score, draws(1.0, 2), 1.0, 0.0, 400, SharedNoise(3)), 0.0)


@pytest.mark.parametrize("quantile", [-1.5, 0.0, 0.7])
def test_the_flow_carries_quantiles_to_quantiles(quantile: float) -> None:
    """In one dimension the probability flow preserves the order of states; nothing is random."""

    def velocity(t: float, x: np.ndarray) -> np.ndarray:
        return GBM.flow(score, torch.from_numpy(x)[None], t)[0].numpy()

    (m0, s0), (m1, s1) = law(0.0), law(1.0)
    start = [math.exp(m1 + quantile * s1)]
    end = solve_ivp(velocity, (1.0, 0.0), start, rtol=1e-8, atol=1e-10).y[0, -1]
    assert math.log(end) == pytest.approx(m0 + quantile * s0, abs=1e-6)


def test_a_linear_sde_is_simulated_and_reversed_as_by_its_own_sampler() -> None:
    """For VP written as a general SDE, the reverse step is that of Alg. 8.1."""
    sde = VP()
    prior = GaussianPrior(sde, torch.zeros(2).double(), 0.3 * torch.eye(2).double())

    def at(t: float) -> Tensor:
        return torch.tensor([t], dtype=torch.float64)

    general = GeneralSDE(
        lambda x, t: sde.drift(at(t)) * x, lambda x, t: sde.diffusion(at(t)) * torch.ones_like(x)
    )
    x = SharedNoise(0)(torch.zeros(1, 2, dtype=torch.float64))
    found = general.reverse(lambda x, t: prior.score(x, at(t)), x, 0.7, 0.6, 1, SharedNoise(1))
    expected, _ = EulerMaruyama().step(prior, x, at(0.7), at(0.6), SharedNoise(1), {})
    torch.testing.assert_close(found, expected)
