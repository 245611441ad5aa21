"""Simulated CT of patients with metal implants (Song et al. 2022, B.6.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.hounsfield import mu_to_hu
from medscore.measurements.choices import Choices, Grid, Scan
from medscore.measurements.measurement import ATTENUATION
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.metal import without_metal
from medscore.operators.ct.metal_simulation import PHOTONS, discs, simulate_metal
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.xray import tube_spectrum
from medscore.operators.noise import Noiseless, PoissonNoise

KILOVOLTS = 120.0
"""Tube voltage of the simulated scan."""

TRACE_OF_METAL = 1e-3
"""Share of metal from which an interpolated pixel counts as metal."""

WITH_METAL = ("mar", "sparse-mar")
"""Tasks whose patients have implants."""


def metal_scan(full: Radon, c: Choices) -> Scan:
    """A polychromatic scan with metal, whose rays through metal are dropped.

    Args:
        full: Radon transform with the views of the scan.
        c: parameters of the scan.

    Raises:
        MedscoreError: the noise is not that of photon counting, or no implant lies in the image.
    """
    if not isinstance(c.noise, Noiseless | PoissonNoise) or (
        isinstance(c.noise, PoissonNoise) and c.noise.electronic
    ):
        raise MedscoreError(
            "scans with metal are simulated with photons",
            hint="set `noise` to poisson:PHOTONS",
        )
    size, spacing = full.geometry.size, full.geometry.spacing
    shares = implants(size, spacing, c)
    if not bool(shares.any()):
        raise MedscoreError(
            "no implant lies in the image", hint="set `implants` to X,Y,RADIUS in mm"
        )
    spectrum = tube_spectrum(KILOVOLTS)
    geometry = full.geometry
    assert isinstance(geometry, ParallelBeam)

    def scan(hu: Tensor, generator: torch.Generator, photons: float) -> tuple[Tensor, Tensor]:
        made = simulate_metal(
            hu, shares, geometry, spectrum, photons=photons, generator=generator
        )  # fmt: skip
        return made.sinogram.float(), made.trace

    air = torch.full((1, 1, size, size), -1000.0)
    _, trace = scan(air, torch.Generator(), math.inf)
    operator = Radon(geometry, without_metal(full.diagonal, trace)[0, 0])
    photons = PHOTONS if isinstance(c.noise, Noiseless) else c.noise.photons

    def measure(hu: Tensor, generator: torch.Generator) -> Tensor:
        y, _ = scan(hu, generator, photons)
        return operator.mask(y) * y

    def with_metal(hu: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        y, _ = scan(hu, generator, photons)
        affected = mu_to_hu(full.fbp(full.mask(y) * y))
        return operator.mask(y) * y, affected, shares

    return Scan(operator, ATTENUATION, measure, "estimate:uniform", with_metal)


def implants(size: int, spacing: float, c: Choices) -> Tensor:
    """Share of each pixel that metal covers, (1, 1, size, size).

    Args:
        size: pixels per side.
        spacing: pixel spacing in mm.
        c: parameters of the scan, with the positions of the implants.

    Raises:
        MedscoreError: a radius is not positive.
    """
    reach = 0.15 * size * spacing
    places = c.implants or ((-reach, 0.0, 5.0), (reach, -reach / 3, 7.0))
    for x, y, radius in places:
        if not radius > 0:
            raise MedscoreError(
                f"`implants` has a disc ({x:g}, {y:g}, {radius:g}), whose radius is not positive",
                hint="use X,Y,RADIUS in mm, such as 0,0,5",
            )
    return discs(size, spacing, [(x, y) for x, y, _ in places], [r for *_, r in places])


def metal_pixels(task: str, grid: Grid, c: Choices) -> Tensor | None:
    """Pixels (H, W) bool that contain metal; ``None`` for tasks without implants.

    Args:
        task: name of the task.
        grid: the image's grid.
        c: parameters of the scan.
    """
    if task not in WITH_METAL:
        return None
    fit = grid.square
    spacing = min(grid.spacing, grid.row_spacing or grid.spacing)
    shares = implants(fit.shape[0], spacing, c)[0, 0]
    return torch.from_numpy(fit.undo(shares.numpy())) > (0 if fit.trivial else TRACE_OF_METAL)
