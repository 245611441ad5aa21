"""Types of the public names of this package, which are imported when first used."""

from .analytic_dpm import AnalyticDPM as AnalyticDPM
from .ancestral import AncestralVE as AncestralVE, AncestralVP as AncestralVP
from .annealed_langevin import (
    AnnealedLangevin as AnnealedLangevin,
    ScaledLangevin as ScaledLangevin,
)
from .base import Memory as Memory, Sampler as Sampler
from .ddim import DDIM as DDIM
from .dpm_solver import DPMSolver1 as DPMSolver1, DPMSolver2 as DPMSolver2, DPMSolver3 as DPMSolver3
from .dpm_solver_pp import DPMSolverPP2M as DPMSolverPP2M
from .euler_maruyama import EulerMaruyama as EulerMaruyama
from .exponential_integrator import ExponentialIntegrator as ExponentialIntegrator
from .grids import (
    Grid as Grid,
    angular as angular,
    focused as focused,
    geometric as geometric,
    karras as karras,
    ladder as ladder,
    log_snr as log_snr,
    uniform as uniform,
)
from .heun import EDMStochastic as EDMStochastic, Heun as Heun
from .langevin import Langevin as Langevin, LangevinCorrector as LangevinCorrector
from .ode import AdaptiveFlow as AdaptiveFlow
from .ozaki import Ozaki as Ozaki, ScaledOzaki as ScaledOzaki
from .predictor_corrector import PredictorCorrector as PredictorCorrector
from .probability_flow import ProbabilityFlow as ProbabilityFlow
from .reverse_diffusion import ReverseDiffusion as ReverseDiffusion
