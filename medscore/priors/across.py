"""A 2-D prior applied to the slices of a volume, which a rule couples afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from torch import Tensor

from medscore.io.group import ALONE, Group
from medscore.parameters import NamedParameters
from medscore.priors.base import Prior
from medscore.priors.slicewise import Slicewise
from medscore.types import State, Times


@runtime_checkable
class Coupling(Protocol):
    """A rule that couples the slices of a denoised volume."""

    def couple(self, denoised: Tensor, ratio: float, units: Tensor | None = None) -> Tensor:
        """The coupled volume.

        Args:
            denoised: slices that were denoised one by one, (batch, channel, Z, H, W).
            ratio: noise-to-signal ratio sigma~ of all slices.
            units: length of the prior's range in each slice, (Z,), if they differ.
        """
        ...


@final
@dataclass(frozen=True)
class Independent(NamedParameters):
    """Every slice by itself."""

    def couple(self, denoised: Tensor, ratio: float, units: Tensor | None = None) -> Tensor:
        """The volume as it is.

        Args:
            denoised: slices that were denoised one by one, (batch, channel, Z, H, W).
            ratio: noise-to-signal ratio sigma~ of all slices.
            units: length of the prior's range in each slice, (Z,), if they differ.
        """
        return denoised


@final
class Across(Prior):
    """A prior of volumes: each slice is denoised by itself, and a rule couples the slices.

    Args:
        inner: prior of images (batch, channel, H, W).
        rule: couples the denoised slices.
        at_a_time: number of slices that are denoised together; all by default.
        stacked: whether states are the slices of one volume, (Z, channel, H, W), rather than
            volumes (batch, channel, Z, H, W). All slices have the same time.
        group: processes that share the slices: each has its own of a stack, or the same volumes.
        units: length of the prior's range in each slice, (Z,), if they differ.
    """

    def __init__(
        self,
        inner: Prior,
        rule: Coupling,
        *,
        at_a_time: int | None = None,
        stacked: bool = False,
        units: Tensor | None = None,
        group: Group = ALONE,
    ) -> None:
        self.inner = Slicewise(inner, at_a_time, ALONE if stacked else group)
        self.sde, self.rule, self.stacked = inner.sde, rule, stacked
        self.units, self.group = units, group

    def denoise(self, x: State, t: Times) -> State:
        ratio = float(self.sde.ratio(t[:1]))
        if not self.stacked:
            return self.rule.couple(self.inner.denoise(x, t), ratio, self.units)
        own = self.inner.denoise(x.transpose(0, 1)[None], t[:1])[0].transpose(0, 1)
        if isinstance(self.rule, Independent):
            return own
        slices = self.group.gather(own)
        coupled = self.rule.couple(slices.transpose(0, 1)[None], ratio, self.units)
        return coupled[0].transpose(0, 1)[self.group.share(len(slices))]
