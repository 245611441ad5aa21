"""A 2-D prior applied to volumes (batch, channel, Z, H, W) slice by slice."""

from __future__ import annotations

from typing import final

from medscore.priors.base import Prior
from medscore.types import State, Times


@final
class Slicewise(Prior):
    """A prior of volumes that denoises each slice separately; Z evaluations per volume.

    Args:
        inner: prior of images (batch, channel, H, W).
    """

    def __init__(self, inner: Prior) -> None:
        self.inner, self.sde = inner, inner.sde

    def denoise(self, x: State, t: Times) -> State:
        slices = x.transpose(1, 2)
        images = slices.flatten(0, 1)
        denoised = self.inner.denoise(images, t.repeat_interleave(x.shape[2]))
        stacked: State = denoised.unflatten(0, (len(x), -1))
        return stacked.transpose(1, 2)
