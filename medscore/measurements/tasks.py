"""What ``medscore simulate --task`` can measure: an image's grid in, an operator and a scan out.

A new task is a function here and its line in ``TASKS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.hounsfield import hu_to_mu
from medscore.measurements.measurement import ATTENUATION, HU, MAGNITUDE
from medscore.operators.base import Operator
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.metal import without_metal
from medscore.operators.ct.metal_simulation import PHOTONS, discs, simulate_metal
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import full_grid, limited_angle, sparse_view
from medscore.operators.ct.xray import tube_spectrum
from medscore.operators.images.blur import Blur, gaussian_kernel
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.operators.mri import masks
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.real_images import Phased
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.noise import (
    ComplexGaussianNoise,
    GaussianNoise,
    Noiseless,
    NoiseModel,
    PoissonNoise,
)

KILOVOLTS = 120.0
"""Of the tube that metal is scanned with."""

SHAPES: dict[str, Callable[[tuple[int, int], float, torch.Generator], Tensor]] = {
    "equispaced": lambda shape, r, g: masks.equispaced(shape, r),
    "random": masks.random_cartesian,
    "variable-density": masks.variable_density_1d,
    "variable-density-2d": masks.variable_density_2d,
}
"""Of k-space masks, by name."""


@dataclass(frozen=True)
class Choices:
    """What the tasks may depend on; each takes what concerns it.

    Attributes:
        views: CT. arc: limited angle, in degrees. acceleration, mask, coils: MRI. factor:
            super-resolution. blur: standard deviation in pixels. hidden: share of the image's sides
            that inpainting hides, a box in the middle. implants: metal discs (x, y, radius) in mm
            from the centre, x to the right and y upwards; by default two, in places that grow with
            the image. noise: in the unit of the data. seed: of masks drawn at random.
    """

    views: int = 23
    arc: float = 120.0
    acceleration: float = 4.0
    mask: str = "equispaced"
    coils: int = 8
    factor: int = 2
    blur: float = 2.0
    hidden: float = 0.25
    implants: tuple[tuple[float, float, float], ...] = ()
    noise: NoiseModel = field(default_factory=Noiseless)
    seed: int = 0


@dataclass(frozen=True)
class Grid:
    """The image: rows and columns, pixel spacing in mm, modality."""

    rows: int
    columns: int
    spacing: float
    modality: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns


@dataclass(frozen=True)
class Scan:
    """How a task measures.

    Attributes:
        operator: on images in ``image_unit``. measure: image (1, 1, H, W) in HU or as magnitude to
            data, noise and all. noise: what the file says of the noise, if not the model's name.
    """

    operator: Operator
    image_unit: str
    measure: Callable[[Tensor, torch.Generator], Tensor]
    noise: str | None = None


def sparse_ct(grid: Grid, c: Choices) -> Scan:
    """``views`` equally spaced views over 180 degrees."""
    return _ct(sparse_view(_side(grid), grid.spacing, c.views), c)


def limited_angle_ct(grid: Grid, c: Choices) -> Scan:
    """All views of an arc."""
    if not 0 < c.arc <= 180:
        raise MedscoreError(f"--arc is {c.arc:g} degrees", hint="use more than 0, at most 180")
    return _ct(limited_angle(_side(grid), grid.spacing, 0.0, math.radians(c.arc)), c)


def mar(grid: Grid, c: Choices) -> Scan:
    """A scan of a patient with metal, the rays through it dropped."""
    side = _side(grid)
    return _metal(sparse_view(side, grid.spacing, full_grid(1, side)), c)


def sparse_mar(grid: Grid, c: Choices) -> Scan:
    """The same with few views."""
    return _metal(sparse_view(_side(grid), grid.spacing, c.views), c)


def mri(grid: Grid, c: Choices) -> Scan:
    """Undersampled k-space of one coil; a magnitude image has no phase."""
    return _mri(Fourier(_mask(grid, c)), c)


def mri_multicoil(grid: Grid, c: Choices) -> Scan:
    """Undersampled k-space of coils around the image, whose sensitivities are known."""
    if not 1 <= c.coils <= 256:
        raise MedscoreError(f"--coils is {c.coils}", hint="use 1 to 256")
    return _mri(MulticoilFourier(birdcage(c.coils, *grid.shape), _mask(grid, c)), c)


def inpaint(grid: Grid, c: Choices) -> Scan:
    """All pixels but a box in the middle."""
    if not 0 < c.hidden < 1:
        raise MedscoreError(f"--hidden is {c.hidden:g}", hint="use more than 0, less than 1")
    known = torch.ones(grid.shape, dtype=torch.bool)
    (top, height), (left, width) = (
        (round(n * (1 - c.hidden) / 2), round(n * c.hidden)) for n in grid.shape
    )
    known[top : top + height, left : left + width] = False
    return _pixels(Inpainting(known), grid, c)


def super_resolution(grid: Grid, c: Choices) -> Scan:
    """Means over blocks of ``factor`` x ``factor`` pixels."""
    try:
        return _pixels(SuperResolution(*grid.shape, c.factor), grid, c)
    except ValueError as error:
        raise MedscoreError(f"--factor: {error}", hint="use 2 or 4") from error


def deblur(grid: Grid, c: Choices) -> Scan:
    """A Gaussian blur."""
    if not 0 < c.blur <= min(grid.shape) / 9:
        raise MedscoreError(
            f"--blur is {c.blur:g} pixels",
            hint=f"use more than 0, at most {min(grid.shape) / 9:.3g}",
        )
    return _pixels(Blur(gaussian_kernel(c.blur), *grid.shape), grid, c)


TASKS: dict[str, Callable[[Grid, Choices], Scan]] = {
    "sparse-ct": sparse_ct,
    "limited-angle": limited_angle_ct,
    "mar": mar,
    "sparse-mar": sparse_mar,
    "mri": mri,
    "mri-multicoil": mri_multicoil,
    "inpaint": inpaint,
    "sr": super_resolution,
    "deblur": deblur,
}

NEEDS = {
    "sparse-ct": "CT", "limited-angle": "CT", "mar": "CT", "sparse-mar": "CT",
    "mri": "MR", "mri-multicoil": "MR",
}  # fmt: skip
"""The modality of the image; other tasks take either."""

WITH_METAL = ("mar", "sparse-mar")
"""Tasks whose patients have implants."""


def _ct(operator: Radon, c: Choices) -> Scan:
    return Scan(operator, ATTENUATION, _plain(operator, c.noise, hu_to_mu))


def _metal(full: Radon, c: Choices) -> Scan:
    if not isinstance(c.noise, Noiseless | PoissonNoise) or (
        isinstance(c.noise, PoissonNoise) and c.noise.electronic
    ):
        raise MedscoreError("metal is scanned with photons", hint="use --noise poisson:PHOTONS")
    size, spacing = full.geometry.size, full.geometry.spacing
    shares = implants(size, spacing, c)
    if not bool(shares.any()):
        raise MedscoreError("no implant lies in the image", hint="give --implant X,Y,RADIUS in mm")
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

    return Scan(operator, ATTENUATION, measure, noise="estimate:uniform")


def implants(size: int, spacing: float, c: Choices) -> Tensor:
    """The share of each pixel that metal covers, (1, 1, size, size)."""
    reach = 0.15 * size * spacing
    places = c.implants or ((-reach, 0.0, 5.0), (reach, -reach / 3, 7.0))
    return discs(size, spacing, [(x, y) for x, y, _ in places], [r for *_, r in places])


def metal_pixels(task: str, grid: Grid, c: Choices) -> Tensor | None:
    """Pixels (H, W) bool with metal in them; ``None`` where the task has none."""
    if task not in WITH_METAL:
        return None
    return implants(grid.columns, grid.spacing, c)[0, 0] > 0


def _mri(operator: Operator, c: Choices) -> Scan:
    real = Phased(operator, torch.ones(operator.image_shape[-2:], dtype=torch.complex64))
    noise = c.noise
    if isinstance(noise, PoissonNoise):
        raise MedscoreError("a receiver counts no photons", hint="use --noise gaussian:STD")
    if isinstance(noise, GaussianNoise):
        noise = ComplexGaussianNoise(noise.std)
    return Scan(real, MAGNITUDE, _plain(real, noise))


def _pixels(operator: Operator, grid: Grid, c: Choices) -> Scan:
    if isinstance(c.noise, PoissonNoise):
        raise MedscoreError("pixels count no photons", hint="use --noise gaussian:STD")
    unit = HU if grid.modality == "CT" else MAGNITUDE
    return Scan(operator, unit, _plain(operator, c.noise))


def _plain(
    operator: Operator, noise: NoiseModel, to_unit: Callable[[Tensor], Tensor] = lambda x: x
) -> Callable[[Tensor, torch.Generator], Tensor]:
    def measure(image: Tensor, generator: torch.Generator) -> Tensor:
        y = operator.forward(to_unit(image))
        return noise(y, operator.mask(y), generator)

    return measure


def kspace_mask(shape: tuple[int, int], name: str, acceleration: float, seed: int) -> Tensor:
    """The mask (ky, kx) of that name in ``SHAPES``.

    Raises:
        MedscoreError: no such mask, or an acceleration that it cannot have.
    """
    if name not in SHAPES:
        raise MedscoreError(f"--mask {name!r}", hint=f"use one of: {', '.join(SHAPES)}")
    try:
        return SHAPES[name](shape, acceleration, torch.Generator().manual_seed(seed))
    except ValueError as error:
        raise MedscoreError(f"--acceleration {acceleration:g}: {error}", hint="use 4") from error


def _mask(grid: Grid, c: Choices) -> Tensor:
    return kspace_mask(grid.shape, c.mask, c.acceleration, c.seed)


def _side(grid: Grid) -> int:
    if grid.rows != grid.columns:
        raise MedscoreError(
            f"slices are {grid.rows}x{grid.columns}", hint="pad or crop them to a square"
        )
    return grid.rows
