"""Simulated CT of patients with metal implants (Song et al. 2022, B.6.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.hounsfield import mu_to_hu
from medscore.measurements.choices import Choices, Grid, Scan
from medscore.measurements.measurement import ATTENUATION
from medscore.measurements.noise_model import and_more
from medscore.measurements.object_scan import object_scan, photons_of, spectrum_of
from medscore.operators.ct.metal import metal_trace, without_metal
from medscore.operators.ct.metal_simulation import PHOTONS, counted_integrals, discs
from medscore.operators.ct.radon import Radon
from medscore.operators.noise import Noiseless

KILOVOLTS = 120.0
"""Tube voltage of the simulated scan, unless another is chosen."""

TRACE_OF_METAL = 1e-3
"""Share of metal from which an interpolated pixel counts as metal."""

WITH_METAL = ("mar", "sparse-mar")
"""Tasks whose patients have implants."""


def metal_scan(full: Radon, grid: Grid, c: Choices) -> Scan:
    """A polychromatic scan with metal, whose rays through metal are dropped.

    Args:
        full: Radon transform with the views of the scan.
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the noise is not that of photon counting, or no implant lies in the image.
    """
    photons, electronic = photons_of(c.noise, "scans with metal")
    photons = PHOTONS if isinstance(c.noise, Noiseless) else photons
    geometry = full.geometry
    shares = implants(geometry.size, geometry.spacing, c)
    if not bool(shares.any()):
        raise MedscoreError(
            "no implant lies in the image", hint="set `implants` to X,Y,RADIUS in mm"
        )
    spectrum = spectrum_of(c.spectrum or KILOVOLTS)
    scanned = object_scan(full, grid, c, every_view=c.refinement == 1)
    metal = implants(scanned.geometry.size, scanned.geometry.spacing, c)
    trace = metal_trace(shares > 0, geometry) | scanned.shadow(metal)
    operator = Radon(geometry, without_metal(full.diagonal, trace)[0, 0])

    def scan(hu: Tensor, generator: torch.Generator) -> Tensor:
        left = scanned.transmitted(hu, spectrum, metal)
        y = counted_integrals(left, spectrum, photons, electronic, generator=generator)
        return scanned.on_all_views(y).float()

    def measure(hu: Tensor, generator: torch.Generator) -> Tensor:
        y = scan(hu, generator)
        return operator.mask(y) * y

    def with_metal(hu: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        y = scan(hu, generator)
        affected = mu_to_hu(full.fbp(full.mask(y) * y))
        return operator.mask(y) * y, affected, shares

    return Scan(operator, ATTENUATION, measure, and_more(c.noise), with_metal)


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
