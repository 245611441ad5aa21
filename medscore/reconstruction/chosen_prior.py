"""The prior of a reconstruction: an object, a file or a name, or that of the modality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.priors.file_names import head_path, neighbours_path
from medscore.priors.neighbours_file import NeighboursContract
from medscore.reconstruction.loaded import covariance_hash, hash_of, loaded, neighbours_of
from medscore.registry.settings import NEIGHBOURS, POSTERIOR, TV, Settings
from medscore.uncertainty.table import CalibrationTable, table_beside


@dataclass(frozen=True)
class ChosenPrior:
    """The prior of a reconstruction.

    Attributes:
        given: a prior object, which takes precedence over ``name``.
        name: name of a shipped prior, or a path; by default the modality's.
        modality: modality of the measurement.
    """

    given: Prior | None
    name: str | None
    modality: str

    @cached_property
    def path(self) -> Path:
        """The file of a prior that was not given as an object."""
        return prior_path(self.name or DEFAULT_PRIORS[self.modality])

    @property
    def domain(self) -> ImageDomain:
        """Its image domain.

        Raises:
            MedscoreError: a prior object without one.
        """
        if self.given is None:
            return read_checkpoint(self.path).contract
        if self.given.domain is None:
            raise MedscoreError(
                f"the prior {type(self.given).__name__} has no image domain",
                hint="set its `domain` to a medscore.ImageDomain(modality=..., quantity=...,"
                " low=..., high=...)",
            )
        return self.given.domain

    @property
    def sha256(self) -> str:
        """Hash of its weights; empty for an object without a file."""
        return hash_of(self.path) if self.given is None else getattr(self.given, "sha256", "")

    @property
    def covariance_sha256(self) -> str:
        """Hash of the learned covariance beside it; empty if there is none."""
        if self.given is not None:
            return getattr(getattr(self.given, "head", None), "sha256", "")
        head = head_path(self.path)
        return covariance_hash(head) if head.exists() else ""

    @property
    def knows_covariance(self) -> bool:
        """Whether it knows the covariance of x_0 given x_t."""
        return head_path(self.path).exists() if self.given is None else self.given.has_covariance

    def best_rule(self, slice_mm: float, whole: bool) -> str:
        """The best rule across slices that it knows for a volume.

        Args:
            slice_mm: distance of the slices in mm.
            whole: whether the volume is scanned whole, by a cone beam, where total variation is
                better (benchmarks/volumes.py, part cone).
        """
        known = self.neighbours
        return TV if whole or known is None or not known.knows(slice_mm) else NEIGHBOURS

    @property
    def neighbours(self) -> NeighboursContract | None:
        """The header of the file of its 2.5-D network; None if there is none."""
        file = self.path if self.given is None else getattr(self.given, "file", None)
        if not isinstance(file, Path) or not (own := neighbours_path(file)).exists():
            return None
        return neighbours_of(own).contract

    @property
    def table(self) -> CalibrationTable | None:
        """The calibration table beside it."""
        file = self.path if self.given is None else getattr(self.given, "file", None)
        return table_beside(file, self.sha256) if isinstance(file, Path) else None

    def on(self, device: str) -> Prior:
        """The prior on a device.

        Args:
            device: device of the network.
        """
        if self.given is None:
            return loaded(self.path, device)
        if isinstance(self.given, torch.nn.Module):
            self.given.to(device)
        return self.given


def check_covariance(settings: Settings, chosen: ChosenPrior, *, coupled: bool = False) -> None:
    """Reject moment matching with a covariance that the prior does not know.

    Args:
        settings: settings of the reconstruction.
        chosen: the prior.
        coupled: whether slices are not reconstructed separately, because the scan is one of a
            whole volume, or a rule couples them; no covariance is learned of volumes.

    Raises:
        MedscoreError: samples of the posterior, or a learned covariance, of a prior without one.
    """
    if settings.conditioner != POSTERIOR:
        return
    own = settings.parameters_of("conditioner")
    drawn, covariance = own.get("draws", False), own.get("covariance", "auto")
    if drawn and covariance == "denoiser":
        raise MedscoreError(
            "`conditioner.draws` needs a covariance that the prior knows, not the denoiser's",
            hint="leave out one of `draws` and `covariance`",
        )
    learned = drawn or covariance == "learned"
    if learned and coupled:
        raise MedscoreError(
            "learned covariances, which samples of the posterior need, are those of separate "
            "slices, and these are reconstructed together",
            hint="use the preset sharpest, or set conditioner.covariance to denoiser and "
            "conditioner.draws to false",
        )
    if learned and not chosen.knows_covariance:
        raise MedscoreError(
            f"the prior {chosen.domain.name} has no learned covariance, which samples of the "
            "posterior need",
            hint="train one (docs/covariance.md), or use the preset sharpest",
        )
