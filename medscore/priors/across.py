"""A 2-D prior applied to the slices of a volume, which a rule couples afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, final, runtime_checkable

from torch import Tensor

from medscore.io.group import ALONE, Group
from medscore.parameters import NamedParameters
from medscore.priors.base import Prior
from medscore.priors.slicewise import Slicewise
from medscore.types import State, Times

WHOLE = slice(None)
"""All slices."""


@dataclass(frozen=True)
class Denoised:
    """Volumes whose slices were denoised one by one.

    Attributes:
        slices: the denoised slices, (batch, channel, Z, H, W).
        noisy: what was denoised, x_t / alpha, of the same shape.
        ratio: noise-to-signal ratio sigma~ of all slices.
        units: length of the prior's range in each slice, (Z,), if they differ.
    """

    slices: Tensor
    noisy: Tensor
    ratio: float
    units: Tensor | None = None


@runtime_checkable
class Coupling(Protocol):
    """A rule that couples the slices of a denoised volume.

    Attributes:
        evaluations_of_a_call: network evaluations of a slice, with that of the slice by itself.
    """

    evaluations_of_a_call: ClassVar[int]

    @property
    def record(self) -> dict[str, str]:
        """The hashes of the weights of networks of its own, for provenance."""
        ...

    def couple(self, denoised: Denoised, part: slice = WHOLE) -> Tensor:
        """The coupled volume, or some of its slices.

        Args:
            denoised: the volume.
            part: the slices that are wanted.
        """
        ...


@runtime_checkable
class AcrossSlices(Protocol):
    """A rule that couples slices, before the prior and the volume are known."""

    def placed(self, prior: Prior, voxel_mm: tuple[float, float]) -> Coupling:
        """The rule for a prior and a volume.

        Args:
            prior: prior of the slices.
            voxel_mm: distance of the slices, and pixel size.
        """
        ...


@final
@dataclass(frozen=True)
class Independent(NamedParameters):
    """Every slice by itself."""

    evaluations_of_a_call: ClassVar[int] = 1
    record: ClassVar[dict[str, str]] = {}

    def placed(self, prior: Prior, voxel_mm: tuple[float, float]) -> Independent:
        """The same rule, which is that of all priors and volumes.

        Args:
            prior: prior of the slices.
            voxel_mm: distance of the slices, and pixel size.
        """
        return self

    def couple(self, denoised: Denoised, part: slice = WHOLE) -> Tensor:
        """The slices as they are.

        Args:
            denoised: the volume.
            part: the slices that are wanted.
        """
        return denoised.slices[:, :, part]


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
        self.evaluations_of_a_call = rule.evaluations_of_a_call

    def denoise(self, x: State, t: Times) -> State:
        ratio, alpha = float(self.sde.ratio(t[:1])), float(self.sde.alpha(t[:1]))
        noisy = x if alpha == 1 else x / alpha
        if not self.stacked:
            denoised = Denoised(self.inner.denoise(x, t), noisy, ratio, self.units)
            return self.rule.couple(denoised)
        own = self.inner.denoise(x.transpose(0, 1)[None], t[:1])
        if isinstance(self.rule, Independent):
            return own[0].transpose(0, 1)
        slices = self._gathered(own[0].transpose(0, 1))
        denoised = Denoised(slices, self._gathered(noisy), ratio, self.units)
        part = self.group.share(slices.shape[2])
        return self.rule.couple(denoised, part)[0].transpose(0, 1)

    def _gathered(self, own: Tensor) -> Tensor:
        """The volume (1, channel, Z, H, W) of which each process has some slices."""
        return self.group.gather(own).transpose(0, 1)[None]
