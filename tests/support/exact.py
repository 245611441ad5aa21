"""Every sampler with its known properties, and its exact final distribution for a Gaussian prior.

On a Gaussian prior the score is affine in x, so a sampler with fixed step sizes maps a Gaussian to
a Gaussian. Its mean and covariance are read off by walking basis vectors, one per number of the
start and one per number drawn, down the whole grid at once: nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from support import SharedNoise
from torch import Tensor

from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.samplers import grids
from medscore.samplers.analytic_dpm import AnalyticDPM, Moment, estimate_moments
from medscore.samplers.ancestral import AncestralVE, AncestralVP
from medscore.samplers.annealed_langevin import AnnealedLangevin, ScaledLangevin
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.dpm_solver import DPMSolver1, DPMSolver2, DPMSolver3
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.euler_maruyama import EulerMaruyama
from medscore.samplers.exponential_integrator import ExponentialIntegrator
from medscore.samplers.heun import EDMStochastic, Heun, churn
from medscore.samplers.langevin import Langevin, LangevinCorrector, batch_ratio
from medscore.samplers.ode import AdaptiveFlow
from medscore.samplers.ozaki import Ozaki, ScaledOzaki
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.probability_flow import ProbabilityFlow
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.white_noise import Noise

SDES: list[SDE] = [VE(0.05, 10.0), VP(), SubVP()]


@dataclass(frozen=True)
class Moments:
    """sigma^2 Gamma of the Gaussian with the prior's moments, whose E|score|^2 is tr(C_t^-1)."""

    prior: GMMPrior

    def __call__(self, t: Tensor, score: Tensor, sde: SDE) -> Tensor:
        _, covariance = self.prior.marginal(float(t[0]))
        gamma = torch.linalg.inv(covariance).diagonal().mean()
        return (sde.sigma(t) ** 2 * gamma).to(t)


def moments(prior: GMMPrior) -> Moment:
    """Exact for a Gaussian, else estimated from 10,000 draws of the data at 60 times."""
    if len(prior.weights) == 1:
        return Moments(prior)
    clean = GMMPrior(VP(), prior.weights, prior.means, prior.covariances)
    data = clean.sample(10_000, 0.0, torch.Generator().manual_seed(0))
    times = [float(t) for t in grids.log_snr(prior.sde, 60)]
    return estimate_moments(prior, data, times, SharedNoise(1))


@dataclass(frozen=True)
class Case:
    """A sampler and its expected properties.

    Attributes:
        make: makes the sampler for a number of steps and a prior.
        order: order of the bias in the number of steps, for predictors.
        grid: time grid that the sampler is meant for.
        coarse: number of steps at which the order can be observed.
        steps: number of steps at which the bias is below the statistical error of the samples.
    """

    make: Callable[[int, GMMPrior], Sampler]
    order: int | None
    grid: grids.Grid = grids.uniform
    coarse: int = 200
    steps: int = 400


def _annealed(sde: SDE, steps: int) -> Tensor:
    """The times of ``log_snr`` with the first one twice, as in ``grids.ladder``."""
    return torch.cat([torch.ones(1), grids.log_snr(sde, steps)])


CASES: dict[str, Case] = {
    "euler-maruyama": Case(lambda n, p: EulerMaruyama(), 1, steps=500),
    "reverse diffusion": Case(lambda n, p: ReverseDiffusion(), 1, steps=500),
    "ancestral, VP": Case(lambda n, p: AncestralVP(), 1, steps=500),
    "ancestral, VE": Case(lambda n, p: AncestralVE(), 1, steps=500),
    "exponential integrator": Case(lambda n, p: ExponentialIntegrator(), 1, steps=500),
    "probability flow": Case(lambda n, p: ProbabilityFlow(), 1, steps=500),
    "ddim, eta 0": Case(lambda n, p: DDIM(), 1, grids.log_snr),
    "ddim, eta 0.5": Case(lambda n, p: DDIM(0.5), 1, grids.log_snr),
    "ddim, eta 1": Case(lambda n, p: DDIM(1.0), 1, grids.log_snr),
    "analytic-dpm": Case(lambda n, p: AnalyticDPM(1.0, moments(p)), 1, grids.log_snr),
    "analytic-dpm, eta 0": Case(lambda n, p: AnalyticDPM(0.0, moments(p)), 1, grids.log_snr),
    "dpm-solver-1": Case(lambda n, p: DPMSolver1(), 1, grids.log_snr),
    "dpm-solver-2": Case(lambda n, p: DPMSolver2(), 2, grids.log_snr, 50, 50),
    "dpm-solver-3": Case(lambda n, p: DPMSolver3(), 3, grids.log_snr, 100, 30),
    "dpm-solver++ (2M)": Case(lambda n, p: DPMSolverPP2M(), 2, grids.log_snr, 100, 50),
    "heun": Case(lambda n, p: Heun(), 2, grids.karras, 50, 50),
    "edm stochastic": Case(lambda n, p: EDMStochastic(churn(10.0, n)), 2, grids.karras, 100, 100),
    "predictor-corrector": Case(
        lambda n, p: PredictorCorrector(ReverseDiffusion(), ScaledLangevin(4 / n)), 1
    ),
    "annealed langevin": Case(
        lambda n, p: AnnealedLangevin(ScaledLangevin(0.1), 20), None, _annealed, steps=60
    ),
    "langevin": Case(lambda n, p: Langevin(0.02), None, steps=200),
    "langevin by ozaki": Case(lambda n, p: Ozaki(0.05), None, steps=80),
    "annealed ozaki": Case(
        lambda n, p: AnnealedLangevin(ScaledOzaki(0.2), 8), None, _annealed, steps=50
    ),
    # in two dimensions the norms vary much between samples, so batch means are used here;
    # test_corrector.py has 64 dimensions
    "langevin corrector": Case(
        lambda n, p: LangevinCorrector(0.1, ratio=batch_ratio), None, steps=200
    ),
    "adaptive flow": Case(lambda n, p: AdaptiveFlow(), None, steps=1),
}
"""All samplers of the package; a test checks that none is missing."""


def gaussian(sde: SDE) -> GaussianPrior:
    """A Gaussian in three dimensions with correlations and a mean, in float64."""
    root = torch.tensor([[0.9, 0.2, 0.0], [0.0, 0.7, -0.4], [0.3, 0.0, 0.5]], dtype=torch.float64)
    mean = torch.tensor([0.3, -0.6, 0.5], dtype=torch.float64)
    return GaussianPrior(sde, mean, root @ root.T)


class _Counting(Noise):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, like: Tensor) -> Tensor:
        self.calls += 1
        return torch.zeros_like(like)


class _Probing(Noise):
    """Noise that is the unit vector d in call c for batch member ``first + c D + d``, else zero."""

    def __init__(self, first: int) -> None:
        self.next = first

    def __call__(self, like: Tensor) -> Tensor:
        draw, d = torch.zeros_like(like), like.shape[1]
        draw[self.next : self.next + d] = torch.eye(d, dtype=like.dtype)
        self.next += d
        return draw


def walk(sampler: Sampler, prior: Prior, x: Tensor, grid: Tensor, noise: Noise) -> Tensor:
    """Sample along a time grid without the engine."""
    memory, n = sampler.init(x), len(x)
    for t, s in pairwise(grid.to(x)):
        x, memory = sampler.step(prior, x, t.expand(n), s.expand(n), noise, memory)
    return x


def propagate(
    sampler: Sampler, prior: Prior, grid: Tensor, mean: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor]:
    """The exact mean and covariance at the end of the grid, starting from N(mean, covariance)."""
    d, counting = len(mean), _Counting()
    walk(sampler, prior, torch.zeros(1, d, dtype=mean.dtype), grid, counting)
    x = torch.zeros(1 + d + counting.calls * d, d, dtype=mean.dtype)
    x[1 : 1 + d] = torch.eye(d, dtype=mean.dtype)
    x = walk(sampler, prior, x, grid, _Probing(1 + d))
    offset = x[0]
    linear, loading = (x[1 : 1 + d] - offset).T, (x[1 + d :] - offset).T
    return linear @ mean + offset, linear @ covariance @ linear.T + loading @ loading.T


def bias(name: str, sde: SDE, steps: int) -> float:
    """The distance of the final mean and covariance to those of p_eps, from the exact p_1."""
    case, prior = CASES[name], gaussian(sde)
    grid = case.grid(sde, steps)
    found = propagate(case.make(steps, prior), prior, grid, *prior.marginal(float(grid[0])))
    exact = prior.marginal(float(grid[-1]))
    return sum(float((a - b).norm()) for a, b in zip(found, exact, strict=True))
