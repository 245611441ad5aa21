"""The classical reconstruction of a measurement, which others are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medscore.measurements.measurement import Measurement
from medscore.operators.base import Operator
from medscore.operators.ct.radon import Radon
from medscore.reconstruction.baselines.adjoint import Adjoint
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.direct import misses_rays
from medscore.reconstruction.baselines.fbp import FBP
from medscore.reconstruction.baselines.interpolation import LI
from medscore.reconstruction.baselines.zero_filled import ZeroFilled


def classical(m: Measurement) -> tuple[str, NDArray[np.float32]]:
    """Name and image (slices, H, W) of the classical reconstruction, in HU or as magnitudes.

    It is filtered back-projection (``FBP``) for CT, after linear interpolation where single rays
    are missing (``LI``), and zero filling (``zero-filled``) for everything else; for an operator
    without an inverse it is the adjoint (``adjoint``).

    Args:
        m: the measurement.
    """
    name, baseline = _fitting(m.operator)
    try:
        return name, baseline.reconstruct(m).samples[:, 0]
    except ValueError:  # an operator without an inverse
        return "adjoint", Adjoint().reconstruct(m).samples[:, 0]


def _fitting(operator: Operator) -> tuple[str, Baseline]:
    if not isinstance(operator, Radon):
        return "zero-filled", ZeroFilled()
    return ("LI", LI()) if misses_rays(operator) else ("FBP", FBP())
