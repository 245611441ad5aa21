"""The effect of second- and third-order score matching on the probability flow's likelihood.

    python benchmarks/high_order.py            # about 2 minutes
    python benchmarks/high_order.py --check    # exit 1 if a target is missed

The data are a mixture of three narrow Gaussians on a line, with the VE SDE, a small network and the
exact divergence. The network is trained with the first-order objective, and then, from the same
weights with the same draws, for further steps with the first order (the baseline) or with all three
orders (Lu et al. 2022). Likelihoods are those of 2000 held-out points. The results are in
docs/benchmarks/likelihood.md.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable

import torch
from number import Number, table
from torch import Tensor, nn

from medscore.likelihood.divergence import exact
from medscore.likelihood.flow import log_likelihood
from medscore.objectives.denoising import likelihood_importance
from medscore.objectives.high_order import HighOrder
from medscore.priors.analytic import GMMPrior
from medscore.priors.network import NetworkPrior
from medscore.priors.preconditioning import EDM
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP

BATCH, RATE = 256, 1e-3
Objective = Callable[[NetworkPrior, Tensor, Tensor, Tensor], Tensor]


def mixture(sde: SDE) -> GMMPrior:
    """The distribution of the data, as a prior on an SDE."""
    weights = torch.tensor([0.4, 0.4, 0.2])
    means = torch.tensor([[-2 / 9], [-2 / 3], [4 / 9]])
    std = torch.tensor([1 / 9, 1 / 9, 2 / 9])
    return GMMPrior(sde, weights, means, (std**2)[:, None, None])


class Network(nn.Module):
    """Three layers of 64 units, conditioned on log(sigma/alpha)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64),
            nn.SiLU(), nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        """F(u, c), in the shape of ``u`` (batch, 1)."""
        moved: Tensor = self.body(torch.cat([u, 0.25 * c[:, None]], 1))
        return moved


def train(
    prior: NetworkPrior, optimiser: torch.optim.Adam, objective: Objective, steps: int, seed: int
) -> None:
    """Train for ``steps`` steps with a learning rate that decreases to zero."""
    data, generator = mixture(VP()), torch.Generator().manual_seed(seed)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / steps)
        x0 = data.sample(BATCH, 0.0, generator)
        u = torch.rand(BATCH, generator=generator)
        z = torch.randn(x0.shape, generator=generator)
        optimiser.zero_grad()
        objective(prior, x0, u, z).mean().backward()
        optimiser.step()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000, help="steps of the first order")
    parser.add_argument("--more", type=int, default=3000, help="further steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    args = parser.parse_args()
    sde = VE(0.01, 10.0)
    truth = mixture(sde)
    x = truth.sample(2000, sde.eps, torch.Generator().manual_seed(99))
    torch.manual_seed(args.seed)
    prior = NetworkPrior(Network(), sde, preconditioning=EDM(0.5))
    optimiser = torch.optim.Adam(prior.parameters(), lr=RATE)
    first = likelihood_importance()

    def nll() -> float:
        return -float(log_likelihood(prior, x, exact, rtol=1e-4, atol=1e-4).nats.mean())

    train(prior, optimiser, first, args.steps, args.seed)
    begun, held = nll(), copy.deepcopy((prior.state_dict(), optimiser.state_dict()))
    train(prior, optimiser, first, args.more, args.seed + 1)
    peer = nll()
    prior.load_state_dict(held[0])
    optimiser.load_state_dict(held[1])
    train(prior, optimiser, HighOrder(first, 30.0, 3.0), args.more, args.seed + 1)
    found = nll()
    exact_nll = -float(truth.log_density(x, torch.full((len(x),), sde.eps)).mean())
    numbers = [
        Number("entropy of the data, on the same points (nats)", exact_nll),
        Number(f"first order, {args.steps} steps (nats)", begun),
        Number(f"first order, {args.more} further steps (nats)", peer),
        Number(f"all three orders, {args.more} further steps (nats)", found),
        Number("excess over the entropy, all three orders relative to the first",
               (found - exact_nll) / (peer - exact_nll), at_most=0.5),
    ]  # fmt: skip
    print("\n".join(table(numbers)))
    return int(args.check and not all(n.met for n in numbers))


if __name__ == "__main__":
    sys.exit(main())
