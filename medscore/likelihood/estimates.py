"""Several estimates of one number for each sample: their mean, and how far off it may be."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medscore.types import Times

Estimates = Float[Tensor, "batch estimates"]
"""Several estimates for each sample; one where it is exact."""


def standard_error(estimates: Estimates) -> Times:
    """Of the mean of independent estimates, from their scatter; nan for a single one."""
    count = estimates.shape[1]
    if count == 1:
        return torch.full_like(estimates[:, 0], torch.nan)
    deviation: Tensor = estimates.std(1)
    return deviation / math.sqrt(count)
