"""Monitoring of a training run: the loss on fixed images, times and noise, and samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.generation.sheet import contact_sheet
from medscore.io.files import atomic_path
from medscore.priors.network import NetworkPrior
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.grids import angular
from medscore.training.loop import Loss

NOISE_SEED = 20_231


@dataclass(frozen=True)
class Validation:
    """The mean loss on fixed images, times and noise, comparable between steps and runs.

    Attributes:
        images: held-out images (n, channel, H, W) in the network's range.
        objective: the loss of each sample, as in training.
        batch: number of images evaluated together.
    """

    images: Tensor
    objective: Loss[Any]
    batch: int = 8

    @torch.no_grad()
    def __call__(self, model: Any) -> float:
        """The mean loss of a model.

        The draws u that become times are stratified: (i + 1/2)/n, in random order.

        Args:
            model: the model, as the objective takes it.
        """
        generator = torch.Generator().manual_seed(NOISE_SEED)
        n = len(self.images)
        z = torch.randn(self.images.shape, generator=generator)
        u = ((torch.arange(n) + 0.5) / n)[torch.randperm(n, generator=generator)]
        device = next(model.parameters()).device if isinstance(model, nn.Module) else "cpu"
        parts = zip(self.images.split(self.batch), u.split(self.batch), z.split(self.batch),
                    strict=True)  # fmt: skip
        losses = [
            self.objective(model, x.float().to(device), v.to(device), w.to(device))
            for x, v, w in parts
        ]
        return float(torch.cat(losses).mean())


def sample(prior: NetworkPrior, shape: tuple[int, ...], *, count: int, steps: int = 20) -> Tensor:
    """Draw unconditional samples with fixed seeds.

    Args:
        prior: prior to sample from.
        shape: shape of an image, (channel, H, W).
        count: number of samples.
        steps: solver steps; a sample takes ``steps`` + 1 network evaluations.

    Returns:
        The samples, (count, channel, H, W).
    """
    job = Job(
        seeds=range(count),
        shape=shape,
        times=angular(prior.sde, steps),
        batches=lambda items: Batch(prior, DPMSolverPP2M()),
        device=next(prior.parameters()).device,
    )
    return run(job).x


def draw_samples(prior: NetworkPrior, shape: tuple[int, ...], path: Path, count: int = 16) -> None:
    """Write a sheet of samples (:func:`sample`) as a PNG file; 0 is black and 1 white.

    Args:
        prior: prior to sample from.
        shape: shape of an image, (channel, H, W); of two channels the magnitude is shown.
        path: file to write.
        count: number of samples.
    """
    x = sample(prior, shape, count=count)
    with atomic_path(path) as partial:
        contact_sheet(x.norm(dim=1, keepdim=True) if shape[0] == 2 else x).save(
            partial, format="png"
        )
