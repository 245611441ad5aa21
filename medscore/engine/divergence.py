"""Detection of samples that diverge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medscore.engine.resume import Residual
from medscore.errors import MedscoreError
from medscore.sdes.base import SDE


def watch(
    sde: SDE,
    x: Tensor,
    s: Tensor,
    step: int,
    items: Sequence[int],
    history: Sequence[Residual],
    gather: Callable[[Tensor], Tensor],
) -> None:
    """Stop a batch that is not finite, or 20 times larger than data with noise.

    Args:
        sde: the forward diffusion.
        x: the state, (batch, ...).
        s: times of the state, (batch,).
        step: number of finished steps.
        items: number of each item of the batch.
        history: residuals so far.
        gather: the values of the items of all processes, from those of this one.

    Raises:
        MedscoreError: a sample is not finite, or too large.
    """
    size = gather(x.flatten(1).square().mean(1).sqrt())
    limit = gather(20 * torch.sqrt(sde.alpha(s) ** 2 + sde.sigma(s) ** 2))
    if not bool((size <= limit).all()):
        worst = int((~(size <= limit)).nonzero()[0, 0])
        last = f"; last residual {history[-1].value:.3g}" if history else ""
        raise MedscoreError(
            f"sample {items[worst]} has root mean square {float(size[worst]):.3g} after step "
            f"{step}, the limit is {float(limit[worst]):.3g}{last}",
            hint="the sampler diverged: use more `steps`, another `grid` or `sampler`, or smaller "
            "steps of the conditioner or corrector",
        )
