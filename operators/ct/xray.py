"""X-ray physics: tube spectra and attenuation coefficients.

Spectra are from spekpy (Poludniowski et al. 2021) and coefficients from xraydb (tables of Elam et
al. 2002), in the extra ``medscore[metal]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medscore.errors import optional_module
from medscore.operators.grid import OperatorError


@dataclass(frozen=True)
class Spectrum:
    """An X-ray spectrum.

    Attributes:
        energies: photon energies in keV.
        weights: share of the photons at each energy; they sum to 1.

    Raises:
        OperatorError: the numbers of energies and weights differ, an energy is not positive, a
            weight is negative, or the sum is not 1.
    """

    energies: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.energies or len(self.energies) != len(self.weights):
            raise OperatorError(f"{len(self.energies)} energies but {len(self.weights)} weights")
        if not min(self.energies) > 0:
            raise OperatorError(
                f"an energy is {min(self.energies)} keV, expected a positive number"
            )
        if not (min(self.weights) >= 0 and math.isclose(sum(self.weights), 1, abs_tol=1e-6)):
            raise OperatorError(
                f"the weights sum to {sum(self.weights):g}, expected shares that sum to 1"
            )


@dataclass(frozen=True)
class Material:
    """A material.

    Attributes:
        density: in g/cm3.
        fractions: pairs of an element and its mass fraction.
    """

    density: float
    fractions: tuple[tuple[str, float], ...]


MATERIALS = {
    "water": Material(1.0, (("H", 0.111898), ("O", 0.888102))),
    "bone": Material(  # cortical bone, ICRU 44
        1.92,
        (
            ("H", 0.034), ("C", 0.155), ("N", 0.042), ("O", 0.435), ("Na", 0.001),
            ("Mg", 0.002), ("P", 0.103), ("S", 0.003), ("Ca", 0.225),
        ),
    ),
    "titanium": Material(4.506, (("Ti", 1.0),)),
    "iron": Material(7.874, (("Fe", 1.0),)),
    "copper": Material(8.96, (("Cu", 1.0),)),
    "gold": Material(19.3, (("Au", 1.0),)),
}  # fmt: skip


def monochromatic(energy: float = 70.0) -> Spectrum:
    """A spectrum with a single ``energy`` in keV."""
    return Spectrum((energy,), (1.0,))


def tube_spectrum(kvp: float = 120.0, *, aluminium: float = 6.0, step: float = 2.0) -> Spectrum:
    """The spectrum of a tungsten tube.

    Args:
        kvp: tube voltage in kV.
        aluminium: thickness of the aluminium filter in mm.
        step: width of the energy bins in keV.

    Raises:
        MedscoreError: spekpy is not installed.
    """
    tube = _library("spekpy").Spek(kvp=kvp, th=12, dk=step)
    tube.filter("Al", aluminium)
    energies, fluence = tube.get_spectrum(edges=False)
    weights = fluence / fluence.sum()
    seen = weights > 1e-6
    return Spectrum(
        tuple(float(e) for e in energies[seen]),
        tuple(float(w) for w in weights[seen] / weights[seen].sum()),
    )


def attenuation(material: str, energies: Sequence[float]) -> Tensor:
    """Linear attenuation coefficients in 1/mm, (energies,) float64.

    Args:
        material: a name in ``MATERIALS``.
        energies: photon energies in keV.

    Raises:
        OperatorError: a material that is not in ``MATERIALS``.
        MedscoreError: xraydb is not installed.
    """
    if material not in MATERIALS:
        raise OperatorError(f"`material` is {material!r}, expected one of {', '.join(MATERIALS)}")
    xraydb, m = _library("xraydb"), MATERIALS[material]
    electronvolts = 1000 * np.asarray(energies, dtype=np.float64)
    per_gram = sum(share * xraydb.mu_elam(e, electronvolts) for e, share in m.fractions)  # cm2/g
    return torch.as_tensor(per_gram, dtype=torch.float64) * m.density / 10


def _library(name: str) -> Any:
    return optional_module(name, "X-ray physics", install="medscore[metal]")
