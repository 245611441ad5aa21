"""Variance and cost of training objectives, each beside an alternative in the same run.

    python benchmarks/objectives.py                 # the table
    python benchmarks/objectives.py --json out.json
    python benchmarks/objectives.py --check         # exit code 1 if a target is missed

1. Likelihood weighting: variance of the loss with uniform times divided by that with the times of
   Eq. 9.12, at the same mean. Measured on white data of standard deviation 0.25 with a score
   that is off by 5 %, and for the shipped prior on the two CT slices in pydicom. For VE the two
   objectives are identical.
2. Sliced score matching: variance of Eq. 3.7 divided by that of Eq. 3.8 at the score of white data,
   and time of exact score matching divided by that of sliced score matching.

Needs no data and takes 1 to 2 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from number import Number, table
from torch import Tensor, nn

from medscore.datasets.load import load_image
from medscore.objectives.denoising import (
    Denoising,
    ImportanceTimes,
    denoising_loss,
    importance_weighting,
    likelihood,
    likelihood_importance,
    likelihood_weighting,
)
from medscore.objectives.score_matching import exact_score_matching
from medscore.objectives.sliced import (
    Projection,
    gaussian,
    rademacher,
    sliced_score_matching,
    sliced_score_matching_vr,
    sphere,
)
from medscore.priors.base import Prior
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.network import NetworkPrior
from medscore.priors.reparameterized import Reparameterized
from medscore.reconstruction.demo import image_paths
from medscore.sdes.base import SDE, expand
from medscore.sdes.linear import VE, VP, SubVP

SDES: dict[str, tuple[SDE, float]] = {
    "VE": (VE(0.01, 50.0), 0.999),
    "VP": (VP(), 17.0),
    "sub-VP": (SubVP(), 24.0),
}
"""SDEs, and the factor by which importance sampling must reduce the variance."""
STD, WRONG = 0.25, 1.05
D, DRAWS, SIZE, TIMES = 16, 200_000, 128, 96
PROJECTIONS: dict[str, Projection] = {
    "normal": gaussian, "signs": rademacher, "sphere": sphere,
}  # fmt: skip


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# 1. Importance sampling


class White(Prior):
    """The prior of N(0, STD^2 I) data with 1.05 times the exact score."""

    def __init__(self, sde: SDE) -> None:
        self.sde = sde

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (1 - WRONG * sigma**2 / (alpha**2 * STD**2 + sigma**2)) * x / alpha


def on_white_data() -> list[Number]:
    """The ratio of the two variances over 200,000 samples in 16 dimensions."""
    x0, z = STD * normal(DRAWS, D, seed=0), normal(DRAWS, D, seed=1)
    u = torch.rand(DRAWS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    numbers = []
    for label, (sde, least) in SDES.items():

        def variance(objective: Denoising, sde: SDE = sde) -> float:
            return float(objective(White(sde), x0, u, z).var())

        factor = variance(likelihood()) / variance(likelihood_importance())
        name = f"white data, {label}: variance with uniform times / with Eq. 9.12"
        numbers.append(Number(name, factor, at_least=least))
    return numbers


def slices(prior: NetworkPrior) -> Tensor:
    """The two CT slices of pydicom in the prior's range, (2, 1, 128, 128)."""
    contract = prior.contract
    assert contract is not None
    volumes = [load_image(path, modality="CT", size=SIZE).values for path in image_paths()]
    hu = torch.cat([torch.from_numpy(values) for values in volumes])[:, None].float()
    return ((hu - contract.low) / contract.scale).clamp(0, 1)


def on_the_shipped_prior() -> list[Number]:
    """Both variances from one set of evaluations at stratified times of Eq. 9.12.

    With w the ratio of the two weightings and e the loss under the proposal, E[e] is the mean of
    both, E[e^2] the second moment of the one and E[w e^2] that of the other. VP and sub-VP are
    limited to the noise-to-signal ratios of the prior.
    """
    prior = load_prior(prior_path("ct-128"))
    x0 = slices(prior).repeat_interleave(TIMES, 0)
    parts = torch.rand(len(x0), generator=torch.Generator().manual_seed(3))
    u = (torch.arange(TIMES).repeat(2) + parts) / TIMES
    z = torch.randn(x0.shape, generator=torch.Generator().manual_seed(4))
    sdes: dict[str, tuple[SDE, float]] = {
        "VE": (prior.sde, 0.999),
        "VP": (VP(0.1, 14.6), 20.0),
        "sub-VP": (SubVP(0.1, 14.6, eps=0.022), 5.0),
    }
    numbers = []
    for label, (sde, least) in sdes.items():
        seen = Reparameterized(prior, sde)
        t = ImportanceTimes()(sde, u)
        batches = [slice(start, start + 8) for start in range(0, len(x0), 8)]
        with torch.no_grad():
            e = torch.cat(
                [denoising_loss(seen, x0[b], t[b], z[b], importance_weighting) for b in batches]
            ).double()
        w = (likelihood_weighting(sde, t) / importance_weighting(sde, t)).double()
        mean = e.mean()
        proposed, uniform = (e**2).mean() - mean**2, (w * e**2).mean() - mean**2
        name = f"ct-128 on CT, {label}: variance with uniform times / with Eq. 9.12"
        numbers.append(Number(name, float(uniform / proposed), at_least=least))
    return numbers


# 2. Slicing


def on_slices() -> list[Number]:
    """The variance of Eq. 3.7 divided by that of Eq. 3.8 with one direction.

    At the score of N(0, I) in 16 dimensions the ratio is 3.8 for normal directions and 16 for the
    others in theory.
    """
    x, numbers = normal(DRAWS, D, seed=5), []
    for label, draw in PROJECTIONS.items():
        v = draw(x, 1, torch.Generator().manual_seed(6))
        with torch.no_grad():
            plain = sliced_score_matching(lambda y: -y, x, v).var()
            reduced = sliced_score_matching_vr(lambda y: -y, x, v).var()
        name = f"16 dimensions, {label}: variance of Eq. 3.7 / of Eq. 3.8"
        theory = (D + 3) / 5 if draw is gaussian else D
        numbers.append(
            Number(name, float(plain / reduced), at_least=0.95 * theory, at_most=1.05 * theory)
        )
    return numbers


def seconds(run: Callable[[], Tensor]) -> float:
    """Time of a forward and backward pass, the best of 5."""
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        run().mean().backward()
        best = min(best, time.perf_counter() - begin)
    return best


def cost() -> list[Number]:
    """Time of the losses of a network with 256 hidden units in 64 dimensions, batch size 128."""
    torch.manual_seed(0)
    d = 64
    network = nn.Sequential(nn.Linear(d, 256), nn.Tanh(), nn.Linear(256, d)).double()
    x = normal(128, d, seed=7)
    v = rademacher(x, 1, torch.Generator().manual_seed(8))
    exact = seconds(lambda: exact_score_matching(network, x))
    sliced = seconds(lambda: sliced_score_matching_vr(network, x, v))
    return [
        Number("64 dimensions: time of exact score matching", 1e3 * exact, "ms"),
        Number("64 dimensions: time of sliced score matching", 1e3 * sliced, "ms"),
        Number(
            "64 dimensions: time of exact / of sliced score matching", exact / sliced, at_least=10.0
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    numbers = [*on_white_data(), *on_slices(), *cost(), *on_the_shipped_prior()]
    print("\n".join(table(numbers)))
    if args.json:
        found = [{**asdict(n), "met": n.met} for n in numbers]
        args.json.write_text(json.dumps({"numbers": found}) + "\n")
    return 1 if args.check and not all(n.met for n in numbers) else 0


if __name__ == "__main__":
    sys.exit(main())
