"""Each SDE's closed forms agree with the SDE they claim to solve."""

import math

import pytest
import torch
from hypothesis import given, strategies as st
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from medscore.sdes.base import SDE, expand
from medscore.sdes.linear import VE, VP, SubVP

SDES: list[SDE] = [VE(0.01, 50.0), VE(0.005, 40.0), VP(), SubVP(), VP(0.5, 8.0), SubVP(0.5, 8.0)]
GRID = torch.linspace(0.01, 1.0, 50, dtype=torch.float64)

all_sdes = pytest.mark.parametrize("sde", SDES, ids=repr)


@all_sdes
def test_drift_and_diffusion_follow_from_alpha_and_sigma(sde: SDE) -> None:
    t = GRID.clone().requires_grad_()
    alpha_prime = torch.autograd.grad(torch.log(sde.alpha(t)).sum() + 0 * t.sum(), t)[0]
    variance_prime = torch.autograd.grad(sde.sigma(t).square().sum(), t)[0]
    t = t.detach()
    torch.testing.assert_close(sde.drift(t), alpha_prime)
    rate = variance_prime - 2 * sde.drift(t) * sde.sigma(t) ** 2
    torch.testing.assert_close(sde.diffusion(t) ** 2, rate)


@all_sdes
def test_kernel_agrees_with_integrating_the_moment_equations(sde: SDE) -> None:
    """dm/dt = f m and dv/dt = 2 f v + g^2 (Saerkkae and Solin 2019, Eq. 5.50-5.51)."""

    def rates(t: float, y: list[float]) -> list[float]:
        time = torch.tensor(t, dtype=torch.float64)
        f, g = float(sde.drift(time)), float(sde.diffusion(time))
        return [f * y[0], 2 * f * y[1] + g**2]

    zero = torch.zeros((), dtype=torch.float64)
    start = [1.0, float(sde.sigma(zero)) ** 2]
    times = [0.1, 0.3, 0.7, 1.0]
    solution = solve_ivp(rates, (0, 1), start, t_eval=times, rtol=1e-9, atol=1e-12)
    t = torch.tensor(times, dtype=torch.float64)
    torch.testing.assert_close(sde.alpha(t), torch.tensor(solution.y[0]), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sde.sigma(t) ** 2, torch.tensor(solution.y[1]), rtol=1e-6, atol=1e-9)


@pytest.mark.statistical
@all_sdes
def test_simulated_paths_have_the_kernels_mean_and_variance(sde: SDE) -> None:
    """Euler-Maruyama, 20,000 paths; bounds of 5 standard errors plus the step's own bias.

    False-alarm rate below 1e-5 for each SDE.
    """
    n, steps = 20_000, 400
    generator = torch.Generator().manual_seed(0)
    x = torch.full((n,), 2.0, dtype=torch.float64)
    x += sde.sigma(torch.zeros((), dtype=torch.float64)) * torch.randn(
        n, generator=generator, dtype=torch.float64
    )
    for i in range(steps):
        t = torch.tensor((i + 0.5) / steps, dtype=torch.float64)
        z = torch.randn(n, generator=generator, dtype=torch.float64)
        x = x + sde.drift(t) * x / steps + sde.diffusion(t) * z / math.sqrt(steps)
    one = torch.ones((), dtype=torch.float64)
    mean, std = 2 * float(sde.alpha(one)), float(sde.sigma(one))
    assert abs(float(x.mean()) - mean) < 5 * std / math.sqrt(n) + 0.01
    assert abs(float(x.std()) / std - 1) < 5 / math.sqrt(2 * n) + 0.01


@pytest.mark.parametrize("rates", [(0.1, 20.0), (0.5, 8.0)])
def test_sub_vp_variance_never_exceeds_vp(rates: tuple[float, float]) -> None:
    assert bool((SubVP(*rates).sigma(GRID) <= VP(*rates).sigma(GRID)).all())


@all_sdes
def test_time_inverts_the_noise_to_signal_ratio(sde: SDE) -> None:
    torch.testing.assert_close(sde.time(sde.sigma(GRID) / sde.alpha(GRID)), GRID)


@all_sdes
@given(st.floats(0.01, 0.98), st.floats(0.01, 0.98))
def test_transitions_compose_to_the_kernel(sde: SDE, p: float, q: float) -> None:
    s, t = (torch.tensor(v, dtype=torch.float64) for v in sorted((p, q)))
    a, b = sde.transition(s, t)
    torch.testing.assert_close(a * sde.alpha(s), sde.alpha(t))
    variance = (a * sde.sigma(s)) ** 2 + b**2
    torch.testing.assert_close(variance, sde.sigma(t) ** 2)


@all_sdes
@pytest.mark.parametrize(("s", "t"), [(0.001, 0.002), (0.2, 0.9), (0.5, 0.51)])
def test_the_gain_of_a_constant_score_is_its_integral(sde: SDE, s: float, t: float) -> None:
    def rate(u: float) -> float:
        a, b = torch.tensor(s, dtype=torch.float64), torch.tensor(u, dtype=torch.float64)
        return float(sde.diffusion(b) ** 2 * sde.alpha(a) / sde.alpha(b))

    ends = (torch.tensor(v, dtype=torch.float64) for v in (s, t))
    assert float(sde.score_gain(*ends)) == pytest.approx(quad(rate, s, t)[0], rel=1e-9)


@all_sdes
def test_prior_log_density_is_that_of_the_gaussian_it_samples(sde: SDE) -> None:
    z = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = sde.prior_sample(z)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), sde.prior_std)
    expected: Tensor = normal.log_prob(x).sum(dim=(1, 2, 3))
    torch.testing.assert_close(sde.prior_logp(x), expected)


@all_sdes
def test_prior_stands_for_the_marginal_at_the_end(sde: SDE) -> None:
    """sigma(1) equals the prior's standard deviation, and the data are almost lost at t = 1."""
    one = torch.ones((), dtype=torch.float64)
    assert float(sde.sigma(one)) == pytest.approx(sde.prior_std, rel=0.02)
    if not isinstance(sde, VE):
        assert float(sde.alpha(one)) < 0.15


def test_marginal_scales_each_sample_by_its_own_time() -> None:
    sde, t = VP(), torch.tensor([0.1, 0.9])
    x0, z = torch.ones(2, 1, 2, 2), torch.full((2, 1, 2, 2), 2.0)
    expected = sde.alpha(t) + 2 * sde.sigma(t)
    assert torch.equal(sde.marginal(x0, t, z), expand(expected, x0).expand(2, 1, 2, 2))


@pytest.mark.parametrize("bad", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_impossible_noise_ranges_are_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="sigma_min"):
        VE(*bad)
    with pytest.raises(ValueError, match="beta_min"):
        VP(*bad)
