r"""Simulated CT scans of patients with metal, following Yu et al. (2020, IEEE TMI 40(1)).

The clean image is decomposed into water and bone by its HU, metal replaces some of the tissue, and
each ray sums the transmitted intensity of a polychromatic beam:

.. math:: I = \frac{I_0}{K} \sum_{k=1}^{K} \sum_E w(E)\, e^{-\sum_m \mu_m(E)\, l_{mk}},

with :math:`l_{mk}` the path in material m of the k-th of K thin rays within the detector bin. The
intensity is averaged, not the line integral, which causes the partial volume effect in bins that
metal covers partly. Photon noise (Poisson) is added, the logarithm is taken, and the beam hardening
of water is corrected by a polynomial, as scanners do. The effects that this correction does not
remove cause the artifacts: beam hardening by metal and bone, photon starvation and partial volume.

As in the paper: 120 kV, 2e7 photons per ray, a reference energy of 70 keV, and the HU thresholds of
water and bone. Different from the published code of that paper: metal replaces tissue (there it is
added), partial volume is computed from thin rays (there the metal path in the outermost detectors
of its trace is quartered), the polynomial has degree 5 up to 600 mm of water (there 3, 500 mm),
there is no scatter (there 20 additional photons per ray), the spectrum is from spekpy, and
``clean`` is ideal (there it is polychromatic and noisy).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from medscore.hounsfield import hu_to_mu
from medscore.operators.ct.geometry import FanBeam, ParallelBeam
from medscore.operators.ct.metal import metal_trace
from medscore.operators.ct.projector import project
from medscore.operators.ct.xray import Spectrum, attenuation
from medscore.operators.grid import OperatorError
from medscore.types import Images

REFERENCE = 70.0
"""Energy in keV of corrected line integrals and HU, where water has 0.01929/mm."""

WATER_HU, BONE_HU = 100.0, 1500.0
"""A pixel below the first is water of some density, above the second bone, between them a mixture
(thresholds of Zhang and Yu 2018)."""

PHOTONS = 2e7
"""I_0, the number of photons per ray without an object."""

DEGREE = 5
"""Degree of the polynomial that corrects the beam hardening of water."""


@dataclass(frozen=True)
class MetalScan:
    """A simulated scan; sinograms (batch, 1, views, detectors) at the reference energy.

    Attributes:
        sinogram: measurement with the metal, corrected for beam hardening of water.
        clean: ideal line integrals of the image without the metal.
        trace: bool, the detector bins in which any thin ray crosses metal.
    """

    sinogram: Tensor
    clean: Tensor
    trace: Tensor


def simulate_metal(
    hu: Images,
    metal: Tensor,
    geometry: ParallelBeam | FanBeam,
    spectrum: Spectrum,
    *,
    material: str = "titanium",
    photons: float = PHOTONS,
    thin_rays: int = 3,
    generator: torch.Generator,
) -> MetalScan:
    """Simulate a scan of images with metal in them.

    Args:
        hu: images in HU, (batch, 1, H, W).
        metal: share of metal in each pixel, 0 to 1 or bool, (1 or batch, 1, H, W).
        geometry: the scan.
        spectrum: spectrum of the X-ray tube.
        material: material of the metal, a name in :data:`~medscore.operators.ct.xray.MATERIALS`.
        photons: I_0, the number of photons per ray; infinity for no photon noise.
        thin_rays: K, the number of thin rays per detector bin.
        generator: a CPU generator for the whole batch, from which the photon noise is drawn.

    Raises:
        OperatorError: shares outside of 0 to 1, no photons, no thin rays, or an unknown material.
        MedscoreError: xraydb is not installed.
    """
    if not photons > 0 or thin_rays < 1:
        raise OperatorError(
            f"`photons` is {photons} and `thin_rays` {thin_rays}, expected positive numbers"
        )
    if not bool(((metal >= 0) & (metal <= 1)).all()):
        raise OperatorError("`metal` must be the share of metal in each pixel, 0 to 1")
    mu = hu_to_mu(hu.double())
    mu, share = torch.broadcast_tensors(mu, metal.to(mu))
    thin = replace(
        geometry,
        detectors=thin_rays * geometry.detectors,
        detector_spacing=geometry.detector_spacing / thin_rays,
    )
    water, bone = _decompose(hu.double(), mu)
    paths = {
        "water": project(water * (1 - share), thin),
        "bone": project(bone * (1 - share), thin),
        material: project(share, thin),
    }
    left = _transmission(paths, spectrum)
    bins = geometry.detectors, thin_rays
    left = left.unflatten(-1, bins).mean(-1)
    if photons != float("inf"):
        left = torch.poisson(photons * left.cpu(), generator=generator).to(left) / photons
        left = left.clamp_min(1 / photons)
    sinogram = _correct_water(-torch.log(left), spectrum)
    return MetalScan(
        sinogram.to(hu.dtype),
        project(mu, geometry).to(hu.dtype),
        metal_trace(share > 0, geometry) | (paths[material] > 0).unflatten(-1, bins).any(-1),
    )


def discs(
    size: int, spacing: float, centres: list[tuple[float, float]], radii: list[float]
) -> Tensor:
    """Circular implants: the share of each pixel that they cover, (1, 1, size, size) float64.

    Args:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        centres: centre (x, y) of each disc in mm.
        radii: radius of each disc in mm.

    Raises:
        OperatorError: a radius is not positive.
    """
    for radius in radii:
        if not radius > 0:
            raise OperatorError(f"`radii` contains {radius:g}", hint="use positive numbers in mm")
    fine = 8 * size
    axis = (torch.arange(fine, dtype=torch.float64) - (fine - 1) / 2) * (spacing / 8)
    covered = torch.zeros(fine, fine, dtype=torch.bool)
    for (x, y), radius in zip(centres, radii, strict=True):
        covered |= (axis[None, :] - x) ** 2 + (-axis[:, None] - y) ** 2 <= radius**2
    return torch.nn.functional.avg_pool2d(covered.double()[None, None], 8)


def _decompose(hu: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
    """Relative densities of water and bone whose attenuations at 70 keV sum to ``mu``."""
    bone_share = ((hu - WATER_HU) / (BONE_HU - WATER_HU)).clamp(0, 1)
    of_water, of_bone = (float(attenuation(m, [REFERENCE])) for m in ("water", "bone"))
    return (1 - bone_share) * mu / of_water, bone_share * mu / of_bone


def _transmission(paths: dict[str, Tensor], spectrum: Spectrum) -> Tensor:
    """Share of the photons that is transmitted along paths in mm."""
    coefficients = {name: attenuation(name, spectrum.energies) for name in paths}
    total = torch.zeros_like(next(iter(paths.values())))
    for index, weight in enumerate(spectrum.weights):
        stopped = torch.zeros_like(total)
        for name, path in paths.items():
            stopped += float(coefficients[name][index]) * path
        total += weight * torch.exp(-stopped)
    return total


def _correct_water(y: Tensor, spectrum: Spectrum) -> Tensor:
    """Line integrals corrected for beam hardening, as if all material were water."""
    scale, coefficients = _water_polynomial(spectrum)
    # beyond 600 mm of water, behind metal, the curve is extrapolated linearly
    top = (y / scale).clamp(max=1)
    value, slope = torch.zeros_like(y), 0.0
    for power, coefficient in enumerate(coefficients, start=1):
        value = value + coefficient * top**power
        slope += power * coefficient
    return value + slope * (y / scale - top)


@lru_cache(maxsize=32)  # least squares are not bit-identical from call to call
def _water_polynomial(spectrum: Spectrum) -> tuple[float, tuple[float, ...]]:
    """The line integral through 600 mm of water, and the coefficients (from the first power on) of
    the polynomial in line integrals in units of it.
    """
    path = torch.linspace(0, 600, 400, dtype=torch.float64)
    through = -torch.log(_transmission({"water": path}, spectrum))
    ideal = path * float(attenuation("water", [REFERENCE]))
    scale = float(through[-1])
    powers = torch.stack([(through / scale) ** p for p in range(1, DEGREE + 1)], 1)
    solution = torch.linalg.lstsq(powers, ideal[:, None]).solution[:, 0]
    return scale, tuple(solution.tolist())
