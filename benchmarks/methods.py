"""The methods that are compared: conditioner, sampler, time grid, and the settings to try.

Settings are chosen once, on slices of training patients. All methods of the ranking have the same
number of trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from problems import Problem
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.diffpir import DiffPIR
from medscore.conditioners.jalal import Jalal
from medscore.conditioners.proximal import Proximal
from medscore.conditioners.score_sde import ScoreSDE
from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.operators.base import Operator
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.precision import choose_precision
from medscore.reconstruction.posterior import EXACT
from medscore.samplers import grids
from medscore.samplers.annealed_langevin import AnnealedLangevin, ScaledLangevin
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.langevin import LangevinCorrector
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.white_noise import derive_seed

RANKED = ("PC + proximal", "ALD + proximal", "Jalal", "Score-SDE")
"""Methods by decreasing expected quality (Song 2022, Table 8.1)."""

REFERENCE = "PC + proximal, 2001"
"""The dissertation's method with 2001 network evaluations."""

Setting = tuple[float, float]
"""Values of the two tuned parameters of a method."""


@dataclass(frozen=True)
class Method:
    """A way to draw posterior samples.

    Attributes:
        conditioner: makes the conditioner from operator, measurements, noise standard deviation
            and setting.
        sampler: makes the sampler from the number of steps and the setting.
        grid: the time grid.
        steps: steps of the time grid.
        settings: the settings to try.
        named: names of the two tuned parameters.
    """

    conditioner: Callable[[Operator, Tensor, float, Setting], Conditioner]
    sampler: Callable[[int, Setting], Sampler]
    grid: grids.Grid
    steps: int
    settings: Sequence[Setting] = ((0.0, 0.0),)
    named: tuple[str, str] = ("", "")


def pc(steps: int, setting: Setting) -> Sampler:
    """Predictor-corrector sampling.

    Args:
        steps: steps of the time grid.
        setting: eta, the signal-to-noise ratio of the corrector at 200 steps, and another value.
            With other numbers of steps the total time of the Langevin steps is kept.
    """
    return PredictorCorrector(
        ReverseDiffusion(), LangevinCorrector(setting[0] * (200 / steps) ** 0.5, steps)
    )


def ald(steps: int, setting: Setting) -> Sampler:
    """Annealed Langevin dynamics with three steps per noise level.

    Args:
        steps: steps of the time grid.
        setting: step size relative to the noise level, and another value.
    """
    return AnnealedLangevin(ScaledLangevin(setting[0]), 3)


def _pc(steps: int, etas: Sequence[float], lams: Sequence[float]) -> Method:
    return Method(
        lambda a, y, std, s: Proximal(a, y, s[1]), pc, grids.uniform, steps,
        [(e, lam) for e in etas for lam in lams], ("eta", "lambda"),
    )  # fmt: skip


METHODS: dict[str, Method] = {
    "DiffPIR": Method(
        lambda a, y, std, s: DiffPIR(a, y, std), lambda n, s: DDIM(), grids.focused, 49
    ),
    REFERENCE: _pc(1000, (0.3, 0.45, 0.6), (0.8, 1.0)),
    "PC + proximal": _pc(300, (0.15, 0.2, 0.3, 0.45, 0.6, 0.7), (0.8, 1.0)),
    "ALD + proximal": Method(
        lambda a, y, std, s: Proximal(a, y, s[1]), ald, grids.log_snr, 200,
        [(r, lam) for r in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5) for lam in (0.8, 1.0)],
        ("relative step", "lambda"),
    ),
    "Jalal": Method(
        lambda a, y, std, s: Jalal(a, y, s[1], std), ald, grids.log_snr, 200,
        [(r, g) for r in (0.1, 0.2, 0.35, 0.5) for g in (0.6, 0.8, 1.0)],
        ("relative step", "gamma"),
    ),
    "Score-SDE": Method(
        lambda a, y, std, s: ScoreSDE(a, y, s[1]), pc, grids.uniform, 300,
        [(e, w) for e in (0.2, 0.3, 0.45, 0.6) for w in (1.0, 2.0, 4.0)], ("eta", "weight"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """Posterior samples of several problems.

    Attributes:
        samples: samples (n, 1, H, W) of each problem in the prior's range.
        nfe: network evaluations per sample.
        residuals: largest relative residual of each problem's samples.
        precision: that of the network, float32 or bf16.
    """

    samples: list[Tensor]
    nfe: int
    residuals: list[float]
    precision: str


def draw(
    problems: Sequence[Problem],
    numbers: Sequence[int],
    method: Method,
    setting: Setting,
    samples: Sequence[int],
    *,
    precision: str = "auto",
) -> Drawn:
    """Draw posterior samples of problems that share an operator, all in one batch.

    Args:
        problems: the problems.
        numbers: their indices, which seed the draws.
        method: the method.
        setting: values of its tuned parameters.
        samples: indices of the samples to draw of each problem.
        precision: that of the network: float32, bf16 or auto.
    """
    first = problems[0]
    assert all(p.operator is first.operator for p in problems)
    prior, operator = load_prior(prior_path(first.prior)), first.operator
    times = method.grid(prior.sde, method.steps)
    y = torch.cat([p.y for p in problems]).repeat_interleave(len(samples), 0)
    size = operator.image_shape[-2:]
    precision = choose_precision(precision, prior, (1, *size)).name

    def pair(items: Sequence[int]) -> Batch:
        rows = y[list(items)]
        a = operator.select([0] * len(items))
        exact = first.noise_std == 0
        return Batch(
            prior,
            method.sampler(method.steps, setting),
            method.conditioner(a, rows, first.noise_std, setting),
            finish=(lambda x: a.project_ball(x, rows, tol=EXACT).x) if exact else (lambda x: x),
        )

    seeds = [derive_seed(0, number, k) for number in numbers for k in samples]
    job = Job(
        seeds=seeds, shape=(1, *size), times=times, batches=pair, batch_size=len(seeds),
        bf16=precision == "bf16",
    )  # fmt: skip
    found = run(job)
    gap = operator.residual(found.x, y).unflatten(0, (len(problems), -1)).amax(1)
    images = list(found.x.unflatten(0, (len(problems), -1)))
    return Drawn(images, found.nfe, gap.tolist(), precision)
