"""The classical reconstruction of a measurement, with which other methods are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medscore.measurements.measurement import Measurement
from medscore.operators.base import Operator
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.wrappers.resampled import unwrapped
from medscore.reconstruction.baselines.adjoint import Adjoint
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.direct import measures_rays, misses_rays
from medscore.reconstruction.baselines.fbp import FBP
from medscore.reconstruction.baselines.interpolation import LI
from medscore.reconstruction.baselines.zero_filled import ZeroFilled


def classical(m: Measurement) -> tuple[str, NDArray[np.float32]]:
    """The classical reconstruction of a measurement.

    For CT it is filtered back-projection (``FBP``), preceded by linear interpolation if single rays
    are missing (``LI``), and for a cone beam the algorithm of Feldkamp (``FDK``). For all other
    measurements it is zero filling (``zero-filled``), or the scaled adjoint (``adjoint``) if the
    operator has no inverse.

    Args:
        m: the measurement.

    Returns:
        The name and the image (slices, H, W) in HU or as magnitudes.
    """
    name, baseline = _fitting(m.operator)
    try:
        return name, baseline.reconstruct(m).samples[:, 0]
    except ValueError:  # an operator without an inverse
        return "adjoint", Adjoint().reconstruct(m).samples[:, 0]


def _fitting(operator: Operator) -> tuple[str, Baseline]:
    if not measures_rays(operator):
        return "zero-filled", ZeroFilled()
    if isinstance(unwrapped(operator)[0], ConeBeam):
        return "FDK", FBP()
    return ("LI", LI()) if misses_rays(operator) else ("FBP", FBP())
