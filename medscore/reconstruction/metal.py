r"""Metal implants in a reconstruction: their HU are those of the scanner's own image.

Metal artifact removal leaves out the rays through metal, so what a method reconstructs there is
tissue that is not. With the pixels M of metal and the scanner's image x_0,

.. math:: \hat x \leftarrow (1 - 1_M)\, \hat x + 1_M\, x_0.

No measured ray crosses M, so the data and the residual are those of the reconstruction.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medscore.measurements.metal import WITH_METAL
from medscore.reconstruction.result import Reconstruction

UNRECORDED = (
    "the measurement does not record the metal, which the result lacks: make it again with"
    " `medscore simulate` or `medscore measure`"
)


def with_metal(found: Reconstruction, *, metal: bool = True) -> Reconstruction:
    """A reconstruction with the metal put back, and a note of what was done.

    Args:
        found: the reconstruction of a measurement, with or without implants.
        metal: whether metal is put back into every sample; otherwise it is only noted.
    """
    m = found.measurement
    mask = m.metal_mask
    if mask is None or m.metal is None:
        lost = (UNRECORDED,) if m.task in WITH_METAL else ()
        return replace(found, warnings=(*found.warnings, *lost))
    hu = m.metal[mask]
    pixels, slices = int(mask.sum()), int(mask.any(axis=(1, 2)).sum())
    low, high = float(hu.min()), float(hu.max())
    where = f"metal: {pixels} pixels in {slices} of {len(mask)} slice(s)"
    record = {"pixels": pixels, "slices": slices, "hu": [low, high], "put_back": metal}
    if metal:
        samples = np.where(mask[:, None], m.metal[:, None], found.samples)
        found = replace(found, samples=samples)
        note = f"{where} keep the scanner's {low:.0f} to {high:.0f} HU"
    else:
        note = f"{where} are filled in, where the scanner's image has {low:.0f} to {high:.0f} HU"
    return replace(found, record={**found.record, "metal": record}, notes=(*found.notes, note))


def in_place(image: NDArray[np.float32], found: Reconstruction) -> NDArray[np.float32]:
    """Another reconstruction of the same data, with the metal if it was put back into this one.

    Args:
        image: the other image, (slices, H, W) in HU or as magnitudes.
        found: the reconstruction.
    """
    mask, metal = found.measurement.metal_mask, found.measurement.metal
    if mask is None or metal is None or not found.record.get("metal", {}).get("put_back"):
        return image
    return np.where(mask, metal, image)
