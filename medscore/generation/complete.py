"""Images that agree with a part of them: inpainting, super-resolution, colorization, or any A."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.diffpir import DiffPIR
from medscore.engine.loop import Batch, Job, Samples, StepInfo, run
from medscore.operators.base import Operator
from medscore.operators.images.inpainting import Inpainting
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import focused

Rule = Callable[[Operator, Tensor], Conditioner]
"""A conditioner for noise-free measurements."""


@dataclass(frozen=True)
class Completion:
    """So many samples given each y = A x, exactly.

    Attributes:
        operator: A, the same for all. y: of n images, (n, ...) on the full grid. count: samples of
            each; item i is of image i // count. rule: the conditioner.
    """

    operator: Operator
    y: Tensor
    count: int
    rule: Rule = DiffPIR

    def batch(self, prior: Prior, sampler: Sampler, items: Sequence[int]) -> Batch:
        """For the engine."""
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
    """Samples given y = A x exactly, in the prior's range, one for each seed.

    Args:
        operator: A, the same for all. y: of one image, (1, ...) on the full grid. shape: of an
            image, (channel, H, W). rule: the conditioner. sampler: DDIM by default.
    """
    completion, walker = Completion(operator, y, len(seeds), rule), sampler or DDIM()
    job = Job(
        seeds=seeds, shape=shape, times=focused(prior.sde, steps),
        batches=lambda items: completion.batch(prior, walker, items),
        batch_size=batch_size, device=y.device,
    )  # fmt: skip
    return run(job, on_step)


def fitted(operator: Operator, x: Tensor, y: Tensor) -> Tensor:
    """The nearest image that fits; known pixels of inpainting to the last bit."""
    if isinstance(operator, Inpainting):
        return torch.where(operator.mask(y).bool(), y, x)
    return operator.project_exact(x, y).x
