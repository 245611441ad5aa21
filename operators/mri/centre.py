"""The centre of k-space: where an operator samples it, on a grid or along a trajectory."""

from __future__ import annotations

import math

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.fourier import Fourier, fft2c
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.mri.real_images import Phased, TwoChannels
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.resampled import Resampled
from medscore.operators.wrappers.restricted import Restricted

IMAGE_TOL, IMAGE_STEPS = 1e-2, 20
"""Tolerance and conjugate-gradient steps of the images from which the centre of non-Cartesian data
is computed; it converges first."""

WRAPPERS = Phased | TwoChannels | Padded | Resampled | Restricted
"""Operators whose measurements are those of the operator inside."""

NEAR = 0.65
"""Distance in Cartesian samples up to which a sample determines k-space around it: lines of samples
may be twice as far apart, a little more than those of a complete sampling."""


def scanner(operator: Operator) -> Operator:
    """The operator inside of all wrappers.

    Args:
        operator: any operator.
    """
    while isinstance(operator, WRAPPERS):
        operator = operator.inner
    return operator


def is_cartesian(operator: Operator) -> bool:
    """True if the measurements of an operator are k-space on its grid.

    Args:
        operator: any operator.
    """
    return isinstance(scanner(operator), Fourier | MulticoilFourier)


def sampled_cells(operator: NonuniformFourier | MulticoilNonuniform) -> Tensor:
    """The points of the Cartesian grid (H, W) of k-space that have a measured sample near them.

    Args:
        operator: the scan along a trajectory; of masks for several images, what all have counts.
    """
    height, width = operator.image_shape[-2:]
    measured = operator.diagonal.reshape(-1, operator.grid_shape[-1]).bool().all(0)
    ky, kx = operator.trajectory[:, measured] / (2 * math.pi)
    samples = cKDTree(torch.stack([ky * height, kx * width], dim=1).numpy())
    points = torch.cartesian_prod(
        torch.arange(height) - height // 2, torch.arange(width) - width // 2
    )
    distance, _ = samples.query(points.numpy(), distance_upper_bound=2 * NEAR)
    return torch.from_numpy(distance <= NEAR).reshape(height, width)


def gridded(operator: NonuniformFourier | MulticoilNonuniform, y: Tensor) -> Tensor:
    """k-space (batch, coil, ky, kx) on the Cartesian grid, by the left inverse of what is measured.

    It is right where the trajectory samples k-space completely, as in its centre.

    Args:
        operator: the scan along a trajectory.
        y: measurements (batch, coil, samples).
    """
    masks = operator.diagonal.reshape(-1, operator.grid_shape[-1])
    if len(masks) == 1:
        return _gridded(operator, masks[0], y)
    return torch.cat([_gridded(operator, m, one[None]) for m, one in zip(masks, y, strict=True)])


def _gridded(
    operator: NonuniformFourier | MulticoilNonuniform, measured: Tensor, y: Tensor
) -> Tensor:
    height, width = operator.image_shape[-2:]
    trajectory = operator.trajectory[:, measured]
    alone = NonuniformFourier(
        trajectory, torch.ones(trajectory.shape[1], dtype=torch.bool), height, width
    )
    each = y[..., measured].flatten(0, 1)[:, None]  # a coil converges on its own
    images = alone.pinv(each, tol=IMAGE_TOL, max_iter=IMAGE_STEPS).x
    return fft2c(images[:, 0].unflatten(0, y.shape[:2]))
