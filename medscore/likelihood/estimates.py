"""Several estimates of one number for each sample: their mean, and how far off it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from medscore.types import Times

Estimates = Float[Tensor, "batch estimates"]
"""Several estimates for each sample; one where it is exact."""


@dataclass(frozen=True)
class Estimated:
    """Nats of each sample, by several estimates.

    Attributes:
        estimates: by each draw or probe.
    """

    estimates: Estimates

    @property
    def nats(self) -> Times:
        """The mean."""
        return self.estimates.mean(1)

    @property
    def standard_error(self) -> Times:
        """Of :attr:`nats`, from the scatter of the estimates; nan for a single one."""
        return standard_error(self.estimates)


def standard_error(estimates: Estimates) -> Times:
    """Of the mean of independent estimates, from their scatter; nan for a single one."""
    count = estimates.shape[1]
    if count == 1:
        return torch.full_like(estimates[:, 0], torch.nan)
    deviation: Tensor = estimates.std(1)
    return deviation / math.sqrt(count)
