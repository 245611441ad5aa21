"""Several estimates of one number for each sample: their mean and its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from medscore.types import Times

Estimates = Float[Tensor, "batch estimates"]
"""Several estimates for each sample, or a single exact value."""


@dataclass(frozen=True)
class Estimated:
    """A number in nats for each sample, from several estimates.

    Attributes:
        estimates: one per draw or probe, (batch, estimates).
    """

    estimates: Estimates

    @property
    def nats(self) -> Times:
        """The mean of the estimates, (batch,)."""
        return self.estimates.mean(1)

    @property
    def standard_error(self) -> Times:
        """The standard error of :attr:`nats`, (batch,); NaN for a single estimate."""
        return standard_error(self.estimates)


def standard_error(estimates: Estimates) -> Times:
    """The standard error of the mean of independent estimates, (batch,); NaN for a single one.

    Args:
        estimates: (batch, estimates).
    """
    count = estimates.shape[1]
    if count == 1:
        return torch.full_like(estimates[:, 0], torch.nan)
    std: Tensor = estimates.std(1)
    return std / math.sqrt(count)
