"""Direct reconstructions: filtered back-projection, linear interpolation and zero filling."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.metal import interpolate_trace
from medscore.operators.ct.radon import Radon
from medscore.operators.wrappers.resampled import unwrapped
from medscore.reconstruction.baselines.zero_filled import ZeroFilled

Back = Callable[[Tensor], Tensor]
"""Maps images of the projector's square grid to the grid of the measurement's image."""


def rays_of(operator: Operator, kind: str) -> tuple[Radon | ConeBeam, Back]:
    """Check that an operator measures CT projections of slices or volumes.

    Args:
        operator: the operator.
        kind: name of the baseline that needs it.

    Returns:
        The projector, and the map of its images to those of the operator.

    Raises:
        MedscoreError: another operator.
    """
    found, back = unwrapped(operator)
    return (found, back) if isinstance(found, ConeBeam) else projections(operator, kind)


def projections(operator: Operator, kind: str) -> tuple[Radon, Back]:
    """Check that an operator measures CT projections of slices, and return its projector.

    Args:
        operator: the operator.
        kind: name of the baseline that needs it.

    Returns:
        The projector of a square image, and the map of its images to those of the operator.

    Raises:
        MedscoreError: another operator.
    """
    radon, back = unwrapped(operator)
    if not isinstance(radon, Radon):
        raise MedscoreError(
            f"{kind} reconstructs CT projections of slices, not measurements of {operator!r}",
            hint="use zero-filled, cg-sense, fista-tv or l1-wavelet",
        )
    return radon, back


def measures_rays(operator: Operator) -> bool:
    """True if an operator measures CT projections.

    Args:
        operator: the operator.
    """
    return isinstance(unwrapped(operator)[0], Radon | ConeBeam)


def misses_rays(operator: Operator) -> bool:
    """True if single rays of views are missing, such as those in a metal trace.

    Args:
        operator: the operator.
    """
    return measures_rays(operator) and operator.diagonal.shape[-1] > 1


def filled(operator: Radon, sinogram: Tensor) -> tuple[Radon, Tensor]:
    """Interpolate the missing rays of views that have some measured rays (LI).

    Args:
        operator: the operator.
        sinogram: measurements (batch, 1, views, detectors).

    Returns:
        The operator that measures all rays of these views, and the completed sinogram.
    """
    mask = operator.mask(sinogram)
    seen = mask.bool().any(-1, keepdim=True).to(sinogram)
    return Radon(operator.geometry, seen), seen * interpolate_trace(sinogram, mask)


def direct(operator: Operator, y: Tensor) -> Tensor:
    """Filtered back-projection with interpolated missing rays for CT, zero filling otherwise.

    Args:
        operator: the operator.
        y: measurements (batch, ...) of images in which air or no signal is 0.
    """
    radon, back = unwrapped(operator)
    if not isinstance(radon, Radon | ConeBeam):
        return ZeroFilled().solve(operator, y)
    if isinstance(radon, Radon) and misses_rays(radon):
        radon, y = filled(radon, y)
    return back(radon.fbp(y))
