"""The effect of likelihood weighting and trained dequantization on a small prior's likelihood.

    python benchmarks/scoreflow.py            # about 10 minutes on 2 cores
    python benchmarks/scoreflow.py --check    # exit 1 if a target is missed

Measured on scikit-learn's digits: bits per dimension of held-out images under two priors of the
same network, steps and seeds, one trained with likelihood weighting and importance-sampled times,
the baseline with the original weighting; and with a dequantizer trained for the first prior,
compared with uniform noise within the grey levels. The results are in
docs/benchmarks/likelihood.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import torch
from likelihood import bound_bits, paired
from number import table
from sklearn.datasets import load_digits
from torch import Tensor

from medscore.likelihood.dequantization import DequantizationFlow
from medscore.likelihood.divergence import rademacher
from medscore.likelihood.flow import log_likelihood
from medscore.nets.unet import UNetSpec
from medscore.objectives.denoising import Denoising, denoising_score_matching, likelihood_importance
from medscore.objectives.dequantised import Dequantised
from medscore.objectives.grey_levels import Levels
from medscore.priors.network import NetworkPrior
from medscore.priors.preconditioning import EDM
from medscore.sdes.linear import VP
from medscore.training.dequantizer import bound_loss
from medscore.training.loop import Loss, Model

GREYS = Levels(4)
"""Grey levels of the digits, whose values are 0 to 16."""

FLAT = DequantizationFlow(GREYS, couplings=0)
"""Uniform dequantization."""


def digits() -> tuple[Tensor, Tensor]:
    """Training and held-out digits (n, 1, 8, 8), divided by 16."""
    images = torch.from_numpy(load_digits().images).float()[:, None] / GREYS.count
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:1500]], images[order[1500:]]


def fit(
    model: Model, loss: Loss[Model], train: Tensor, steps: int, *, seed: int, clip: float
) -> None:
    """Train with Adam, batches of 64 and a decreasing learning rate."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x0 = train[torch.randint(len(train), (64,), generator=generator)]
        u = torch.rand(64, generator=generator)
        z = torch.randn(x0.shape, generator=generator)
        value = loss(model, x0, u, z).mean()
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        schedule.step()


def trained(objective: Denoising, train: Tensor, steps: int) -> NetworkPrior:
    """A prior trained on the digits with an objective."""
    torch.manual_seed(0)
    mean, std = float(train.mean()), float(train.std())
    network = UNetSpec(channels=(32, 64), blocks=1, fold=1, groups=8).build()
    prior = NetworkPrior(network, VP(eps=1e-4), preconditioning=EDM(std), data_mean=mean)
    fit(prior, Dequantised(objective, GREYS), train, steps, seed=1, clip=20.0)
    return prior.requires_grad_(False).eval()


def noise_trained(prior: NetworkPrior, train: Tensor, steps: int) -> DequantizationFlow:
    """A dequantizer trained on the digits for a prior (Eq. 9.13)."""
    torch.manual_seed(2)
    flow = DequantizationFlow(GREYS)
    fit(flow, bound_loss(prior), train, steps, seed=3, clip=1.0)
    return flow.requires_grad_(False)


def flow_bits(prior: NetworkPrior, k: Tensor, noise: DequantizationFlow) -> Tensor:
    """Bits per dimension of grey levels by the probability flow."""
    x, log_q = noise.dequantise(k, range(len(k)))
    nats = log_likelihood(prior, x, rademacher(x, range(len(x)), 4)).nats
    return noise.levels.bits_per_dim(-nats, log_q, k[0].numel())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="training steps")
    parser.add_argument("--digits", type=int, default=200, help="number of held-out digits")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    args = parser.parse_args()
    train, held_out = digits()
    k = GREYS.quantise(held_out[: args.digits])
    likelihood = trained(likelihood_importance(), train, args.steps)
    original = trained(denoising_score_matching(), train, args.steps)
    noise = noise_trained(likelihood, train, args.steps // 4)
    ours, theirs, noisy = (
        flow_bits(prior, k, q).tolist()
        for prior, q in ((likelihood, FLAT), (original, FLAT), (likelihood, noise))
    )
    bounds = [bound_bits(likelihood, k, 200, q) for q in (noise, FLAT)]
    *values, gain = paired(
        "likelihood weighting and importance sampling, flow", "original weighting, flow",
        ours, theirs,
    )  # fmt: skip
    bound = "bound of Eq. B.41"
    found = [
        *values, replace(gain, at_least=3),
        *paired("trained dequantizer, flow", "uniform noise, flow", noisy, ours),
        *paired(f"trained dequantizer, {bound}", f"uniform noise, {bound}", *bounds),
    ]  # fmt: skip
    print("\n".join(table(found)))
    return int(args.check and not all(n.met for n in found))


if __name__ == "__main__":
    sys.exit(main())
