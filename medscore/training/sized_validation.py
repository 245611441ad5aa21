"""The validation loss of a prior for any matrix, at several matrix sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medscore.datasets.collections.crops import NativeSlice, labelled, scaled_crop
from medscore.errors import MedscoreError
from medscore.nets.context import POSITION_MM
from medscore.training.loop import Loss

PHASE_SEED = 70_000
"""Seed of the phase of the first complex image."""


@dataclass(frozen=True)
class SizedValidation:
    """The mean of the validation losses at several matrix sizes, on fixed times and noise.

    Attributes:
        batches: a batch (n, channels + maps, size, size) for each matrix size.
        objective: the loss of each sample.
        seed: seed of times and noise.
    """

    batches: dict[int, Tensor]
    objective: Loss[Any]
    seed: int = 20_231

    def __call__(self, model: nn.Module) -> float:
        """The mean of the losses at all sizes.

        Args:
            model: the prior, or a part of it, as the objective takes it.
        """
        losses = self.losses(model)
        return sum(losses.values()) / len(losses)

    @torch.no_grad()
    def losses(self, model: nn.Module) -> dict[int, float]:
        """The mean loss at each matrix size.

        Args:
            model: the prior, or a part of it, as the objective takes it.
        """
        found, device = {}, next(model.parameters()).device
        for size, images in self.batches.items():
            generator = torch.Generator().manual_seed(self.seed + size)
            n = len(images)
            u = ((torch.arange(n) + 0.5) / n)[torch.randperm(n, generator=generator)]
            total = 0.0
            for i in range(n):
                z = torch.randn(images[i : i + 1].shape, generator=generator)
                x, v = images[i : i + 1].float().to(device), u[i : i + 1].to(device)
                total += float(self.objective(model, x, v, z.to(device)))
            found[size] = total / n
        return found


def validation_of(
    slices: Sequence[NativeSlice],
    sizes: Sequence[int],
    objective: Loss[Any],
    *,
    labels: bool = False,
    phase: bool = False,
) -> SizedValidation:
    """All validation slices at each matrix size that is not above their own.

    Args:
        slices: the validation slices.
        sizes: the matrix sizes.
        objective: the loss of each sample.
        labels: whether the network is told the class of each slice.
        phase: whether the images are complex; slice i has the same random phase at all sizes.

    Raises:
        MedscoreError: no slice is large enough for any size.
    """
    if phase:
        seeds = (torch.Generator().manual_seed(PHASE_SEED + i) for i in range(len(slices)))
        slices = [one.complex(seed) for one, seed in zip(slices, seeds, strict=True)]
    batches = {}
    for size in sizes:
        fitting = [s for s in slices if min(s.image.shape[-2:]) >= size]
        if not fitting:
            continue
        made = [
            scaled_crop(s, s.image.shape[-2] / size, size, (0.5, 0.5), POSITION_MM) for s in fitting
        ]
        if labels:
            made = [labelled(crop, s.label) for crop, s in zip(made, fitting, strict=True)]
        batches[size] = torch.stack(made).half()
    if not batches:
        raise MedscoreError(
            f"no validation slice has {min(sizes)} x {min(sizes)} pixels or more",
            where="validation",
            hint="add a smaller size to `validation_sizes`",
        )
    return SizedValidation(batches, objective)
