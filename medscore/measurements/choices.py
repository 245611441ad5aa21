"""The parameters of a simulated scan, and the measurement that a task derives from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medscore.datasets.fit import Fit, square_pixels
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.noise import Noiseless, NoiseModel

MOST_VIEWS, MOST_COILS, MOST_IMPLANTS = 10_000, 256, 1000
"""Largest numbers of views, receiver coils and metal discs."""

MOST_SEED = 2**40 - 1
"""Largest seed."""

MOST_FINER = 8
"""Largest ratio of the pixels of the reconstruction to those of the object."""

KILOVOLTS = (40.0, 150.0)
"""Smallest and largest tube voltage in kV."""


@dataclass(frozen=True)
class Choices:
    """Parameters of a simulated scan; each task uses those that apply to it.

    Attributes:
        views: number of equally spaced views over 180 degrees, or 360 of a cone beam (CT).
        source_distance: distance from the source to the axis in mm (cone-beam CT).
        arc: angular range of limited-angle CT in degrees.
        acceleration: k-space lines over measured lines, centre included, or spokes or arms of a
            complete scan over measured ones (MRI).
        mask: name of the sampling pattern of Cartesian lines (MRI).
        trajectory: ``cartesian``, ``radial`` or ``spiral`` (MRI); the last two without
            off-resonance, and with equally spaced spokes or arms.
        phase: phase of the image (MRI): ``none``, so that its k-space is Hermitian, or ``random``:
            one as scanners measure it (:mod:`~medscore.datasets.collections.phase`), another for
            each slice and seed of the noise.
        coils: number of receiver coils (multicoil MRI).
        maps: coil maps of the reconstruction (multicoil MRI): ``known``, those of the simulation,
            or an estimator that is applied to the simulated data: ``low-resolution`` or
            ``espirit``.
        factor: side of the averaged blocks in pixels (super-resolution).
        blur: standard deviation of the Gaussian blur in pixels (deblurring).
        hidden: share of the image's sides that the hidden box in the middle takes (inpainting).
        implants: metal discs (x, y, radius) in mm from the centre, x to the right and y upwards; by
            default two, whose positions scale with the image.
        finer: how many times finer, at least, than that of the reconstruction the grid of the
            object is that is measured (CT); by default 2 where there is noise, and 1 where there is
            none: the grid and the rays of the reconstruction.
        spectrum: tube voltage in kV of a polychromatic beam, 40 to 150 (CT); by default the beam
            has one energy, or 120 kV where there are metal implants.
        noise: noise model, in the unit of the data.
        seed: seed of random sampling patterns.
    """

    views: int = 23
    arc: float = 120.0
    source_distance: float = 1000.0
    acceleration: float = 4.0
    mask: str = "equispaced"
    trajectory: str = "cartesian"
    phase: str = "none"
    coils: int = 8
    maps: str = "known"
    factor: int = 2
    blur: float = 2.0
    hidden: float = 0.25
    implants: tuple[tuple[float, float, float], ...] = ()
    finer: int | None = None
    spectrum: float | None = None
    noise: NoiseModel = field(default_factory=Noiseless)
    seed: int = 0

    @property
    def refinement(self) -> int:
        """``finer``, or its default."""
        if self.finer is not None:
            return self.finer
        return 1 if isinstance(self.noise, Noiseless) else 2

    @property
    def same_rays(self) -> bool:
        """True if the data of CT without metal are line integrals on the reconstruction's grid."""
        return self.refinement == 1 and self.spectrum is None


@dataclass(frozen=True)
class Grid:
    """The pixel grid of the image to be measured.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        spacing: pixel spacing in mm; where pixels are not square, that of the columns.
        modality: "CT", "MR" or "picture".
        row_spacing: distance between the rows in mm, where pixels are not square.
        matrix: pixels per side of the images to be measured, where they show a square grid's field
            in another number of pixels.
        slices: number of slices.
        slice_spacing: distance between the slices in mm.
    """

    rows: int
    columns: int
    spacing: float
    modality: str
    row_spacing: float | None = None
    matrix: int | None = None
    slices: int = 1
    slice_spacing: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def square(self) -> Fit:
        """The fit to the smallest square grid of square pixels that shows everything."""
        return square_pixels(self.shape, (self.row_spacing or self.spacing, self.spacing))


@dataclass(frozen=True)
class Scan:
    """The measurement process of a task.

    Attributes:
        operator: measurement operator on images in ``image_unit``.
        image_unit: "1/mm", "HU" or "magnitude".
        measure: maps an image (1, 1, H, W), in HU or as a magnitude, to noisy data; of
            ``Grid.matrix`` rows and columns where the grid states it.
        noise: noise to record in the measurement, if not the name of the model.
        with_metal: ``measure`` of a patient with implants, with the image in HU that the scanner
            shows and the share of metal in each pixel, both (1, 1, H, W); ``None`` without
            implants.
        whole: whether ``measure`` takes the whole volume, (1, 1, Z, H, W).
        calibrated: the operator with what is estimated from the data (slices, ...), such as coil
            maps; ``None`` if nothing is.
    """

    operator: Operator
    image_unit: str
    measure: Callable[[Tensor, torch.Generator], Tensor]
    noise: str | None = None
    with_metal: Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor, Tensor]] | None = None
    calibrated: Callable[[Tensor], Operator] | None = None
    whole: bool = False

    def operator_of(self, data: Tensor) -> Operator:
        """The operator that reconstructions of the data use.

        Args:
            data: measurements of all slices, (slices, ...).
        """
        return self.operator if self.calibrated is None else self.calibrated(data)


def check_views(views: int) -> None:
    """Reject an impossible number of views.

    Args:
        views: number of views.

    Raises:
        MedscoreError: it is out of range.
    """
    if not 1 <= views <= MOST_VIEWS:
        raise MedscoreError(f"`views` is {views}", hint=f"use 1 to {MOST_VIEWS}")


def check_seed(seed: int) -> None:
    """Reject a seed that the random generators cannot take.

    Args:
        seed: seed of noise or of a sampling pattern.

    Raises:
        MedscoreError: it is negative, or 2^40 or more.
    """
    if not 0 <= seed <= MOST_SEED:
        raise MedscoreError(f"`seed` is {seed}", hint=f"use 0 to {MOST_SEED}")
