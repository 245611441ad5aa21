"""Simulation-based calibration of the conditioners: ranks of the truth among its samples.

    python benchmarks/rank_calibration.py --json benchmarks/conditioners/ranks.json

The priors, measurements and settings are those of benchmarks/calibration.py. For each of 300 images
that are drawn from the prior and measured, a method draws 9 samples. Of each image one number is
ranked, the coordinate along a random direction; of noise-free measurements in the part of the image
that they leave free. If the samples are draws of the posterior, the 300 independent ranks are
uniform on 0 to 9 (Talts et al. 2018). The chi-square test of each problem has a false-alarm rate of
0.25 %, so that all four together have one of 1 % at most. Takes minutes on one core.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from calibration import SIDE, coordinates, drawn, measure_all

from medscore.uncertainty.ranks import rank_test, ranks

IMAGES, DRAWS, LEVEL = 300, 9, 0.0025


@dataclass(frozen=True)
class Ranked:
    """The ranks of a method on a problem.

    Attributes:
        method: name of the conditioner.
        prior: name of the prior.
        noise: standard deviation of the measurement noise.
        counts: number of images of each rank.
        p: probability of ranks that are less uniform, if the samples are exact.
    """

    method: str
    prior: str
    noise: float
    counts: tuple[int, ...]
    p: float


def measure(name: str, kind: str, std: float) -> Ranked | None:
    """The ranks of a method on a problem; ``None`` if it diverged or does not apply.

    Args:
        name: a row of :func:`calibration.methods`.
        kind: a name of ``PRIORS``.
        std: standard deviation of the measurement noise.
    """
    problem = drawn(name, kind, std, IMAGES, DRAWS)
    if problem is None:
        return None
    _, operator, truth, y, found = problem
    taken, matrix = coordinates(operator, y)
    free = matrix[~taken] if std == 0 else torch.eye(SIDE**2)
    along = torch.randn(IMAGES, len(free), generator=torch.Generator().manual_seed(4)) @ free
    true = (truth.flatten(1) * along).sum(1)
    ours = torch.einsum("ikd,id->ik", found, along)
    placed = ranks(true.numpy(), ours.numpy(), np.random.default_rng(5))
    test = rank_test(placed, DRAWS, level=LEVEL, bins=DRAWS + 1)
    return Ranked(name, kind, std, test.counts, test.p)


if __name__ == "__main__":
    sys.exit(measure_all(__doc__.splitlines()[0], measure))
