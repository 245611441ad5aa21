"""From counts to transmissions, and from transmissions to line integrals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.errors import MedscoreError

STARVED = 0.01
"""Largest share of rays without a count that are taken as half a count."""


def transmissions(
    counts: NDArray[np.float32],
    flat: NDArray[Any] | None,
    dark: NDArray[Any] | None,
    where: Path,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Divide counts by the flat field.

    Args:
        counts: (slices, views, detectors).
        flat: counts without an object, of a shape that broadcasts to it.
        dark: counts without radiation, likewise; 0 by default.
        where: file to name in errors.

    Returns:
        Transmissions, all greater than 0, and what was noticed.

    Raises:
        MedscoreError: there is no flat field, it is not greater than the dark field, or more than
            one ray in a hundred has no count.
    """
    if flat is None:
        raise MedscoreError(
            "values are counts, and flat is not set", where=where,
            hint="set flat to the counts without an object: a number, or an array of the file",
        )  # fmt: skip
    dark = np.zeros((1, 1, 1), np.float32) if dark is None else dark
    air = np.asarray(flat - dark, dtype=np.float32)
    if not np.isfinite(air).all() or not np.isfinite(dark).all() or not bool((air > 0).all()):
        raise MedscoreError(
            "the flat field is not greater than the dark field everywhere", where=where,
            hint="correct flat and dark",
        )  # fmt: skip
    found = (counts - dark).astype(np.float32)
    empty = int((found <= 0).sum())
    if empty > STARVED * found.size:
        raise MedscoreError(
            f"{empty} of {found.size} counts are not greater than the dark field", where=where,
            hint="correct dark, or leave those views out",
        )  # fmt: skip
    notes = (f"{empty} rays without a count are taken as half a count",) if empty else ()
    least = np.minimum(np.float32(0.5), air / 2)
    return np.maximum(found, least) / air, notes


def logarithm(data: NDArray[np.float32], where: Path) -> NDArray[np.float32]:
    """Line integrals -ln(I / I0).

    Args:
        data: transmissions.
        where: file to name in the error.

    Raises:
        MedscoreError: some are not greater than 0.
    """
    if not bool((data > 0).all()):
        raise MedscoreError(
            f"{int((~(data > 0)).sum())} transmissions are not greater than 0",
            where=where,
            hint="correct for the dark field, replace those values, or set `values` to "
            "line-integrals if they are logarithms",
        )
    made: NDArray[np.float32] = -np.log(data)
    return made
