r"""CT scans of patients with metal, simulated after Yu et al. (2020, IEEE TMI 40(1)).

The clean image is split into water and bone by its HU, metal is put in its place, and each ray adds
up what a polychromatic beam leaves behind it:

.. math:: I = \frac{I_0}{K} \sum_{k=1}^{K} \sum_E w(E)\, e^{-\sum_m \mu_m(E)\, l_{mk}},

with :math:`l_{mk}` the path in material m of the k-th of K thin rays within the detector bin: what
is averaged is intensity, so a bin half in the shadow of metal is darker than half (the partial
volume effect). Photons are counted (Poisson), the logarithm is taken, and the beam hardening of
water is corrected, as scanners do, by a polynomial. What water's correction cannot hint, hardening
by metal and bone, starvation and partial volume, makes the artifacts.

As there: 120 kV, 2e7 photons per ray, a reference of 70 keV, the HU that separate water and bone.
Chosen here, and different from the code in circulation for that paper: metal takes the place of
tissue (there it is added), partial volume by thin rays (there the metal's path in the outermost
detectors of its shadow is quartered), a polynomial of degree 5 up to 600 mm of water (there 3,
500 mm), no scatter (there 20 photons more in each ray), a spectrum from spekpy, and ``clean`` is
ideal (there it is polychromatic and noisy).
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
from medscore.types import Images

REFERENCE = 70.0
"""keV at which corrected line integrals and HU are meant; water has 0.01929/mm there."""

WATER_HU, BONE_HU = 100.0, 1500.0
"""Under the first a pixel is water of some density, over the second bone, between them a mixture
(the thresholds of Zhang and Yu 2018)."""

PHOTONS = 2e7
"""I_0: photons per ray without an object."""

DEGREE = 5
"""Of the polynomial that corrects the beam hardening of water."""


@dataclass(frozen=True)
class MetalScan:
    """A simulated scan; sinograms (batch, 1, views, detectors) at the reference energy.

    Attributes:
        sinogram: as measured with the metal, corrected for water. clean: of the image without the
            metal, ideal. trace: bool, the detector bins of which any ray crosses metal.
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
    """Scan images in HU (batch, 1, H, W) with metal (batch, 1, H, W) in them.

    Args:
        metal: share of each pixel that is metal, 0 to 1 or bool; one for all images, or one each.
        photons: I_0 per ray, or infinity for none of their noise.
        thin_rays: K per detector bin.
        generator: one for the whole batch, which is drawn in order.

    Raises:
        ValueError: shares outside of 0 to 1, no photons, no thin rays, or an unknown material.
        MedscoreError: xraydb is not installed.
    """
    if not photons > 0 or thin_rays < 1:
        raise ValueError(f"photons is {photons} and thin_rays {thin_rays}, expected more than 0")
    if not bool(((metal >= 0) & (metal <= 1)).all()):
        raise ValueError("metal must hold the share of each pixel, 0 to 1")
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
    """Round implants (1, 1, size, size), the share of each pixel they cover, from centres (x, y)
    and radii in mm.
    """
    fine = 8 * size
    axis = (torch.arange(fine, dtype=torch.float64) - (fine - 1) / 2) * (spacing / 8)
    covered = torch.zeros(fine, fine, dtype=torch.bool)
    for (x, y), radius in zip(centres, radii, strict=True):
        covered |= (axis[None, :] - x) ** 2 + (-axis[:, None] - y) ** 2 <= radius**2
    return torch.nn.functional.avg_pool2d(covered.double()[None, None], 8)


def _decompose(hu: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
    """Densities of water and bone relative to their own, which add up to ``mu`` at 70 keV."""
    bone_share = ((hu - WATER_HU) / (BONE_HU - WATER_HU)).clamp(0, 1)
    of_water, of_bone = (float(attenuation(m, [REFERENCE])) for m in ("water", "bone"))
    return (1 - bone_share) * mu / of_water, bone_share * mu / of_bone


def _transmission(paths: dict[str, Tensor], spectrum: Spectrum) -> Tensor:
    """Share of the photons that gets through paths in mm."""
    coefficients = {name: attenuation(name, spectrum.energies) for name in paths}
    total = torch.zeros_like(next(iter(paths.values())))
    for index, weight in enumerate(spectrum.weights):
        stopped = torch.zeros_like(total)
        for name, path in paths.items():
            stopped += float(coefficients[name][index]) * path
        total += weight * torch.exp(-stopped)
    return total


def _correct_water(y: Tensor, spectrum: Spectrum) -> Tensor:
    """Line integrals of a polychromatic beam as if all was water and the beam monochromatic."""
    scale, coefficients = _water_polynomial(spectrum)
    # beyond 600 mm of water, in the shadow of metal, the curve goes on straight
    top = (y / scale).clamp(max=1)
    value, slope = torch.zeros_like(y), 0.0
    for power, coefficient in enumerate(coefficients, start=1):
        value = value + coefficient * top**power
        slope += power * coefficient
    return value + slope * (y / scale - top)


@lru_cache(maxsize=32)  # and the same to the last bit each time, which least squares are not
def _water_polynomial(spectrum: Spectrum) -> tuple[float, tuple[float, ...]]:
    """The line integral through 600 mm of water, and the coefficients from the first power on of
    line integrals in units of it.
    """
    path = torch.linspace(0, 600, 400, dtype=torch.float64)
    through = -torch.log(_transmission({"water": path}, spectrum))
    ideal = path * float(attenuation("water", [REFERENCE]))
    scale = float(through[-1])
    powers = torch.stack([(through / scale) ** p for p in range(1, DEGREE + 1)], 1)
    solution = torch.linalg.lstsq(powers, ideal[:, None]).solution[:, 0]
    return scale, tuple(solution.tolist())
