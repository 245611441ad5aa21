"""Mistaken axes of k-space arrays, which show in where the values are large.

The centre of k-space holds most of the energy of any image. It lies in the middle of the readout
and of the phase encodings, and in the middle of no other axis: the energy of coils has no order,
and that of slices falls towards the ends of the object much less. Arrays without such a maximum,
such as noise, are not judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.kspace_layout import USUAL
from medscore.errors import MedscoreError

FEWEST = 8
"""Shorter axes are not judged."""

MOST_OF_IT = 0.88
"""Share of the energy in half of an axis from which it counts as concentrated there."""

FLAT = 0.8
"""Share of the energy in the middle half of an axis up to which it has no maximum there."""

BOTH = 0.05
"""Share of the energy that each end holds where the centre of k-space lies at the ends."""

SPATIAL = USUAL[2:]
"""The axes that have the centre of k-space in their middle."""


def check_axes(kspace: NDArray[Any], where: Path, hint: str) -> None:
    """Reject k-space whose axes are swapped, or whose centre is not in the middle.

    Args:
        kspace: (slices, coils, readout, phase), zero where nothing was measured.
        where: file to name in the error.
        hint: how to state the order of the axes.

    Raises:
        MedscoreError: the largest values are at the ends of an axis, or in the middle of the wrong
            one.
    """
    profiles = dict(zip(USUAL, _profiles(kspace), strict=True))
    for name in SPATIAL:
        shifted = np.fft.fftshift(profiles[name])
        if _middle(shifted) > MOST_OF_IT and _both_ends(profiles[name]):
            raise MedscoreError(
                f"k-space is largest at both ends of the {name} axis, not in its middle",
                where=where,
                hint="move its centre to the middle, as numpy.fft.fftshift does",
            )
    flat = [name for name in SPATIAL if _middle(profiles[name]) < FLAT]
    peaked = [
        name for name in USUAL
        if name not in SPATIAL
        and len(profiles[name]) >= FEWEST
        and _middle(profiles[name]) > MOST_OF_IT
    ]  # fmt: skip
    if flat and peaked:
        raise MedscoreError(
            f"k-space of shape {kspace.shape} is largest in the middle of the {peaked[0]} axis, "
            f"and not of the {flat[0]} axis, as if both were swapped",
            where=where,
            hint=hint,
        )


def _profiles(kspace: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Share of the energy along each axis, summed over all others."""
    peak = max(float(np.abs(one).max()) for one in kspace)
    scale = max(peak, np.finfo(np.float32).tiny)
    sums = [np.zeros(n) for n in kspace.shape]
    for index, one in enumerate(kspace):  # slice by slice, so that no copy of all is made
        energy = np.square(np.abs(one) / scale)
        sums[0][index] = energy.sum()
        for axis in (0, 1, 2):
            others = tuple(other for other in (0, 1, 2) if other != axis)
            sums[axis + 1] += energy.sum(axis=others, dtype=np.float64)
    total = max(float(sums[0].sum()), np.finfo(np.float64).tiny)
    return [one / total for one in sums]


def _middle(profile: NDArray[np.float64]) -> float:
    """Share of the energy in the middle half."""
    n = len(profile)
    return float(profile[n // 4 : n - n // 4].sum())


def _both_ends(profile: NDArray[np.float64]) -> bool:
    """True if the first and the last quarter both hold energy: one alone may be partial k-space."""
    quarter = len(profile) // 4
    return min(float(profile[:quarter].sum()), float(profile[-quarter:].sum())) > BOTH
