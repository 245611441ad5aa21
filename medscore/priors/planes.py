r"""Slices of three orientations: a 2-D prior of sagittal and coronal slices beside the axial one.

At every noise level, the density of noisy volumes is a weighted product of those of the slices of
each orientation,

.. math:: p_t(x) \propto p_{axial}(x)^{1 - w}\, p_{sagittal}(x)^{w/2}\, p_{coronal}(x)^{w/2},
          \qquad D' = (1 - w) D_{axial} + \tfrac{w}2 (D_{sagittal} + D_{coronal}),

so that the scores, and by Tweedie's formula the denoised volumes, are averaged. Lee et al. (2023)
proposed the product of two perpendicular orientations for volumes (TPDM), and alternate between
them at random from step to step; here all three are evaluated in every step, at three times the
cost. Voxels have to be nearly cubes, as the slices of the other orientations are given to a prior
of square pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.parameters import NamedParameters, Share, check_fields
from medscore.priors.across import WHOLE, Denoised
from medscore.priors.base import Prior
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.network import NetworkPrior

AT_A_TIME = 2**19
"""Number of pixels that are denoised at a time, which bounds the memory."""

CUBE = 1.15
"""Largest ratio of the sides of a voxel that counts as a cube."""


@final
@dataclass(frozen=True)
class Planes(NamedParameters):
    """A prior of sagittal and coronal slices.

    Args:
        share: weight w of the two other orientations together.
        prior: name or path of their prior; by default that of the axial slices.
    """

    share: Share = 2 / 3
    prior: str | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            MedscoreError: a setting outside the type or range of its annotation.
        """
        check_fields(self)

    def placed(self, prior: Prior, voxel_mm: tuple[float, float]) -> PlanesOfVolume:
        """The rule for volumes with voxels of one size.

        Args:
            prior: prior of the axial slices.
            voxel_mm: distance of the slices, and pixel size.

        Raises:
            MedscoreError: the voxels are no cubes, or the prior of the other orientations is one of
                other images.
        """
        check_cubes(*voxel_mm)
        other = prior if self.prior is None else self._loaded(prior)
        if isinstance(other, NetworkPrior) and other.domain and other.domain.size is not None:
            raise MedscoreError(
                f"the prior {other.domain.name} knows images of {other.domain.size} x "
                f"{other.domain.size}, and sagittal and coronal slices have other sizes",
                hint="use a prior for any matrix, such as ct",
            )
        return PlanesOfVolume(other, self.share, voxel_mm[1])

    def _loaded(self, prior: Prior) -> NetworkPrior:
        """The prior of the other orientations, on the device of that of the axial slices."""
        other = load_prior(prior_path(self.prior or ""))
        if isinstance(prior, NetworkPrior):
            other.to(next(prior.parameters()).device)
        ours, theirs = prior.domain, other.domain
        for name in ("modality", "quantity", "low", "high"):
            mine, own = getattr(ours, name, None), getattr(theirs, name, None)
            if ours is not None and mine != own:
                raise MedscoreError(
                    f"`across_slices.prior` {theirs.name if theirs else ''} has {name} {own}, and "
                    f"the prior of the axial slices {mine}",
                    hint="use one of the same images",
                )
        return other


@final
@dataclass(frozen=True)
class PlanesOfVolume:
    """A prior of sagittal and coronal slices of volumes whose voxels are cubes of one size.

    Attributes:
        prior: prior of the other orientations.
        share: weight w of the two other orientations together.
        pixel_mm: side of the voxels in mm.
    """

    prior: Prior
    share: float
    pixel_mm: float

    evaluations_of_a_call: ClassVar[int] = 3

    @property
    def record(self) -> dict[str, str]:
        """The hash of the weights of the prior, for provenance."""
        return {"planes_sha256": str(getattr(self.prior, "sha256", ""))}

    def couple(self, denoised: Denoised, part: slice = WHOLE) -> Tensor:
        """The slices of the averaged volume D'.

        Args:
            denoised: axial slices D that were denoised one by one.
            part: the slices that are wanted.
        """
        others = [self._denoised(denoised, axis)[:, :, part] for axis in (-2, -1)]
        return (1 - self.share) * denoised.slices[:, :, part] + self.share / 2 * sum(others)

    def _denoised(self, denoised: Denoised, axis: int) -> Tensor:
        """The volume whose slices across an axis are denoised one by one."""
        volume = denoised.noisy.movedim(axis, 1)  # (batch, slices, channel, ., .)
        images = volume.flatten(0, 1)
        rows, columns = images.shape[-2:]
        prior, sde = self.prior, self.prior.sde
        if isinstance(prior, NetworkPrior):
            prior = prior.on_grid((rows, columns), self.pixel_mm, allow_mismatch=True)
        ratio = torch.tensor(denoised.ratio, dtype=torch.float64)
        t = sde.time(ratio).to(images)
        count = max(1, AT_A_TIME // (rows * columns))
        found = [
            prior.denoise(sde.alpha(t) * some, t.expand(len(some))) for some in images.split(count)
        ]
        whole: Tensor = torch.cat(found).unflatten(0, volume.shape[:2])
        return whole.movedim(1, axis)


def check_cubes(slice_mm: float, pixel_mm: float) -> None:
    """Reject voxels that are far from cubes.

    Args:
        slice_mm: distance of the slices in mm.
        pixel_mm: pixel size in mm.

    Raises:
        MedscoreError: their sides differ by more than 15 %.
    """
    if max(slice_mm, pixel_mm) > CUBE * min(slice_mm, pixel_mm):
        raise MedscoreError(
            f"the slices are {slice_mm:g} mm apart, and their pixels are {pixel_mm:g} mm wide",
            hint="`across_slices` planes needs voxels that are nearly cubes: use another rule",
        )
