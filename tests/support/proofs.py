"""The assertions of the conformance tests, as functions that the mutation tests call too."""

from __future__ import annotations

import math

import formulas
import torch
from exact import CASES, bias, gaussian, propagate
from formulas import Schedule, Step
from scipy.optimize import brentq
from support import FixedNoise, SharedNoise

from medscore.priors.analytic import GaussianPrior
from medscore.priors.base import Prior
from medscore.samplers import analytic_dpm, ode
from medscore.samplers.analytic_dpm import AnalyticDPM, MomentTable
from medscore.samplers.ancestral import AncestralVE, AncestralVP
from medscore.samplers.annealed_langevin import AnnealedLangevin, ScaledLangevin
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.dpm_solver import DPMSolver1, DPMSolver2, DPMSolver3
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.euler_maruyama import EulerMaruyama
from medscore.samplers.exponential_integrator import ExponentialIntegrator
from medscore.samplers.heun import EDMStochastic, Heun
from medscore.samplers.langevin import Langevin, LangevinCorrector
from medscore.samplers.ode import AdaptiveFlow
from medscore.samplers.ozaki import Ozaki, ScaledOzaki
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.probability_flow import ProbabilityFlow
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP
from medscore.types import State, Times
from medscore.uncertainty.low_rank import DiagonalLowRank
from medscore.uncertainty.second_order import SecondOrder

CANCELS = {("euler-maruyama", VE)}
"""On a Gaussian the first-order bias of Euler-Maruyama on geometric VE vanishes: per variance c it
is proportional to the difference of w / (c + w)^2, w = sigma^2, between both ends, which is ~0."""


def order(name: str, sde: SDE) -> None:
    """Twice the steps divide the bias by 2 to the order, within 8 %, so the bias tends to zero."""
    claimed, steps = CASES[name].order, CASES[name].coarse
    assert claimed is not None
    rate = math.log2(bias(name, sde, steps) / bias(name, sde, 2 * steps))
    if (name, type(sde)) in CANCELS:
        assert rate > claimed - 0.08, rate
    else:
        assert abs(rate - claimed) < 0.08 * claimed, rate


def written(sde: SDE) -> Schedule:
    """The same SDE in plain numbers."""
    if isinstance(sde, VE):
        return formulas.ve(sde.sigma_min, sde.sigma_max)
    return formulas.vp() if isinstance(sde, VP) else formulas.subvp()


def _exact_moment(t: torch.Tensor, score: torch.Tensor, sde: SDE) -> torch.Tensor:
    """sigma^2 / (alpha^2 C + sigma^2)."""
    signal = sde.alpha(t) ** 2 * formulas.C
    return sde.sigma(t) ** 2 / (signal + sde.sigma(t) ** 2)


ONE_STEP: dict[str, tuple[Sampler, Step]] = {
    "euler-maruyama": (EulerMaruyama(), formulas.euler_maruyama),
    "reverse diffusion": (ReverseDiffusion(), formulas.reverse_diffusion),
    "probability flow": (ProbabilityFlow(), formulas.probability_flow),
    "ancestral, VP": (AncestralVP(), formulas.ancestral_vp),
    "ancestral, VE": (AncestralVE(), formulas.ancestral_ve),
    "exponential integrator": (ExponentialIntegrator(), formulas.exponential_integrator),
    "ddim, eta 0": (DDIM(), formulas.ddim(0.0)),
    "ddim, eta 0.7": (DDIM(0.7), formulas.ddim(0.7)),
    "ddim, eta 1": (DDIM(1.0), formulas.ddim(1.0)),
    "analytic-dpm, eta 0": (AnalyticDPM(0.0, _exact_moment), formulas.analytic_dpm(0.0)),
    "analytic-dpm, eta 0.7": (AnalyticDPM(0.7, _exact_moment), formulas.analytic_dpm(0.7)),
    "analytic-dpm, own moment": (AnalyticDPM(), formulas.analytic_dpm_own),
    "dpm-solver-1": (DPMSolver1(), formulas.dpm_solver_1),
    "dpm-solver-2": (DPMSolver2(), formulas.dpm_solver_2),
    "dpm-solver-3": (DPMSolver3(), formulas.dpm_solver_3),
    "heun": (Heun(), formulas.heun),
    "edm stochastic": (EDMStochastic(0.2, inflate=1.1), formulas.edm_stochastic(0.2, 1.1)),
    "edm stochastic, below low": (EDMStochastic(0.2, low=1e4), formulas.heun),
    "edm stochastic, above high": (EDMStochastic(0.2, high=1e-4), formulas.heun),
    "langevin": (Langevin(0.03), formulas.langevin(lambda k, s, g: 0.03)),
    "scaled langevin": (
        ScaledLangevin(0.2),
        formulas.langevin(lambda k, s, g: 0.2 * k.sigma(s) ** 2),
    ),
    "ozaki": (Ozaki(0.03, SecondOrder("full")), formulas.ozaki(lambda k, s: 0.03)),
    "ozaki, diagonal": (Ozaki(0.3, SecondOrder("diagonal")), formulas.ozaki(lambda k, s: 0.3)),
    "scaled ozaki": (
        ScaledOzaki(0.2, SecondOrder("full")),
        formulas.ozaki(lambda k, s: 0.2 * k.sigma(s) ** 2),
    ),
    "langevin corrector": (
        LangevinCorrector(0.3, scales=500),
        # Alg. B.6; B.7 with alpha_i = 1 - beta_i, beta_i = 1 - exp(-(integral of beta) / N)
        formulas.langevin(lambda k, s, g: 2 * math.exp(2 * k.f(s) / 500) * (0.3 / abs(g)) ** 2),
    ),
}


def one_step(name: str, sde: SDE) -> None:
    """A step of size 0.1 from t = 0.7 equals its source's formula to 10 digits."""
    sampler, formula = ONE_STEP[name]
    k, x, t, s, z = written(sde), 1.3, 0.7, 0.6, -0.8
    prior = _line(sde)
    found, _ = sampler.step(prior, _one(x)[None], _one(t), _one(s), FixedNoise(_one(z)[None]), {})
    expected = formula(k, x, t, s, z)
    assert abs(float(found) - expected) < 1e-10 * max(1.0, abs(expected)), (found, expected)


def second_step_of_2m(sde: SDE) -> None:
    """DPM-Solver++ extrapolates from the second step on."""
    k, t, s = written(sde), 0.7, 0.6
    prior = _line(sde)
    start, silent = _one(-0.9)[None], FixedNoise(_one(0.0)[None])
    sampler, t0 = DPMSolverPP2M(), (1 + t) / 2
    x, memory = sampler.step(prior, start, _one(t0), _one(t), silent, sampler.init(start))
    found, _ = sampler.step(prior, x, _one(t), _one(s), silent, memory)
    expected = formulas.dpm_solver_pp_2m(k, float(x), t, s, 0.0)
    assert abs(float(found) - expected) < 1e-9 * max(1.0, abs(expected)), (found, expected)


def adaptive_flow(sde: SDE) -> None:
    """dopri5 maps the Gaussian p_1 to p_eps: the mean to ten times its tolerance per unit of size,
    the covariance to a hundred.
    """
    prior = gaussian(sde)
    mean, covariance = prior.marginal(1.0)
    x = torch.cat([mean[None], mean + torch.linalg.cholesky(covariance).T])
    size = float(covariance.diagonal().max()) ** 0.5
    end = ode.solve(prior, x, 1.0, sde.eps, rtol=1e-8, atol=1e-8)
    root = end[1:] - end[0]
    exact_mean, exact = prior.marginal(sde.eps)
    assert float((end[0] - exact_mean).abs().max()) < 1e-7 * max(1, size)
    assert float((root.T @ root - exact).abs().max()) < 1e-6 * max(1, size)


def annealed_langevin(sde: SDE) -> None:
    """For a single data point the variance after each level is that of Eq. 6.4.

    Where alpha changes, the state is rescaled first.
    """
    relative, steps, levels = 0.3, 4, [10.0, 6.0, 3.6]
    prior = GaussianPrior(sde, torch.zeros(1).double(), torch.zeros(1, 1).double())
    if not isinstance(sde, VE):
        levels = [0.9, 0.6, 0.4]
    k = written(sde)
    found = [brentq(lambda t, v=v: k.sigma(t) - v, 0, 1, xtol=1e-15) for v in levels]
    times = torch.tensor(found, dtype=torch.float64)
    variance, before = _one(levels[0] ** 2)[None], levels[0] ** 2
    sampler = AnnealedLangevin(ScaledLangevin(relative), steps)
    for i in (1, 2):
        grid = times[i - 1 : i + 1]
        _, variance = propagate(sampler, prior, grid, torch.zeros(1).double(), variance)
        t, s = grid.tolist()
        before = before * (k.alpha(s) / k.alpha(t)) ** 2
        rest = 2 * relative / (1 - (1 - relative) ** 2)
        left = (1 - relative) ** (2 * steps) * (before / levels[i] ** 2 - rest) + rest
        before = float(variance)
        assert abs(before / levels[i] ** 2 - left) < 1e-9, (before, left)


def stationary_langevin(sde: SDE) -> None:
    """The stationary variance of fixed steps is v / (1 - eps / (2 v)) per axis, v that of p_t."""
    prior, t = gaussian(sde), torch.full((2,), 0.3, dtype=torch.float64)
    mean, covariance = prior.marginal(0.3)
    values, vectors = torch.linalg.eigh(covariance)
    epsilon = 0.4 * float(values.min())
    kept = vectors @ torch.diag(values / (1 - epsilon / (2 * values))) @ vectors.T
    for sampler in (Langevin(epsilon), ScaledLangevin(epsilon / float(sde.sigma(t[0])) ** 2)):
        found = propagate(sampler, prior, t, mean, kept)
        assert float((found[0] - mean).abs().max()) < 1e-10
        assert float((found[1] - kept).abs().max()) < 1e-10


def stationary_ozaki(sde: SDE) -> None:
    """The stationary distribution on a Gaussian is exact for every step size, in every form.

    The diagonal form needs a diagonal covariance, the form of low rank a posterior covariance that
    is diagonal plus low rank.
    """
    t = torch.full((2,), 0.3, dtype=torch.float64)
    white = gaussian(sde)
    axes = GaussianPrior(sde, white.means[0], torch.diag(torch.tensor([1.0, 0.3, 0.01]).double()))
    learned = Learned(sde, float(t[0]))
    for prior, form in ((white, "full"), (axes, "diagonal"), (learned, "low-rank")):
        mean, covariance = (learned.inner if prior is learned else prior).marginal(0.3)
        for epsilon in (0.005, 0.3, 30.0):
            sampler = Ozaki(epsilon, SecondOrder(form))
            found = propagate(sampler, prior, t, mean, covariance)
            assert float((found[0] - mean).abs().max()) < 1e-10
            assert float((found[1] - covariance).abs().max()) < 1e-9 * float(covariance.max())


class Learned(Prior):
    """A Gaussian in five dimensions whose covariance given x_t is diagonal plus rank two.

    It is given together with the denoised image, as networks with a second output do; it holds at
    one time.
    """

    has_covariance = True

    def __init__(self, sde: SDE, t: float) -> None:
        self.sde, time = sde, _one(t)
        generator = torch.Generator().manual_seed(0)
        gain = float((sde.sigma(time) / sde.alpha(time)) ** 2)
        self.diagonal = gain * torch.tensor([0.1, 0.2, 0.05, 0.4, 0.3]).double()
        self.factors = math.sqrt(gain) * 0.2 * torch.randn(2, 5, generator=generator).double()
        eye = torch.eye(5, dtype=torch.float64)
        posterior = torch.diag(self.diagonal) + self.factors.T @ self.factors
        precision = (eye - posterior / gain) / float(sde.sigma(time)) ** 2
        noise = float(sde.sigma(time)) ** 2 * eye
        data = (torch.linalg.inv(precision) - noise) / float(sde.alpha(time)) ** 2
        self.inner = GaussianPrior(sde, torch.ones(5).double(), (data + data.T) / 2)

    def denoise(self, x: State, t: Times) -> State:
        return self.inner.denoise(x, t)

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, DiagonalLowRank]:
        n = len(x)
        learned = DiagonalLowRank(self.diagonal.expand(n, 5), self.factors.expand(n, 2, 5))
        return self.denoise(x, t), learned


def corrector_order(sde: SDE) -> None:
    """Predictor-corrector predicts to s and then corrects at s: by hand, with draws z and w."""
    prior = _line(sde)
    k, x, t, s, z = written(sde), 1.3, 0.7, 0.6, -0.8
    sampler = PredictorCorrector(ReverseDiffusion(), ScaledLangevin(0.2), corrections=2)
    start = _one(x)[None]
    found, _ = sampler.step(prior, start, _one(t), _one(s), FixedNoise(_one(z)[None]), {})
    expected = formulas.reverse_diffusion(k, x, t, s, z)
    fixed = formulas.langevin(lambda k, s, g: 0.2 * k.sigma(s) ** 2)
    for _ in range(2):
        expected = fixed(k, expected, s, s, z)
    assert abs(float(found) - expected) < 1e-10 * max(1.0, abs(expected))


class _Denoiser(Prior):
    """A prior that implements only the denoiser, like networks."""

    def __init__(self, inner: Prior) -> None:
        self.inner, self.sde = inner, inner.sde

    def denoise(self, x: State, t: Times) -> State:
        return self.inner.denoise(x, t)


def score_from_denoiser(sde: SDE) -> None:
    """Tweedie's formula turns the denoiser of a prior into its score."""
    prior = gaussian(sde)
    x, t = torch.ones(3, 3, dtype=torch.float64), torch.linspace(0.3, 1, 3, dtype=torch.float64)
    gap = _Denoiser(prior).score(x, t) - prior.score(x, t)
    assert float(gap.abs().max()) < 1e-10


def moment_table() -> None:
    """A moment table is linear between its times and constant beyond them."""
    table = MomentTable((0.2, 0.4, 0.8), (1.0, 2.0, 0.0))
    t = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.7, 0.9])
    found = table(t, torch.zeros(6, 1), VP())
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 1.5, 2.0, 0.5, 0.0]))


def analytic_bounds() -> None:
    """Estimates out of range give the bounds: DDIM's variance, and that of an unknown x_0."""
    sde, x, t, s = VP(), _one(1.3)[None], _one(0.7), _one(0.6)
    prior = _line(sde)
    k, z = written(sde), FixedNoise(_one(1.0)[None])
    v = formulas.forward_noise(k, 0.7, 0.6) * k.sigma(0.6) ** 2 / k.sigma(0.7) ** 2
    slope = k.alpha(0.6) / k.alpha(0.7) * k.sigma(0.7) - math.sqrt(k.sigma(0.6) ** 2 - v)
    mean = formulas.ddim(1.0)(k, 1.3, 0.7, 0.6, 0.0)
    for moment, variance in ((7.0, v), (-7.0, v + slope**2)):
        sampler = AnalyticDPM(1.0, lambda t, score, sde, moment=moment: torch.full_like(t, moment))
        found, _ = sampler.step(prior, x, t, s, z, {})
        assert abs(float(found) - mean - math.sqrt(variance)) < 1e-10


def noise_is_not_raised_beyond_the_sdes_own() -> None:
    """At t = 1 churn adds no noise: for every gamma and draw the step equals Heun's."""
    for sde in (VE(0.05, 10.0), VP()):
        prior = _line(sde)
        x, ends = _one(1.3)[None], (_one(1.0), _one(0.9))
        churned, _ = EDMStochastic(0.4).step(prior, x, *ends, FixedNoise(_one(2.0)[None]), {})
        plain, _ = Heun().step(prior, x, *ends, FixedNoise(_one(2.0)[None]), {})
        assert float((churned - plain).abs()) < 1e-12


def estimated_moments() -> None:
    """sigma^2 Gamma from 20,000 draws of white data: 6 standard errors, 4 %."""
    sde = VP()
    prior = GaussianPrior(sde, torch.zeros(4), 0.3 * torch.eye(4))
    data = prior.sample(20_000, 0.0, torch.Generator().manual_seed(0))
    table = analytic_dpm.estimate_moments(prior, data, [0.8, 0.1, 0.4], SharedNoise(0))
    assert table.times == (0.1, 0.4, 0.8)
    for time, value in zip(table.times, table.values, strict=True):
        k = written(sde)
        exact = k.sigma(time) ** 2 / (k.alpha(time) ** 2 * 0.3 + k.sigma(time) ** 2)
        assert abs(value / exact - 1) < 0.04


def own_moment() -> None:
    """The moment of a single sample is sigma^2 |score|^2 / d."""
    sde, t = VP(), torch.tensor([0.3, 0.6]).double()
    score = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]).double()
    sigma = [written(sde).sigma(float(v)) for v in t]
    expected = torch.tensor([sigma[0] ** 2 * 14 / 3, sigma[1] ** 2 / 3]).double()
    assert float((analytic_dpm.own_moment(t, score, sde) - expected).abs().max()) < 1e-6


def samples_alone() -> None:
    """AdaptiveFlow gives bitwise the same sample for any other samples in the batch."""
    prior = gaussian(VP())
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()
    t, s = torch.ones(4).double(), torch.full((4,), 0.1).double()
    silent = FixedNoise(torch.zeros(4, 3).double())
    whole, _ = AdaptiveFlow().step(prior, x, t, s, silent, {})
    alone, _ = AdaptiveFlow().step(prior, x[2:3], t[2:3], s[2:3], silent, {})
    assert torch.equal(whole[2:3], alone)


def _one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def _line(sde: SDE) -> GaussianPrior:
    """The one-dimensional data of the formulas."""
    return GaussianPrior(sde, _one(formulas.M), _one(formulas.C)[None])
