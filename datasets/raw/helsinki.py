"""The geometry that CT files of the University of Helsinki state, such as those of HTC 2022.

A structure holds ``sinogram`` (view, detector) of the central row of a cone beam, which is a fan
beam with a flat detector, and ``parameters`` with its distances, angles in degrees and the size of
the detector's pixels after binning (Meaney et al. 2023, Helsinki Tomography Challenge 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medscore.errors import MedscoreError
from medscore.io.arrays import Arrays

LENGTHS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
MARK = ".parameters.distanceSourceOrigin"


def helsinki_geometry(arrays: Arrays) -> dict[str, Any]:
    """Fields of the geometry that a file states; empty if it is no such file.

    Args:
        arrays: the arrays of the file.

    Raises:
        MedscoreError: a part of it is missing, or the distances have an unknown unit.
    """
    owners = [name.removesuffix(MARK) for name in arrays.entries if name.endswith(MARK)]
    owners = [name for name in owners if f"{name}.sinogram" in arrays.entries]
    if len(owners) != 1:
        return {}
    owner = owners[0]

    def value(*names: str) -> Any:
        for name in names:
            full = f"{owner}.parameters.{name}"
            if full in arrays.entries:
                found = arrays.read(full).ravel()
                if found.size:
                    return found[0] if found.dtype.kind == "U" else found.astype(np.float64)
        raise MedscoreError(
            f"{owner}.parameters lacks {names[0]}", where=arrays.where,
            hint="set the geometry, see docs/measurement.md",
        )  # fmt: skip

    unit = str(value("distanceUnit")).strip()
    if unit not in LENGTHS:
        raise MedscoreError(
            f"distances are in {unit!r}", where=arrays.where, hint="use mm, cm or m"
        )
    scale = LENGTHS[unit]
    return {
        "beam": "fan",
        "array": f"{owner}.sinogram",
        "angles": tuple(value("angles").tolist()),
        "angle_unit": "degrees",
        "detector_spacing": scale * float(value("pixelSizePost", "pixelSize")[0]),
        "source_distance": scale * float(value("distanceSourceOrigin")[0]),
        "detector_distance": scale * float(value("distanceSourceDetector")[0]),
        "detector_shape": "flat",
    }
