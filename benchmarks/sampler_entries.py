"""The samplers that benchmarks/samplers.py compares, each with its time grid and its cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from medscore.priors.analytic import GMMPrior
from medscore.priors.base import Prior
from medscore.samplers import grids
from medscore.samplers.analytic_dpm import AnalyticDPM, Moment, estimate_moments, own_moment
from medscore.samplers.ancestral import AncestralVE, AncestralVP
from medscore.samplers.annealed_langevin import by_technique_4
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.dpm_solver import DPMSolver1, DPMSolver2, DPMSolver3
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.euler_maruyama import EulerMaruyama
from medscore.samplers.exponential_integrator import ExponentialIntegrator
from medscore.samplers.heun import EDMStochastic, Heun, churn
from medscore.samplers.langevin import LangevinCorrector, batch_ratio, own_ratio
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.probability_flow import ProbabilityFlow
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.white_noise import Noise

SDES: dict[str, SDE] = {"VE": VE(0.05, 10.0), "VP": VP(), "sub-VP": SubVP()}
"""The SDEs of the mixture."""

SNR = 0.16
"""Signal-to-noise ratio of the Langevin corrector."""

WITHIN = 0.43
"""Root mean square standard deviation within the modes of the mixture."""


@dataclass(frozen=True)
class Entry:
    """A sampler of the comparison.

    Attributes:
        make: makes the sampler from the times of the grid and the prior.
        grid: the time grid.
        cost: network evaluations per step.
        ode: whether the sampler solves the probability flow ODE.
    """

    make: Callable[[Tensor, Prior], Sampler]
    grid: grids.Grid = grids.uniform
    cost: int = 1
    ode: bool = False

    def build(self, steps: int, prior: Prior) -> tuple[Sampler, Tensor]:
        """The sampler and its times.

        Args:
            steps: steps of the time grid.
            prior: the prior to sample.
        """
        times = self.grid(prior.sde, steps)
        return self.make(times, prior), times


class Shared(Noise):
    """Noise of a whole batch from one generator, for batches that need not be separable.

    Args:
        seed: seed of the generator.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator)


def pc(times: Tensor, prior: Prior) -> Sampler:
    """Predictor-corrector sampling.

    Args:
        times: the time grid.
        prior: for the mixture the corrector averages norms over the batch, because the norm of a
            single sample with two components says little.
    """
    ratio = batch_ratio if isinstance(prior, GMMPrior) else own_ratio
    return PredictorCorrector(ReverseDiffusion(), LangevinCorrector(SNR, len(times) - 1, ratio))


def analytic(times: Tensor, prior: Prior) -> Sampler:
    """Analytic-DPM.

    Args:
        times: the time grid.
        prior: for the mixture the moments are estimated from its data, for the same reason.
    """
    return AnalyticDPM(1.0, moments(prior) if isinstance(prior, GMMPrior) else own_moment)


def moments(prior: GMMPrior) -> Moment:
    """sigma^2 Gamma of a mixture, from 20,000 draws of its data at 200 times.

    Args:
        prior: the mixture.
    """
    clean = GMMPrior(VP(), prior.weights, prior.means, prior.covariances)
    data = clean.sample(20_000, 0.0, torch.Generator().manual_seed(0))
    times = [float(t) for t in grids.log_snr(prior.sde, 200)]
    return estimate_moments(prior, data, times, Shared(1))


def angular(sde: SDE, steps: int) -> Tensor:
    """The angular grid, centred on the standard deviation within a mode for the mixture.

    Args:
        sde: the SDE; those of the mixture have the centre ``WITHIN``, others the default of 0.5.
        steps: steps of the time grid.
    """
    return grids.angular(sde, steps, WITHIN if sde in SDES.values() else 0.5)


SAMPLERS: dict[str, Entry] = {
    "Euler-Maruyama": Entry(lambda t, p: EulerMaruyama()),
    "reverse diffusion": Entry(lambda t, p: ReverseDiffusion()),
    "ancestral (Eq. 7.4)": Entry(lambda t, p: AncestralVP()),
    "ancestral (Eq. B.33)": Entry(lambda t, p: AncestralVE()),
    "exponential integrator": Entry(lambda t, p: ExponentialIntegrator()),
    "DDIM, eta 1": Entry(lambda t, p: DDIM(1.0), grids.log_snr),
    "Analytic-DPM": Entry(analytic, grids.log_snr),
    "predictor-corrector": Entry(pc, cost=2),
    "annealed Langevin": Entry(lambda t, p: by_technique_4(p.sde, t, 3), grids.log_snr, cost=3),
    "EDM stochastic, churn 10": Entry(
        lambda t, p: EDMStochastic(churn(10.0, len(t) - 1)), grids.karras, cost=2
    ),
    "probability flow": Entry(lambda t, p: ProbabilityFlow(), ode=True),
    "DDIM = DPM-Solver-1": Entry(lambda t, p: DPMSolver1(), grids.log_snr, ode=True),
    "DPM-Solver-2": Entry(lambda t, p: DPMSolver2(), grids.log_snr, 2, True),
    "DPM-Solver-3": Entry(lambda t, p: DPMSolver3(), grids.log_snr, 3, True),
    "Heun, karras grid": Entry(lambda t, p: Heun(), grids.karras, 2, True),
    "Heun, angular grid": Entry(lambda t, p: Heun(), angular, 2, True),
    "DPM-Solver++(2M), log-snr grid": Entry(lambda t, p: DPMSolverPP2M(), grids.log_snr, ode=True),
    "DPM-Solver++(2M), karras grid": Entry(lambda t, p: DPMSolverPP2M(), grids.karras, ode=True),
    "DPM-Solver++(2M), angular grid": Entry(lambda t, p: DPMSolverPP2M(), angular, ode=True),
}
"""The samplers by the names of the tables."""

FAST = ("DPM-Solver++(2M), angular grid", "Heun, angular grid")
"""The samplers that are compared at 20 evaluations with Euler-Maruyama at 500."""


def walk(sampler: Sampler, prior: Prior, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """The state after all steps of a time grid.

    Args:
        sampler: the sampler.
        prior: the prior.
        x: the state at the first time, (batch, ...).
        times: the decreasing time grid.
        noise: source of the random draws.
    """
    memory, n = sampler.init(x), len(x)
    for t, s in pairwise(times):
        x, memory = sampler.step(prior, x, t.expand(n), s.expand(n), noise, memory)
    return x
