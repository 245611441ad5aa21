"""The grid that a prior works on: its own, or with ``allow_mismatch`` that of the measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.datasets.fit import Fit, fill_of
from medscore.datasets.volume import Volume
from medscore.domain import ImageDomain
from medscore.hounsfield import hu_to_mu
from medscore.measurements.fitting import (
    discretization_std,
    fit_note,
    fit_to,
    grid_text,
    pixel_text,
)
from medscore.measurements.measurement import ATTENUATION, HU, Measurement
from medscore.measurements.units import UNIT_RANGE
from medscore.priors.base import Prior
from medscore.priors.catalogue import DEFAULT_PRIORS, is_known, prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.baselines.classical import classical
from medscore.reconstruction.compatibility import measurement_misfits
from medscore.reconstruction.complex_data import seen_by
from medscore.reconstruction.result import Reconstruction


@dataclass(frozen=True)
class PriorGrid:
    """The grid of a reconstruction, and the image domain in which the prior is used.

    Attributes:
        domain: the prior's image domain, or that of the measurement where they are of other kinds.
        shape: rows and columns.
        pixel_mm: distance between the columns in mm.
        fit: fit of the measurement's image to the grid; ``None`` if it is the measurement's.
        warnings: what is outside the prior's domain.
    """

    domain: ImageDomain
    shape: tuple[int, int]
    pixel_mm: float
    fit: Fit | None = None
    warnings: tuple[str, ...] = ()

    def prior(self, prior: Prior) -> Prior:
        """The prior on this grid.

        Args:
            prior: the prior.
        """
        if not isinstance(prior, NetworkPrior):
            return prior
        return prior.on_grid(self.shape, self.pixel_mm, allow_mismatch=bool(self.warnings))

    def noise(self, m: Measurement, noise_std: Tensor | None) -> Tensor | None:
        """The noise standard deviation with what the grid cannot show of the data.

        Args:
            m: the measurement.
            noise_std: noise standard deviation of the data; ``None`` without noise.
        """
        if self.fit is None or self.fit.lossless:
            return noise_std
        values = classical(m)[1]
        if m.image_unit == ATTENUATION:
            assert m.mu_water is not None
            values = hu_to_mu(torch.from_numpy(values), m.mu_water).numpy()
        elif m.image_unit == HU:
            values = values - fill_of(m.modality)
        lost = discretization_std(m, seen_by(self.domain, m), self.fit, values)
        return lost if noise_std is None else (lost**2 + noise_std**2).sqrt()

    def onto_measurement(self, found: Reconstruction) -> Reconstruction:
        """A reconstruction with its samples on the grid of the measurement.

        Args:
            found: the reconstruction on this grid.
        """
        if self.fit is None:
            return replace(found, warnings=(*found.warnings, *self.warnings))
        m, inside = found.measurement, self.fit.inside
        samples = self.fit.undo(found.samples, fill_of(m.modality))
        mean = found.complex_mean
        if mean is not None:
            mean = self.fit.undo(mean.real, 0.0) + 1j * self.fit.undo(mean.imag, 0.0)
        evidence = found.evidence
        if evidence is not None:
            drawn = self.fit.undo(evidence.prior_samples, fill_of(m.modality))
            agreed, disputed = (
                self.fit.undo(each, 0.0) for each in (evidence.agreed, evidence.disputed)
            )
            evidence = replace(evidence, prior_samples=drawn, agreed=agreed, disputed=disputed)
        warnings = () if inside.all() else (_outside(m, inside),)
        return replace(
            found, samples=samples, fit=self.fit, complex_mean=mean, evidence=evidence,
            notes=(*found.notes, self.note(m)),
            warnings=(*found.warnings, *self.warnings, *warnings),
        )  # fmt: skip

    def note(self, m: Measurement) -> str:
        """What the fit does, in one sentence.

        Args:
            m: the measurement.
        """
        assert self.fit is not None
        (rows, columns), (x, y), known = m.size, m.spacing, self.domain.spacing_mm
        knows = ""
        if self.domain.size is None and known and not known[0] <= x <= known[1]:
            knows = f", because it knows pixels of {known[0]:g} to {known[1]:g} mm"
        return (
            f"prior {self.domain.name} works at {grid_text(self.fit, x)}{knows}; the result is put "
            f"back onto the {columns} x {rows} pixels of {pixel_text(x, y)} of the image"
        )

    def record(self, m: Measurement) -> Mapping[str, Any]:
        """The grid for provenance.json.

        Args:
            m: the measurement.
        """
        share = 1.0 if self.fit is None else float(self.fit.inside.mean())
        return {
            "size": list(self.shape),
            "spacing_mm": round(self.pixel_mm, 6),
            "fitted": self.fit is not None,
            "share_inside": share,
            "outside_the_domain": list(self.warnings),
        }


def grid_of(domain: ImageDomain, m: Measurement, *, allow_mismatch: bool = False) -> PriorGrid:
    """The grid on which a prior reconstructs a measurement.

    Args:
        domain: image domain of the prior.
        m: the measurement.
        allow_mismatch: whether the prior works on the grid of the measurement, even outside its
            domain.
    """
    if not allow_mismatch:
        fit = fit_to(domain, m.size, m.spacing)
        if fit is None:
            return PriorGrid(domain, m.size, m.spacing[0])
        return PriorGrid(domain, fit.shape, m.spacing[0] * fit.columns.step, fit)
    found = measurement_misfits(domain, m)
    warnings = tuple(
        f"{what} is {ours}, prior {domain.name} has {its}: it is used outside its domain"
        for what, ours, its in found
    )
    if any(what in ("modality", "quantity") for what, *_ in found):
        unit = UNIT_RANGE[m.modality]
        domain = ImageDomain(
            name=domain.name, modality="CT" if m.modality == "CT" else "MR",
            low=unit.low, high=unit.high, quantity="HU" if m.modality == "CT" else "magnitude",
        )  # fmt: skip
    return PriorGrid(domain, m.size, m.spacing[0], None, warnings)


def default_prior_note(volume: Volume, modality: str) -> str | None:
    """What the grid of the default prior of a modality loses of an image.

    Args:
        volume: the image that is measured.
        modality: "CT" or "MR".

    Returns:
        The note; None if the image fits, or if this build is without the prior.
    """
    name = DEFAULT_PRIORS[modality]
    if not is_known(name):
        return None
    domain = read_checkpoint(prior_path(name)).contract
    fit = fit_to(domain, volume.values.shape[1:], volume.spacing[:2])
    return None if fit is None else fit_note(volume, fit, name)


def _outside(m: Measurement, inside: NDArray[np.bool_]) -> str:
    share = 100 * float((~inside).mean())
    return (
        f"{share:.1f} % of the pixels lie outside the field of the prior and are "
        f"{'air' if m.modality == 'CT' else 'zero'}; field.nii.gz marks the others"
    )
