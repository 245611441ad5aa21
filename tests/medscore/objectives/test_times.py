"""Training times follow their distributions."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import truncnorm

from medscore.objectives.denoising import (
    DiscreteTimes,
    ImportanceTimes,
    LogNormalTimes,
    TimesRule,
    UniformTimes,
    importance_weighting,
)
from medscore.priors.preconditioning import level_index
from medscore.sdes.base import SDE
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

VE_SDE = VE(0.01, 50.0)
SDES: list[SDE] = [VE_SDE, VP(), SubVP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=repr)


def integral(t: float) -> float:
    """The integral of beta from 0."""
    return 0.1 * t + 19.9 * t**2 / 2


PROPOSALS: list[tuple[SDE, Callable[[float], float]]] = [
    (VE_SDE, lambda t: 2 * math.log(5000.0)),
    (VP(), lambda t: (0.1 + 19.9 * t) / (1 - math.exp(-integral(t)))),
    (
        SubVP(),
        lambda t: (
            (0.1 + 19.9 * t) * (1 - math.exp(-2 * integral(t))) / (1 - math.exp(-integral(t))) ** 2
        ),
    ),
]
"""g^2 / sigma^2 from Eq. B.19-B.23."""


@all_sdes
def test_log_normal_times_have_the_stated_median_and_stay_in_range(sde: SDE) -> None:
    times = LogNormalTimes(mean=-1.0, std=1.0)
    u = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:-1]
    t = times(sde, u)
    assert float(t.min()) >= sde.eps
    assert float(t.max()) <= 1.0
    median = t[10_000:10_001]
    log_ratio = torch.log(sde.sigma(median) / sde.alpha(median))
    assert float(log_ratio) == pytest.approx(-1.0, abs=0.01)
    assert bool((t.diff() >= 0).all())


@all_sdes
@pytest.mark.parametrize(("mean", "std"), [(-1.0, 2.5), (2.0, 0.7)])
def test_log_normal_times_are_the_truncated_normals(sde: SDE, mean: float, std: float) -> None:
    """All quantiles equal scipy's; up to a tenth of the normal distribution is truncated."""
    ends = torch.tensor([sde.eps, 1.0], dtype=torch.float64)
    low, high = ((torch.log(sde.sigma(ends) / sde.alpha(ends)) - mean) / std).tolist()
    u = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    t = LogNormalTimes(mean, std)(sde, u)
    found = torch.log(sde.sigma(t) / sde.alpha(t))
    expected = torch.from_numpy(truncnorm.ppf(u.numpy(), low, high, mean, std))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_uniform_times_fill_the_interval() -> None:
    u = torch.linspace(0, 1, 11)
    torch.testing.assert_close(UniformTimes()(VP(), u), torch.linspace(1e-3, 1, 11))


@pytest.mark.parametrize(("sde", "proposal"), PROPOSALS, ids=lambda v: repr(v)[:6])
def test_importance_times_follow_g2_over_sigma2(
    sde: SDE, proposal: Callable[[float], float]
) -> None:
    """The integral of g^2 / sigma^2 from eps to the time of u is u times the whole integral."""

    def below(t: float) -> float:
        points = [p for p in (0.003, 0.01, 0.03, 0.1) if sde.eps < p < t]
        ends = [sde.eps, *points, t]
        pairs = pairwise(ends)
        return sum(quad(proposal, a, b, epsabs=1e-12, epsrel=1e-12)[0] for a, b in pairs)

    total = below(1.0)
    u = torch.linspace(0, 1, 41, dtype=torch.float64)[:-1]
    for share, t in zip(u.tolist(), ImportanceTimes()(sde, u).tolist(), strict=True):
        assert below(t) / total == pytest.approx(share, abs=1e-8)
    t = torch.tensor([0.3], dtype=torch.float64)
    z = float(importance_weighting(sde, t) * sde.ratio(t) ** 2) * (1 - sde.eps)
    assert z == pytest.approx(total, rel=1e-8)


def test_on_ve_importance_times_are_the_uniform_ones() -> None:
    u = torch.rand(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(ImportanceTimes()(VE_SDE, u), UniformTimes()(VE_SDE, u))


@pytest.mark.parametrize("call", [ImportanceTimes(), importance_weighting])
def test_without_noise_at_eps_there_is_no_proposal(call: TimesRule) -> None:
    with pytest.raises(ValueError, match="no noise at its eps"):
        call(VP(eps=0.0), torch.tensor([0.5]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sde", [VE(eps=0.0), VP(), DDPM(50)], ids=repr)
def test_discrete_times_are_the_scales_equally_often(sde: SDE, dtype: torch.dtype) -> None:
    """N k equally spaced u give each of the N scales k times."""
    n, k = 50, 8
    start = torch.arange(n, dtype=torch.float64)[:, None]
    inside = torch.linspace(0, 1, k, dtype=torch.float64).clamp(1e-5, 1 - 1e-5)
    t = DiscreteTimes(n)(sde, ((start + inside) / n).flatten().to(dtype))
    index = level_index(sde, t, n)
    expected = start.expand(n, k).flatten()
    assert torch.equal(index, expected)
    exact = sde.eps + (1 - sde.eps) * expected / (n - 1)
    torch.testing.assert_close(t, exact.to(dtype), rtol=0, atol=torch.finfo(dtype).eps)
    assert float(t.max()) <= 1.0


def test_discrete_times_are_ddpms_own() -> None:
    """The times i/N, at which alpha^2 is the product of 1 - beta_j."""
    n = 20
    sde = DDPM(n, 0.1, 8.0)
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    betas = torch.linspace(0.1, 8.0, n, dtype=torch.float64) / n
    found = sde.alpha(DiscreteTimes(n)(sde, u)) ** 2
    torch.testing.assert_close(found, torch.cumprod(1 - betas, 0))


@pytest.mark.parametrize("rule", [UniformTimes(), LogNormalTimes(), ImportanceTimes()])
@all_sdes
def test_times_stay_in_range_at_the_ends_of_u(sde: SDE, rule: TimesRule) -> None:
    for dtype in (torch.float32, torch.float64):
        last = 1 - torch.finfo(dtype).eps
        t = rule(sde, torch.tensor([0.0, last], dtype=dtype))
        assert t.dtype == dtype
        assert float(t.min()) >= torch.tensor(sde.eps, dtype=dtype)
        assert float(t.max()) <= 1.0


@pytest.mark.parametrize("scales", [-3, 0, 1])
def test_one_scale_is_refused(scales: int) -> None:
    with pytest.raises(ValueError, match=f"scales is {scales}"):
        DiscreteTimes(scales)
