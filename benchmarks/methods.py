"""The methods that are compared: conditioner, sampler and grid, with what is tuned of each.

Settings are chosen once, on slices of training patients, with the same number of trials for every
method; a method's trials are the rows of its ``settings``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from prior_quality import shipped
from problems import Problem
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.diffpir import DiffPIR
from medscore.conditioners.jalal import Jalal
from medscore.conditioners.proximal import Proximal
from medscore.conditioners.score_sde import ScoreSDE
from medscore.engine.loop import Batch, Job, run
from medscore.operators.base import Operator
from medscore.reconstruction.posterior import EXACT
from medscore.samplers import grids
from medscore.samplers.annealed_langevin import AnnealedLangevin, ScaledLangevin
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.langevin import LangevinCorrector
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.white_noise import derive_seed

BF16 = True
RANKED = ("PC + proximal", "ALD + proximal", "Jalal", "Score-SDE")
REFERENCE = "PC + proximal, 2001"
Setting = tuple[float, float]


@dataclass(frozen=True)
class Method:
    """How to sample.

    Attributes:
        conditioner: from operator, y, noise_std and the setting. sampler: from the steps and the
            setting. steps: of the grid. settings: the trials; the first is the untuned one.
        named: what the two numbers of a setting are.
    """

    conditioner: Callable[[Operator, Tensor, float, Setting], Conditioner]
    sampler: Callable[[int, Setting], Sampler]
    grid: grids.Grid
    steps: int
    settings: Sequence[Setting] = ((0.0, 0.0),)
    named: tuple[str, str] = ("", "")


def pc(steps: int, setting: Setting) -> Sampler:
    """eta is the corrector's ratio at 200 scales; at others the total time of the Langevin steps is
    kept.
    """
    return PredictorCorrector(
        ReverseDiffusion(), LangevinCorrector(setting[0] * (200 / steps) ** 0.5, steps)
    )


def ald(steps: int, setting: Setting) -> Sampler:
    """Three Langevin steps a level."""
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
    """Samples (n, 1, H, W) of each problem, in the prior's range, evaluations of each, the largest
    relative residual before clipping, and what the sampling took.
    """

    samples: list[Tensor]
    nfe: int
    residuals: list[float]


def draw(
    problems: Sequence[Problem],
    numbers: Sequence[int],
    method: Method,
    setting: Setting,
    samples: Sequence[int],
    *,
    bf16: bool = BF16,
) -> Drawn:
    """Samples with the given numbers of problems that share an operator, all in one batch."""
    first = problems[0]
    assert all(p.operator is first.operator for p in problems)
    prior, operator = shipped(first.prior), first.operator
    times = method.grid(prior.sde, method.steps)
    y = torch.cat([p.y for p in problems]).repeat_interleave(len(samples), 0)
    size = operator.image_shape[-2:]

    def pair(items: Sequence[int]) -> Batch:
        rows = y[list(items)]
        a = operator.select([0] * len(items))
        exact = first.noise_std == 0
        return Batch(
            prior,
            method.sampler(method.steps, setting),
            method.conditioner(a, rows, first.noise_std, setting),
            finish=(lambda x: a.nearest(x, rows, tol=EXACT).x) if exact else (lambda x: x),
        )

    seeds = [derive_seed(0, number, k) for number in numbers for k in samples]
    job = Job(
        seeds=seeds, shape=(1, *size), times=times, batches=pair, batch_size=len(seeds), bf16=bf16
    )
    found = run(job)
    gap = operator.residual(found.x, y).unflatten(0, (len(problems), -1)).amax(1)
    return Drawn(list(found.x.unflatten(0, (len(problems), -1))), found.nfe, gap.tolist())
