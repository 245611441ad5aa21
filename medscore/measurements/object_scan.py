r"""CT of an object on a finer grid than that of its reconstruction.

Data that are line integrals of the reconstruction's own pixels are an inverse crime: the operator
explains them exactly, which no scanner's data are. Here the object is the image in its own matrix
or a finer one (:mod:`~medscore.measurements.refined`), over the same field, and each reading is the
mean intensity of thin rays across the detector (:mod:`~medscore.operators.ct.detector`). Angles and
detectors, in mm, are those of the operator that reconstructs the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from medscore.datasets.volume import AIR
from medscore.errors import MedscoreError
from medscore.io.budget import memory_budget
from medscore.measurements.choices import Choices, Grid
from medscore.measurements.refined import refined
from medscore.operators.ct import transmission
from medscore.operators.ct.backends.base import Views
from medscore.operators.ct.detector import LEAST_RAYS, rays_per_detector
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.metal_simulation import counted_integrals
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.views import onto_all_views
from medscore.operators.ct.xray import Spectrum, tube_spectrum
from medscore.operators.noise import Noiseless, NoiseModel, PoissonNoise

KEPT = 256
"""Largest side of an object whose rays are kept for further images, as for training; those of a
larger one, of which few images are measured, are computed for each."""

MANY = 4
"""More than one in so many views take longer than all, if symmetries cannot be used for them."""

ARRAYS = 6
"""Number of arrays of the object's size, in float64, that a simulation keeps in memory."""


@dataclass(frozen=True)
class ObjectScan:
    """The rays of a scan on the pixel grid of the object.

    Attributes:
        factor: pixels of the object along each side of one of the image's.
        geometry: the scan; its ``size`` and ``spacing`` are those of the object.
        thin_rays: number of thin rays across each detector.
        views: the views of ``geometry`` that are computed; all by default.
        places: places of these views among those of the operator.
        grid_views: number of views of the operator.
        backend: see :func:`~medscore.operators.ct.projector.choose`. The matrix of a finer grid is
            used once for each slice and may take gigabytes: it is computed in pieces, not stored.
    """

    factor: int
    geometry: ParallelBeam
    thin_rays: int
    views: Views | None
    places: Tensor
    grid_views: int
    backend: str

    def object_of(self, hu: Tensor) -> Tensor:
        """The object of an image (1, 1, H, W) in HU; in float64 if it is finer.

        Args:
            hu: the image.
        """
        if self.factor == 1:
            return hu
        image = hu[0, 0].clamp_min(AIR).cpu().double().numpy()
        return torch.from_numpy(refined(image, self.factor, AIR))[None, None].to(hu.device)

    def transmitted(
        self, hu: Tensor, spectrum: Spectrum | None = None, metal: Tensor | None = None
    ) -> Tensor:
        """The share of the photons that reaches each detector in the views that are computed.

        Args:
            hu: the image (1, 1, H, W) in HU.
            spectrum: spectrum of the X-ray tube; ``None`` for a beam of one energy.
            metal: share of metal in each pixel of the object, (1, 1, size, size).
        """
        return transmission.transmitted(
            self.object_of(hu), self.geometry, spectrum=spectrum, metal=metal,
            thin_rays=self.thin_rays, views=self.views, backend=self.backend,
        )  # fmt: skip

    def shadow(self, metal: Tensor) -> Tensor:
        """The rays that cross metal, on all views of the operator.

        Args:
            metal: share of metal in each pixel of the object, (1, 1, size, size).
        """
        found = transmission.shadow(
            metal, self.geometry, thin_rays=self.thin_rays, views=self.views, backend=self.backend
        )
        return self.on_all_views(found)

    def on_all_views(self, y: Tensor) -> Tensor:
        """Data of the computed views on all views of the operator, zero elsewhere.

        Args:
            y: data (1, 1, views, detectors).
        """
        return onto_all_views(y, self.places, self.grid_views, -2)


def object_scan(operator: Radon, grid: Grid, c: Choices, *, every_view: bool = False) -> ObjectScan:
    """The scan of the object that an operator reconstructs.

    Args:
        operator: operator of the reconstruction.
        grid: its grid, with the matrix of the images that are measured.
        c: parameters of the scan.
        every_view: whether all views of the operator are computed, also where few are measured.

    Raises:
        MedscoreError: the object would not fit into the memory budget.
    """
    full = operator.geometry
    assert isinstance(full, ParallelBeam)
    matrix = grid.matrix or full.size
    factor = math.ceil(c.refinement * full.size / matrix - 1e-9)
    side = factor * matrix
    if ARRAYS * 8 * side**2 > memory_budget():
        raise MedscoreError(
            f"`finer` is {c.refinement}, which makes an object of {side} x {side} pixels",
            hint="use a smaller one, or a smaller image",
        )
    geometry = replace(full, size=side, spacing=full.size * full.spacing / side)
    every, places = torch.arange(full.views), operator.measured.nonzero()[:, 0]
    step = full.views // len(places)
    if every_view or (MANY * len(places) > full.views and not torch.equal(places, every[::step])):
        step, places = 1, every
    views: Views | None = tuple(places.tolist())
    if torch.equal(places, every[::step]):  # equally spaced: with the symmetries of the square
        geometry, views = replace(geometry, views=len(places)), None
    same = side == full.size
    return ObjectScan(
        factor=factor,
        geometry=geometry,
        thin_rays=LEAST_RAYS if same else rays_per_detector(geometry),
        views=views,
        places=places,
        grid_views=full.views,
        backend="auto" if same or side <= KEPT else "chunked",
    )


def object_measure(
    operator: Radon, grid: Grid, c: Choices
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """The measurement of an object by CT without metal.

    Args:
        operator: operator of the reconstruction.
        grid: its grid, with the matrix of the images that are measured.
        c: parameters of the scan.

    Raises:
        MedscoreError: as :func:`object_scan`, or the noise is not that of photon counting although
            the beam has a spectrum, or a package for the spectrum is not installed.
    """
    scanned = object_scan(operator, grid, c)
    if c.spectrum is None:

        def of_one_energy(hu: Tensor, generator: torch.Generator) -> Tensor:
            y = -torch.log(scanned.transmitted(hu))
            noisy = c.noise(y, torch.ones_like(y), generator)
            noisy = scanned.on_all_views(noisy).to(hu.dtype)
            return operator.mask(noisy) * noisy

        return of_one_energy
    photons, electronic = photons_of(c.noise, "scans with a spectrum")
    spectrum = spectrum_of(c.spectrum)

    def polychromatic(hu: Tensor, generator: torch.Generator) -> Tensor:
        left = scanned.transmitted(hu, spectrum)
        y = counted_integrals(left, spectrum, photons, electronic, generator=generator)
        y = scanned.on_all_views(y).to(hu.dtype)
        return operator.mask(y) * y

    return polychromatic


@lru_cache(maxsize=32)
def spectrum_of(kilovolts: float) -> Spectrum:
    """The spectrum of a tube; spekpy takes a second to compute it.

    Args:
        kilovolts: tube voltage.

    Raises:
        MedscoreError: spekpy is not installed.
    """
    return tube_spectrum(kilovolts)


def photons_of(noise: NoiseModel, what: str) -> tuple[float, float]:
    """The photons per ray, infinity without noise, and the standard deviation of electronic noise.

    Args:
        noise: the noise model.
        what: what is simulated, for the message.

    Raises:
        MedscoreError: the noise is not that of photon counting.
    """
    if isinstance(noise, Noiseless):
        return math.inf, 0.0
    if not isinstance(noise, PoissonNoise):
        raise MedscoreError(
            f"{what} are simulated with photons", hint="set `noise` to poisson:PHOTONS"
        )
    return noise.photons, noise.electronic
