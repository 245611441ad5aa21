"""Tables of the parts of posterior sampling by name.

A new method is a new file and a new line here. The baselines are in
``reconstruction/baselines/methods.py``.
"""

from __future__ import annotations

from medscore.registry.table import Table

_S, _G, _C = "medscore.samplers.", "medscore.samplers.grids:", "medscore.conditioners."

SAMPLERS = Table(
    "sampler",
    {
        "pc": _S + "predictor_corrector:pc",
        "reverse-diffusion": _S + "reverse_diffusion:ReverseDiffusion",
        "euler-maruyama": _S + "euler_maruyama:EulerMaruyama",
        "ancestral-ve": _S + "ancestral:AncestralVE",
        "ancestral-vp": _S + "ancestral:AncestralVP",
        "exponential-integrator": _S + "exponential_integrator:ExponentialIntegrator",
        "annealed-langevin": _S + "annealed_langevin:AnnealedLangevin",
        "ozaki": _S + "ozaki:ozaki",
        "pc-ozaki": _S + "ozaki:pc_ozaki",
        "probability-flow": _S + "probability_flow:ProbabilityFlow",
        "ddim": _S + "ddim:DDIM",
        "analytic-dpm": _S + "analytic_dpm:AnalyticDPM",
        "dpm-solver-1": _S + "dpm_solver:DPMSolver1",
        "dpm-solver-2": _S + "dpm_solver:DPMSolver2",
        "dpm-solver-3": _S + "dpm_solver:DPMSolver3",
        "dpm-solver++": _S + "dpm_solver_pp:DPMSolverPP2M",
        "heun": _S + "heun:Heun",
        "edm-stochastic": _S + "heun:EDMStochastic",
    },
)

GRIDS = Table(
    "grid",
    {
        "uniform": _G + "uniform",
        "geometric": _G + "geometric",
        "log-snr": _G + "log_snr",
        "karras": _G + "karras",
        "angular": _G + "angular",
        "focused": _G + "focused",
    },
)

ACROSS_SLICES = Table(
    "across_slices",
    {
        "none": "medscore.priors.across:Independent",
        "tv": "medscore.priors.slice_tv:SliceTV",
        "2.5d": "medscore.priors.neighbours:Neighbours",
        "planes": "medscore.priors.planes:Planes",
    },
)

CONDITIONERS = Table(
    "conditioner",
    {
        "diffpir": _C + "diffpir:DiffPIR",
        "proximal": _C + "proximal:Proximal",
        "discrepancy": _C + "discrepancy:Discrepancy",
        "replacement": _C + "replacement:Replacement",
        "score-sde": _C + "score_sde:ScoreSDE",
        "jalal": _C + "jalal:Jalal",
        "jalal-normalised": _C + "jalal:JalalNormalised",
        "dps": _C + "dps:DPS",
        "mcg": _C + "mcg:MCG",
        "pigdm": _C + "pigdm:PiGDM",
        "moment-matching": _C + "moment_matching:MomentMatching",
        "ddnm": _C + "ddnm:DDNM",
        "ddrm": _C + "ddrm:DDRM",
        "dds": _C + "dds:DDS",
        "daps": _C + "daps:DAPS",
        "red-diff": _C + "red_diff:REDDiff",
    },
)
