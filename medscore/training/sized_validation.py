"""The validation loss of a prior for any matrix, at several matrix sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.datasets.collections.crops import NativeSlice, scaled_crop
from medscore.errors import MedscoreError
from medscore.nets.context import POSITION_MM
from medscore.priors.network import NetworkPrior
from medscore.training.loop import Loss


@dataclass(frozen=True)
class SizedValidation:
    """The mean of the validation losses at several matrix sizes, on fixed times and noise.

    Attributes:
        batches: a batch (n, channels + maps, size, size) for each matrix size.
        objective: the loss of each sample.
        seed: seed of times and noise.
    """

    batches: dict[int, Tensor]
    objective: Loss[NetworkPrior]
    seed: int = 20_231

    def __call__(self, prior: NetworkPrior) -> float:
        """The mean of the losses at all sizes.

        Args:
            prior: the prior.
        """
        losses = self.losses(prior)
        return sum(losses.values()) / len(losses)

    @torch.no_grad()
    def losses(self, prior: NetworkPrior) -> dict[int, float]:
        """The mean loss at each matrix size.

        Args:
            prior: the prior.
        """
        found, device = {}, next(prior.parameters()).device
        for size, images in self.batches.items():
            generator = torch.Generator().manual_seed(self.seed + size)
            n = len(images)
            u = ((torch.arange(n) + 0.5) / n)[torch.randperm(n, generator=generator)]
            total = 0.0
            for i in range(n):
                z = torch.randn(images[i : i + 1].shape, generator=generator)
                x, v = images[i : i + 1].float().to(device), u[i : i + 1].to(device)
                total += float(self.objective(prior, x, v, z.to(device)))
            found[size] = total / n
        return found


def validation_of(
    slices: Sequence[NativeSlice], sizes: Sequence[int], objective: Loss[NetworkPrior]
) -> SizedValidation:
    """All validation slices at each matrix size that is not above their own.

    Args:
        slices: the validation slices.
        sizes: the matrix sizes.
        objective: the loss of each sample.

    Raises:
        MedscoreError: no slice is large enough for any size.
    """
    batches = {}
    for size in sizes:
        fitting = [s for s in slices if min(s.image.shape) >= size]
        if not fitting:
            continue
        made = [
            scaled_crop(s, s.image.shape[0] / size, size, (0.5, 0.5), POSITION_MM) for s in fitting
        ]
        batches[size] = torch.stack(made).half()
    if not batches:
        raise MedscoreError(
            f"no validation slice has {min(sizes)} x {min(sizes)} pixels or more",
            where="validation",
            hint="add a smaller size to `validation_sizes`",
        )
    return SizedValidation(batches, objective)
