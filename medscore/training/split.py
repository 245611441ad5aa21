"""The split of patients into training and validation by a hash of who they are.

It names nobody, does not depend on the order or number of the patients, and does not change when
patients are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field

from medscore.io.specs import Strict

if TYPE_CHECKING:
    from medscore.datasets.collections.slice_cache import Slices

VALIDATION_SHARE = 0.1
"""Share of the patients that a new recipe leaves for validation, at least one."""


class Split(Strict):
    """The split of the patients of ``data`` into training and validation.

    Attributes:
        training: patients whose place, from 0 to 1 by a hash, is below this are trained on; the
            others are for validation.
        seed: makes other places of the same patients.
    """

    training: float = Field(gt=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**31)

    def trains(self, patient: str) -> bool:
        """True if a patient is trained on.

        Args:
            patient: pseudonym of the patient.
        """
        return place(patient, self.seed) < self.training


def place(patient: str, seed: int) -> float:
    """Position of a patient in [0, 1).

    Args:
        patient: pseudonym of the patient.
        seed: seed of the split.
    """
    digest = hashlib.sha256(f"{seed} {patient}".encode()).hexdigest()
    return int(digest[:8], 16) / 2**32


def split_for(patients: Sequence[str], seed: int) -> Split:
    """A split that leaves a tenth of these patients for validation, at least one.

    Args:
        patients: pseudonyms of two patients or more.
        seed: seed of the split.
    """
    places = sorted({place(patient, seed) for patient in patients})
    first = len(places) - max(1, round(VALIDATION_SHARE * len(places)))
    low, high = places[first - 1], places[first]
    middle = (low + high) / 2
    short = (round(middle, digits) for digits in range(1, 12))
    return Split(training=next((one for one in short if low < one <= high), middle), seed=seed)


def known_patients(slices: Slices) -> list[str]:
    """The pseudonym of each slice's patient; patients that share a slice are one patient.

    Args:
        slices: the slices.
    """
    from medscore.datasets.collections.patients import digest_of, merged, pseudonym

    pairs = zip(slices.patients, slices.images, strict=True)
    return merged([(pseudonym(patient), f"slice {digest_of(image)}") for patient, image in pairs])


def divided(slices: Slices, split: Split) -> tuple[Slices, Slices]:
    """The slices for training and those for validation.

    Args:
        slices: all slices.
        split: the split.
    """
    ours = np.array([split.trains(patient) for patient in known_patients(slices)], dtype=bool)
    return _part(slices, ours), _part(slices, ~ours)


def _part(slices: Slices, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Slices:
    places = [int(i) for i in np.flatnonzero(kept)]
    return replace(
        slices,
        images=slices.images[torch.tensor(places, dtype=torch.long)],
        spacing_mm=slices.spacing_mm[places],
        patients=tuple(slices.patients[i] for i in places),
        scans=tuple(slices.scans[i] for i in places),
    )
