"""A prior of slices for volumes: every slice is denoised on its own, (batch, channel, Z, H, W)."""

from __future__ import annotations

from typing import final

from medscore.priors.base import Prior
from medscore.types import State, Times


@final
class Slicewise(Prior):
    """``inner``, a prior of images (batch, channel, H, W), on volumes; Z evaluations a volume."""

    def __init__(self, inner: Prior) -> None:
        self.inner, self.sde = inner, inner.sde

    def denoise(self, x: State, t: Times) -> State:
        slices = x.transpose(1, 2)
        images = slices.flatten(0, 1)
        denoised = self.inner.denoise(images, t.repeat_interleave(x.shape[2]))
        stacked: State = denoised.unflatten(0, (len(x), -1))
        return stacked.transpose(1, 2)
