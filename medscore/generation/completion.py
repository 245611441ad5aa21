"""Posterior samples given noise-free measurements: inpainting, super-resolution, colorization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.diffpir import DiffPIR
from medscore.engine.job import Batch, Job
from medscore.engine.loop import Samples, StepInfo, run
from medscore.operators.base import Operator
from medscore.operators.images.inpainting import Inpainting
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import focused

Rule = Callable[[Operator, Tensor], Conditioner]
"""Makes a conditioner for noise-free measurements from the operator and the measurements."""


@dataclass(frozen=True)
class Completion:
    """Several samples for each of n measurements y = A x, which every sample satisfies exactly.

    Attributes:
        operator: A, the same for all images.
        y: measurements of n images, (n, ...) on the full grid.
        count: samples per image; item i is a sample of image i // count.
        rule: makes the conditioner.
    """

    operator: Operator
    y: Tensor
    count: int
    rule: Rule = DiffPIR

    def batch(self, prior: Prior, sampler: Sampler, items: Sequence[int]) -> Batch:
        """The engine's batch for some items.

        Args:
            prior: the unconditional prior.
            sampler: the unconditional sampler.
            items: indices of the items.
        """
        rows = self.y[[i // self.count for i in items]]
        conditioner = self.rule(self.operator, rows)
        return Batch(prior, sampler, conditioner, lambda x: fitted(self.operator, x, rows))


def complete(
    prior: Prior,
    operator: Operator,
    y: Tensor,
    seeds: Sequence[int],
    shape: tuple[int, ...],
    *,
    rule: Rule = DiffPIR,
    sampler: Sampler | None = None,
    steps: int = 49,
    batch_size: int = 8,
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Samples:
    """Samples that satisfy y = A x exactly, one for each seed, in the prior's range.

    Args:
        prior: the prior.
        operator: A.
        y: measurements of one image, (1, ...) on the full grid.
        seeds: one seed per sample.
        shape: of an image, (channel, H, W).
        rule: makes the conditioner from the operator and the measurements.
        sampler: the sampler; DDIM by default.
        steps: steps of the focused time grid.
        batch_size: samples drawn together.
        on_step: called after every step.
    """
    completion, walker = Completion(operator, y, len(seeds), rule), sampler or DDIM()
    job = Job(
        seeds=seeds, shape=shape, times=focused(prior.sde, steps),
        batches=lambda items: completion.batch(prior, walker, items),
        batch_size=batch_size, device=y.device,
    )  # fmt: skip
    return run(job, on_step)


def fitted(operator: Operator, x: Tensor, y: Tensor) -> Tensor:
    """The image nearest to ``x`` with A x = y; for inpainting, observed pixels are copied exactly.

    Args:
        operator: A.
        x: images (batch, channel, H, W).
        y: measurements on the full grid.
    """
    if isinstance(operator, Inpainting):
        return torch.where(operator.mask(y).bool(), y, x)
    return operator.project_exact(x, y).x
