"""Closed-form reconstructions, from which iterations and networks start."""

from __future__ import annotations

from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.ct.metal import interpolate_trace
from medscore.operators.ct.radon import Radon


def projections(operator: Operator, kind: str) -> Radon:
    """The operator, if it measures CT projections.

    Args:
        operator: the operator.
        kind: name of the baseline that needs it.

    Raises:
        MedscoreError: another operator.
    """
    if not isinstance(operator, Radon):
        raise MedscoreError(
            f"{kind} reconstructs CT projections, not measurements of {operator!r}",
            hint="use zero-filled, cg-sense, fista-tv or l1-wavelet",
        )
    return operator


def misses_rays(operator: Operator) -> bool:
    """Whether single rays of a view are missing, as in a metal trace.

    Args:
        operator: the operator.
    """
    return isinstance(operator, Radon) and operator.diagonal.shape[-1] > 1


def filled(operator: Radon, sinogram: Tensor) -> tuple[Radon, Tensor]:
    """Interpolate missing rays in the views that have some measured rays (LI).

    Returns the operator that measures all rays of these views, and the sinogram.

    Args:
        operator: the operator.
        sinogram: measurements (batch, 1, views, detectors).
    """
    mask = operator.mask(sinogram)
    seen = mask.bool().any(-1, keepdim=True).to(sinogram)
    return Radon(operator.geometry, seen), seen * interpolate_trace(sinogram, mask)


def direct(operator: Operator, y: Tensor) -> Tensor:
    """Filtered back-projection with missing rays interpolated for CT, else zero filling.

    Args:
        operator: the operator.
        y: measurements (batch, ...) of images in which air, or no signal, is 0.
    """
    if not isinstance(operator, Radon):
        return operator.zero_filled(y)
    if misses_rays(operator):
        operator, y = filled(operator, y)
    return operator.fbp(y)
