"""A 2-D prior applied to volumes (batch, channel, Z, H, W) slice by slice."""

from __future__ import annotations

from typing import final

import torch

from medscore.io.group import ALONE, Group
from medscore.priors.base import Prior
from medscore.types import State, Times


@final
class Slicewise(Prior):
    """A prior of volumes that denoises each slice separately; Z evaluations per volume.

    Args:
        inner: prior of images (batch, channel, H, W).
        at_a_time: number of slices that are denoised together; all by default.
        group: processes that have the same volumes, and share the slices.
    """

    def __init__(self, inner: Prior, at_a_time: int | None = None, group: Group = ALONE) -> None:
        self.inner, self.sde, self.at_a_time, self.group = inner, inner.sde, at_a_time, group

    def denoise(self, x: State, t: Times) -> State:
        slices = x.transpose(1, 2)
        images = slices.flatten(0, 1)
        times = t.repeat_interleave(x.shape[2])
        own = self.group.share(len(images))
        images, times = images[own], times[own]
        size = self.at_a_time or len(images)
        chunks = zip(images.split(size), times.split(size), strict=True)
        denoised = self.group.gather(torch.cat([self.inner.denoise(*chunk) for chunk in chunks]))
        stacked: State = denoised.unflatten(0, (len(x), -1))
        return stacked.transpose(1, 2)
