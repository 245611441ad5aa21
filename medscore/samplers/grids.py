"""Time grids: the decreasing times 1 = t_N > ... > t_0 = eps that a sampler visits."""

from __future__ import annotations

import torch

from medscore.sde import SDE
from medscore.types import AnyFloat


def uniform(sde: SDE, steps: int) -> AnyFloat:
    """(steps + 1,) equally spaced times; on VE the noise levels are then geometric."""
    return torch.linspace(1.0, sde.eps, steps + 1)
