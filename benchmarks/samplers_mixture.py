"""Sampling error on mixtures of Gaussians, whose score is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from number import Number
from sampler_entries import FAST, SAMPLERS, SDES, Shared, walk
from torch import Tensor

from medscore.priors.analytic import GMMPrior
from medscore.samplers import grids
from medscore.samplers.annealed_langevin import AnnealedLangevin, ScaledLangevin
from medscore.samplers.langevin import Langevin
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE

DRAWS = 50_000
"""Samples of each run."""

REPEATS = 8
"""Independent runs of the fast samplers."""

MIXTURE_NFE = (5, 10, 20, 50, 100, 500)
"""Budgets of network evaluations."""


def mixture(sde: SDE) -> GMMPrior:
    """Three overlapping modes of different shapes, the mixture of the conformance tests.

    Args:
        sde: the SDE.
    """
    means = torch.tensor([[-1.5, 0.5], [1.0, 1.2], [0.5, -1.4]])
    roots = torch.tensor(
        [[[0.4, 0.1], [0.0, 0.3]], [[0.3, -0.2], [0.1, 0.4]], [[0.6, 0.0], [0.2, 0.3]]]
    )
    return GMMPrior(sde, torch.tensor([0.25, 0.35, 0.4]), means, roots @ roots.mT)


class Distance:
    """Sliced 2-Wasserstein distance to p_eps over 32 directions.

    The quantiles of p_eps come from 16 times as many exact draws.

    Args:
        prior: the mixture.
    """

    def __init__(self, prior: GMMPrior) -> None:
        angles = torch.linspace(0, torch.pi, 33)[:-1]
        self.directions = torch.stack([angles.cos(), angles.sin()])
        draws = [exact(prior, prior.sde.eps, seed) for seed in range(1000, 1016)]
        self.quantiles = (torch.cat(draws) @ self.directions).sort(0).values[7::16]

    def __call__(self, x: Tensor) -> float:
        ordered = (x @ self.directions).sort(0).values
        return float((ordered - self.quantiles).square().mean().sqrt())


def exact(prior: GMMPrior, t: float, seed: int) -> Tensor:
    """50,000 exact draws (50000, 2) from p_t.

    Args:
        prior: the mixture.
        t: the time.
        seed: seed of the draws.
    """
    return prior.sample(DRAWS, t, torch.Generator().manual_seed(seed))


def mixture_errors() -> dict[str, dict[str, dict[str, float]]]:
    """Distances of all samplers at all budgets.

    Returns:
        Distances by SDE, sampler and network evaluations. The row "exact draws" holds the distance
        that is due to the number of samples.
    """
    table: dict[str, dict[str, dict[str, float]]] = {}
    for label, sde in SDES.items():
        prior = mixture(sde)
        distance, start = Distance(prior), exact(prior, 1.0, 0)
        rows: dict[str, dict[str, float]] = {}
        for name, entry in SAMPLERS.items():
            rows[name] = {}
            for nfe in MIXTURE_NFE:
                if (steps := nfe // entry.cost) >= 2:
                    sampler, times = entry.build(steps, prior)
                    x = walk(sampler, prior, start, times, Shared(1))
                    rows[name][str(nfe)] = distance(x)
            print(label, name, {k: round(v, 4) for k, v in rows[name].items()}, flush=True)
        floor = [distance(exact(prior, sde.eps, seed)) for seed in range(20, 36)]
        rows["exact draws"] = {"": rms(floor)}
        table[label] = rows
    return table


def rms(values: Sequence[float]) -> float:
    """Root mean square.

    Args:
        values: the values.
    """
    return math.sqrt(sum(v * v for v in values) / len(values))


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean.

    Args:
        values: the values.
    """
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def fast_numbers(label: str, sde: SDE) -> list[Number]:
    """The fast samplers at 20 evaluations against Euler-Maruyama at 500, from 8 starts each.

    With 50,000 samples Euler-Maruyama at 500 evaluations cannot be distinguished from exact draws.
    The target is therefore the larger of its error and that of exact draws, within two standard
    errors.

    Args:
        label: name of the SDE.
        sde: the SDE.
    """
    prior = mixture(sde)
    distance = Distance(prior)
    starts = [exact(prior, 1.0, 100 + k) for k in range(REPEATS)]

    def errors(name: str, nfe: int) -> list[float]:
        sampler, times = SAMPLERS[name].build(nfe // SAMPLERS[name].cost, prior)
        return [distance(walk(sampler, prior, x, times, Shared(k))) for k, x in enumerate(starts)]

    slow = errors("Euler-Maruyama", 500)
    floor = [distance(exact(prior, sde.eps, 200 + k)) for k in range(2 * REPEATS)]
    fast = {name: errors(name, 20) for name in FAST}
    best = min(fast.values(), key=rms)
    reached = max((slow, floor), key=rms)
    slack = math.hypot(standard_error(best), standard_error(reached))
    return [
        Number(f"{label}: Euler-Maruyama, 500 evaluations, sliced W2", rms(slow)),
        Number(f"{label}: exact draws, sliced W2", rms(floor)),
        *(Number(f"{label}: {name}, 20 evaluations, sliced W2", rms(fast[name])) for name in fast),
        Number(
            f"{label}: best of these minus the larger of the two above, in standard errors",
            (rms(best) - rms(reached)) / slack,
            at_most=2.0,
        ),
    ]


def modes() -> dict[str, Any]:
    """Fig. 5.3 of Song 2022: 1280 samples of 1/5 N((-5,-5), I) + 4/5 N((5,5), I).

    Returns:
        The weight of the mode at (5, 5) and the points, for exact draws, for Langevin dynamics and
        for annealed Langevin dynamics.
    """
    sde = VE(0.1, 10.0, eps=0.0)
    means = torch.tensor([[-5.0, -5.0], [5.0, 5.0]])
    prior = GMMPrior(sde, torch.tensor([0.2, 0.8]), means, torch.eye(2).repeat(2, 1, 1))
    n, generator = 1280, torch.Generator().manual_seed(0)
    start = 16 * torch.rand(n, 2, generator=generator) - 8
    levels = [10.0 * 0.01 ** (i / 9) for i in range(10)]
    annealing = AnnealedLangevin(ScaledLangevin(0.05), 100)
    points = {
        "exact": prior.sample(n, 0.0, generator),
        "Langevin, T = 1000": walk(Langevin(0.05), prior, start, torch.zeros(1001), Shared(1)),
        "annealed, 10 levels of 100": walk(
            annealing, prior, start, grids.ladder(sde, levels), Shared(2)
        ),
    }
    return {
        name: {
            "weight": float((x.sum(1) > 0).float().mean()),
            "points": [[round(v, 2) for v in p] for p in x.tolist()],
        }
        for name, x in points.items()
    }
