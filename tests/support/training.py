"""A tiny network that trains quickly, and data with a simple structure."""

import torch
from torch import Tensor, nn

from medscore.objectives.denoising import Denoising, edm
from medscore.priors.network import NetworkPrior
from medscore.sdes.linear import VE
from medscore.training.plan import TrainingPlan

PLAN = TrainingPlan(steps=60, batch=16, learning_rate=1e-2, warmup=5, save_every=10, seed=3)
OBJECTIVE: Denoising = edm(0.5)


class Tiny(nn.Module):
    """Two convolutions, conditioned on the noise level."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, u: Tensor, log_s: Tensor) -> Tensor:
        level = log_s[:, None, None, None].expand_as(u)
        out: Tensor = self.last(torch.tanh(self.first(torch.cat([u, level], dim=1))))
        return out


def prior() -> NetworkPrior:
    torch.manual_seed(0)
    return NetworkPrior(Tiny(), VE(0.01, 10.0))


def stripes(generator: torch.Generator, part: slice) -> Tensor:
    """Images with constant rows, unlike white noise."""
    rows = 0.5 * torch.randn(PLAN.batch, 1, 8, 1, generator=generator)
    return rows.expand(-1, -1, -1, 8)[part].clone()


def weights(model: NetworkPrior) -> list[Tensor]:
    return [v.clone() for v in model.network.state_dict().values()]
