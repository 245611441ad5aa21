r"""The intensity that an object transmits, and the line integrals that a scanner makes of it.

Each detector sums the transmitted intensity of K thin rays, and of a polychromatic beam over its
energies:

.. math:: I = \frac{I_0}{K} \sum_{k=1}^{K} \sum_E w(E)\, e^{-\sum_m \mu_m(E)\, l_{mk}},

with :math:`l_{mk}` the path in material m of the k-th thin ray. Tissue is decomposed into water and
bone by its HU (Zhang and Yu 2018), and metal may replace some of it. Scanners correct the beam
hardening of water by a polynomial; that of bone and metal remains. A beam of one energy, without
``spectrum``, is attenuated by :math:`\mu` itself.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from medscore.hounsfield import hu_to_mu
from medscore.operators.ct.backends.base import Views
from medscore.operators.ct.detector import by_detector, thin
from medscore.operators.ct.geometry import FanBeam, ParallelBeam
from medscore.operators.ct.projector import project
from medscore.operators.ct.xray import Spectrum, attenuation
from medscore.types import Images

REFERENCE = 70.0
"""Energy in keV of corrected line integrals and HU, where water has 0.01929/mm."""

WATER_HU, BONE_HU = 100.0, 1500.0
"""A pixel below the first is water of some density, above the second bone, between them a mixture
(thresholds of Zhang and Yu 2018)."""

DEGREE = 5
"""Degree of the polynomial that corrects the beam hardening of water."""

TISSUE = "tissue"
"""Name of the path whose length is the line integral itself."""


def transmitted(
    hu: Images,
    geometry: ParallelBeam | FanBeam,
    *,
    spectrum: Spectrum | None = None,
    metal: Tensor | None = None,
    material: str = "titanium",
    thin_rays: int,
    views: Views | None = None,
    backend: str = "auto",
) -> Tensor:
    """The share of the photons that reaches each detector, (batch, 1, views, detectors) float64.

    Args:
        hu: images in HU, (batch, 1, H, W).
        geometry: the scan.
        spectrum: spectrum of the X-ray tube; ``None`` for a beam of one energy.
        metal: share of metal in each pixel, 0 to 1, (1 or batch, 1, H, W); it needs a spectrum.
        material: material of the metal, a name in :data:`~medscore.operators.ct.xray.MATERIALS`.
        thin_rays: K, the number of thin rays across each detector.
        views: indices of the views to compute, in this order; all by default.
        backend: see :func:`~medscore.operators.ct.projector.choose`.
    """
    split = thin(geometry, thin_rays)

    def along(images: Tensor) -> Tensor:
        return project(images, split, views=views, backend=backend)

    mu = hu_to_mu(hu.double())
    if spectrum is None:
        paths = {TISSUE: along(mu)}
    elif metal is None:
        water, bone = _decompose(hu.double(), mu)
        paths = {"water": along(water), "bone": along(bone)}
    else:
        mu, share = torch.broadcast_tensors(mu, metal.to(mu))
        water, bone = _decompose(hu.double(), mu)
        paths = {
            "water": along(water * (1 - share)),
            "bone": along(bone * (1 - share)),
            material: along(share),
        }
    return by_detector(transmission(paths, spectrum), thin_rays).mean(-1)


def shadow(
    metal: Tensor,
    geometry: ParallelBeam | FanBeam,
    *,
    thin_rays: int,
    views: Views | None = None,
    backend: str = "auto",
) -> Tensor:
    """The detectors of which any thin ray crosses metal, (batch, 1, views, detectors) bool.

    Args:
        metal: share of metal in each pixel, (batch, 1, H, W) float64.
        geometry: the scan.
        thin_rays: K, the number of thin rays across each detector.
        views: indices of the views to compute, in this order; all by default.
        backend: see :func:`~medscore.operators.ct.projector.choose`.
    """
    path = project(metal, thin(geometry, thin_rays), views=views, backend=backend)
    return by_detector(path > 0, thin_rays).any(-1)


def transmission(paths: dict[str, Tensor], spectrum: Spectrum | None) -> Tensor:
    """Share of the photons that is transmitted along paths.

    Args:
        paths: length of the path in each material in mm; without a spectrum, the line integral.
        spectrum: spectrum of the X-ray tube; ``None`` for a beam of one energy.
    """
    if spectrum is None:
        return torch.exp(-paths[TISSUE])
    coefficients = {name: attenuation(name, spectrum.energies) for name in paths}
    total = torch.zeros_like(next(iter(paths.values())))
    for index, weight in enumerate(spectrum.weights):
        stopped = torch.zeros_like(total)
        for name, path in paths.items():
            stopped += float(coefficients[name][index]) * path
        total += weight * torch.exp(-stopped)
    return total


def correct_water(y: Tensor, spectrum: Spectrum) -> Tensor:
    """Line integrals corrected for beam hardening, as if all material were water.

    Args:
        y: -log of the transmitted shares.
        spectrum: spectrum of the X-ray tube.
    """
    scale, coefficients = _water_polynomial(spectrum)
    # beyond 600 mm of water, behind metal, the curve is extrapolated linearly
    top = (y / scale).clamp(max=1)
    value, slope = torch.zeros_like(y), 0.0
    for power, coefficient in enumerate(coefficients, start=1):
        value = value + coefficient * top**power
        slope += power * coefficient
    return value + slope * (y / scale - top)


def _decompose(hu: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
    """Relative densities of water and bone whose attenuations at 70 keV sum to ``mu``."""
    bone_share = ((hu - WATER_HU) / (BONE_HU - WATER_HU)).clamp(0, 1)
    of_water, of_bone = (float(attenuation(m, [REFERENCE])) for m in ("water", "bone"))
    return (1 - bone_share) * mu / of_water, bone_share * mu / of_bone


@lru_cache(maxsize=32)  # least squares are not bit-identical from call to call
def _water_polynomial(spectrum: Spectrum) -> tuple[float, tuple[float, ...]]:
    """The line integral through 600 mm of water, and the coefficients (from the first power on) of
    the polynomial in line integrals in units of it.
    """
    path = torch.linspace(0, 600, 400, dtype=torch.float64)
    through = -torch.log(transmission({"water": path}, spectrum))
    ideal = path * float(attenuation("water", [REFERENCE]))
    scale = float(through[-1])
    powers = torch.stack([(through / scale) ** p for p in range(1, DEGREE + 1)], 1)
    solution = torch.linalg.lstsq(powers, ideal[:, None]).solution[:, 0]
    return scale, tuple(solution.tolist())
