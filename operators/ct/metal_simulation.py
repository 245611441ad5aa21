r"""Simulated CT scans of patients with metal, following Yu et al. (2020, IEEE TMI 40(1)).

Metal replaces some of the tissue, and each detector sums the intensity of a polychromatic beam
(:mod:`~medscore.operators.ct.transmission`), which causes the partial volume effect in detectors
that metal covers partly. Photon noise (Poisson) is added, the logarithm is taken, and the beam
hardening of water is corrected by a polynomial, as scanners do. The effects that this correction
does not remove cause the artifacts: beam hardening by metal and bone, photon starvation and partial
volume.

As in the paper: 120 kV, 2e7 photons per ray, a reference energy of 70 keV, and the HU thresholds of
water and bone. Different from the published code of that paper: metal replaces tissue (there it is
added), partial volume is computed from thin rays (there the metal path in the outermost detectors
of its trace is quartered), the polynomial has degree 5 up to 600 mm of water (there 3, 500 mm),
there is no scatter (there 20 additional photons per ray), the spectrum is from spekpy, and
``clean`` is ideal (there it is polychromatic and noisy).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.hounsfield import hu_to_mu
from medscore.operators.ct.detector import LEAST_RAYS
from medscore.operators.ct.geometry import FanBeam, ParallelBeam
from medscore.operators.ct.metal import metal_trace
from medscore.operators.ct.projector import project
from medscore.operators.ct.transmission import correct_water, shadow, transmitted
from medscore.operators.ct.xray import Spectrum
from medscore.operators.grid import OperatorError
from medscore.operators.noise import counted
from medscore.types import Images

PHOTONS = 2e7
"""I_0, the number of photons per ray without an object."""

BAND = 64
"""Number of rows of an image of discs that are computed at a time."""


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
    thin_rays: int = LEAST_RAYS,
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
    left = transmitted(
        hu, geometry, spectrum=spectrum, metal=metal, material=material, thin_rays=thin_rays
    )
    sinogram = counted_integrals(left, spectrum, photons, generator=generator)
    mu, share = torch.broadcast_tensors(hu_to_mu(hu.double()), metal.to(hu.double()))
    return MetalScan(
        sinogram.to(hu.dtype),
        project(mu, geometry).to(hu.dtype),
        metal_trace(share > 0, geometry) | shadow(share, geometry, thin_rays=thin_rays),
    )


def counted_integrals(
    left: Tensor,
    spectrum: Spectrum,
    photons: float,
    electronic: float = 0.0,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Line integrals of counted photons, corrected for beam hardening of water.

    Args:
        left: share of the photons that reaches each detector.
        spectrum: spectrum of the X-ray tube.
        photons: I_0, the number of photons per ray; infinity for no noise.
        electronic: standard deviation of the electronic noise in photons.
        generator: a CPU generator.
    """
    if photons != float("inf"):
        counts = counted(photons * left.cpu(), electronic, generator)
        left = counts.to(left) / photons
    return correct_water(-torch.log(left), spectrum)


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
    bands = []
    for rows in axis.split(8 * BAND):  # all rows at once would take 64 times the image's memory
        covered = torch.zeros(len(rows), fine, dtype=torch.bool)
        for (x, y), radius in zip(centres, radii, strict=True):
            covered |= (axis[None, :] - x) ** 2 + (-rows[:, None] - y) ** 2 <= radius**2
        bands.append(torch.nn.functional.avg_pool2d(covered.double()[None, None], 8))
    return torch.cat(bands, -2)
