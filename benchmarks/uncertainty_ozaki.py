"""Ozaki's discretisation against Langevin dynamics on ill-conditioned Gaussians.

Part ``ozaki`` of ``benchmarks/uncertainty.py``; needs no data, takes about half a minute.

The target is p_t with the precisions 1 and 100, and a rotated one in 20 dimensions with precisions
from 1 to 1000. Chains start at the exact distribution. The effective sample size per step is that
of the slow axis; the steps of Langevin dynamics are the largest ones that are stable, below 2 over
the largest precision, at which its fast axis has a much too large variance.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from number import Number
from torch import Tensor
from uncertainty_settings import Settings

from medscore.priors.analytic import GaussianPrior
from medscore.samplers.base import Sampler
from medscore.samplers.langevin import Langevin
from medscore.samplers.ozaki import Ozaki
from medscore.sdes.linear import VE
from medscore.uncertainty.sample_size import effective_share
from medscore.uncertainty.second_order import SecondOrder
from medscore.white_noise import Noise

SDE, T = VE(0.01, 10.0), 0.0
"""At t = 0 the noise has the variance 1e-4."""

CHAINS, STEPS = 128, 1000

STEP_SIZES = (0.005, 0.05, 1.0)
"""Step sizes of the Ozaki scheme."""


class Shared(Noise):
    """White noise from one generator for all chains."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)


def target(precisions: Tensor, rotated: bool) -> GaussianPrior:
    """A prior whose p_t is a centred Gaussian with given precisions.

    Args:
        precisions: eigenvalues of the inverse covariance of p_t, the slowest first.
        rotated: whether the axes are rotated at random.
    """
    d = len(precisions)
    generator = torch.Generator().manual_seed(0)
    basis = torch.eye(d, dtype=torch.float64)
    if rotated:
        basis = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
    noise = float(SDE.sigma(torch.tensor(T, dtype=torch.float64))) ** 2
    covariance = basis @ torch.diag(1 / precisions - noise) @ basis.T
    return GaussianPrior(SDE, torch.zeros(d, dtype=torch.float64), covariance)


def run(sampler: Sampler, prior: GaussianPrior) -> Tensor:
    """Chains (steps, chains, d) from the exact distribution.

    Args:
        sampler: the step.
        prior: the target.
    """
    x = prior.sample(CHAINS, T, torch.Generator().manual_seed(1))
    t, noise, kept = torch.full((CHAINS,), T, dtype=x.dtype), Shared(2), []
    for _ in range(STEPS):
        x, _ = sampler.step(prior, x, t, t, noise, {})
        kept.append(x)
    return torch.stack(kept)


def measured(sampler: Sampler, prior: GaussianPrior) -> tuple[float, float]:
    """The effective sample size per step along the slow axis, and the worst ratio of variances.

    Args:
        sampler: the step.
        prior: the target.
    """
    _, covariance = prior.marginal(T)
    values, vectors = torch.linalg.eigh(covariance)
    chains = run(sampler, prior) @ vectors
    ratios = chains[STEPS // 5 :].square().mean((0, 1)) / values
    worst = ratios[torch.log(ratios).abs().argmax()]
    return float(effective_share(chains[STEPS // 5 :, :, -1], 0.0)), float(worst)


def numbers(_: Settings) -> Iterator[Number]:
    """The numbers of the part."""
    for name, precisions, rotated in (
        ("precisions 1 and 100", torch.tensor([1.0, 100.0]).double(), False),
        ("20-d, precisions 1 to 1000", torch.logspace(0, 3, 20).double(), True),
    ):
        prior, form = target(precisions, rotated), "full" if rotated else "diagonal"
        stable = 2 / float(precisions.max())
        best = 0.0
        for share in (0.5, 0.95):
            ess, ratio = measured(Langevin(share * stable), prior)
            best = max(best, ess)
            yield Number(f"{name}: Langevin, {share:g} of the stable step, ESS per step", ess)
            yield Number(f"{name}: Langevin, {share:g} of the stable step, worst variance", ratio)
        own = 0.0
        for epsilon in STEP_SIZES:
            ess, ratio = measured(Ozaki(epsilon, SecondOrder(form)), prior)
            own = max(own, ess)
            yield Number(f"{name}: Ozaki, step {epsilon:g}, ESS per step", ess)
            yield Number(
                f"{name}: Ozaki, step {epsilon:g}, worst variance (ratio)", ratio,
                at_least=0.85, at_most=1.15,
            )  # fmt: skip
        yield Number(f"{name}: ESS per step, Ozaki over Langevin", own / best, at_least=10)
