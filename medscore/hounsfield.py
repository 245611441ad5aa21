"""Hounsfield units and linear attenuation: mu = mu_water (1 + HU / 1000)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MU_WATER = 0.01929
"""Linear attenuation coefficient of water at 70 keV in 1/mm (NIST XCOM: 0.1929 cm^2/g)."""

Values = TypeVar("Values", Tensor, NDArray[np.floating])


def hu_to_mu(hu: Values, mu_water: float = MU_WATER) -> Values:
    """Linear attenuation in 1/mm; values below air (-1000 HU) are padding and become 0.

    Args:
        hu: CT numbers in HU.
        mu_water: linear attenuation of water in 1/mm.
    """
    return (mu_water * (1 + hu / 1000)).clip(min=0)


def mu_to_hu(mu: Values, mu_water: float = MU_WATER) -> Values:
    """CT numbers in HU.

    Args:
        mu: linear attenuation in 1/mm.
        mu_water: linear attenuation of water in 1/mm.
    """
    return 1000 * (mu / mu_water - 1)
