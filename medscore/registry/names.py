"""Names on the command line and in configurations: one dict per kind, nowhere else.

A new operator, sampler, conditioner or noise model is a file of its own and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.daps import DAPS
from medscore.conditioners.ddnm import DDNM
from medscore.conditioners.ddrm import DDRM
from medscore.conditioners.dds import DDS
from medscore.conditioners.diffpir import DiffPIR
from medscore.conditioners.discrepancy import Discrepancy
from medscore.conditioners.dps import DPS
from medscore.conditioners.jalal import Jalal, JalalNormalised
from medscore.conditioners.mcg import MCG
from medscore.conditioners.moment_matching import MomentMatching
from medscore.conditioners.pigdm import PiGDM
from medscore.conditioners.proximal import Proximal
from medscore.conditioners.red_diff import REDDiff
from medscore.conditioners.replacement import Replacement
from medscore.conditioners.score_sde import ScoreSDE
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.samplers import grids
from medscore.samplers.analytic_dpm import AnalyticDPM
from medscore.samplers.ancestral import AncestralVE, AncestralVP
from medscore.samplers.annealed_langevin import by_technique_4
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.dpm_solver import DPMSolver1, DPMSolver2, DPMSolver3
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.euler_maruyama import EulerMaruyama
from medscore.samplers.exponential_integrator import ExponentialIntegrator
from medscore.samplers.heun import EDMStochastic, Heun, churn
from medscore.samplers.langevin import LangevinCorrector
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.probability_flow import ProbabilityFlow
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class SamplerOptions:
    """What a sampler on the command line may depend on: r, the time grid, and the SDE."""

    snr: float
    times: Tensor
    sde: SDE

    @property
    def steps(self) -> int:
        """Of the grid."""
        return len(self.times) - 1


SAMPLERS: dict[str, Callable[[SamplerOptions], Sampler]] = {
    "pc": lambda o: PredictorCorrector(ReverseDiffusion(), LangevinCorrector(o.snr, o.steps)),
    "reverse-diffusion": lambda o: ReverseDiffusion(),
    "euler-maruyama": lambda o: EulerMaruyama(),
    "ancestral-ve": lambda o: AncestralVE(),
    "ancestral-vp": lambda o: AncestralVP(),
    "exponential-integrator": lambda o: ExponentialIntegrator(),
    "annealed-langevin": lambda o: by_technique_4(o.sde, o.times, steps=3),
    "probability-flow": lambda o: ProbabilityFlow(),
    "ddim": lambda o: DDIM(),
    "analytic-dpm": lambda o: AnalyticDPM(),
    "dpm-solver-1": lambda o: DPMSolver1(),
    "dpm-solver-2": lambda o: DPMSolver2(),
    "dpm-solver-3": lambda o: DPMSolver3(),
    "dpm-solver++": lambda o: DPMSolverPP2M(),
    "heun": lambda o: Heun(),
    "edm-stochastic": lambda o: EDMStochastic(churn(40.0, o.steps)),
}

GRIDS: dict[str, grids.Grid] = {
    "uniform": grids.uniform,
    "geometric": grids.geometric,
    "log-snr": grids.log_snr,
    "karras": grids.karras,
    "angular": grids.angular,
    "focused": grids.focused,
}


@dataclass(frozen=True)
class Strength:
    """What a conditioner on the command line may depend on: lambda, and the noise's deviation."""

    lam: float
    noise_std: float


CONDITIONERS: dict[str, Callable[[Operator, Tensor, Strength], Conditioner]] = {
    "diffpir": lambda a, y, s: DiffPIR(a, y, s.noise_std),
    "proximal": lambda a, y, s: Proximal(a, y, s.lam),
    "discrepancy": lambda a, y, s: Discrepancy(a, y, s.noise_std),
    "replacement": lambda a, y, s: Replacement(a, y),
    "score-sde": lambda a, y, s: ScoreSDE(a, y),
    "jalal": lambda a, y, s: Jalal(a, y, noise_std=s.noise_std),
    "jalal-normalised": lambda a, y, s: JalalNormalised(a, y),
    "dps": lambda a, y, s: DPS(a, y),
    "mcg": lambda a, y, s: MCG(a, y),
    "pigdm": lambda a, y, s: PiGDM(a, y, s.noise_std),
    "moment-matching": lambda a, y, s: MomentMatching(a, y, s.noise_std),
    "ddnm": lambda a, y, s: DDNM(a, y, s.noise_std),
    "ddrm": lambda a, y, s: DDRM(a, y, s.noise_std),
    "dds": lambda a, y, s: DDS(a, y, gamma=5.0 if s.noise_std else None),
    "daps": lambda a, y, s: DAPS(a, y, s.noise_std),
    "red-diff": lambda a, y, s: REDDiff(a, y),
}


def sampler(name: str, options: SamplerOptions) -> Sampler:
    """The sampler of that name."""
    return _pick(SAMPLERS, name, "sampler")(options)


def grid(name: str) -> grids.Grid:
    """The time grid of that name."""
    return _pick(GRIDS, name, "grid")


def conditioner(name: str) -> Callable[[Operator, Tensor, Strength], Conditioner]:
    """The conditioner of that name; where it cannot do with an operator or its noise it says so.

    Raises:
        MedscoreError: no such conditioner.
    """
    make = _pick(CONDITIONERS, name, "conditioner")

    def checked(operator: Operator, y: Tensor, strength: Strength) -> Conditioner:
        try:
            return make(operator, y, strength)
        except ValueError as error:
            raise MedscoreError(
                f"--conditioner {name}: {error}", hint="use diffpir, dds or proximal"
            ) from error

    return checked


def _pick(table: dict[str, Entry], name: str, kind: str) -> Entry:
    if name not in table:
        raise MedscoreError(f"no {kind} {name!r}", hint=f"use one of: {', '.join(table)}")
    return table[name]
