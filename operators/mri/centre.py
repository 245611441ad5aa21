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

WRAPPERS = Phased | TwoChannels | Padded | Resampled | Restricted
"""Operators whose measurements are those of the operator inside."""

NEAR = 0.65
"""Distance in Cartesian samples up to which a sample determines k-space around it: lines of samples
may be twice as far apart, a little more than those of a complete sampling."""

IMAGE_TOL = 1e-2
"""Tolerance of the images from which the centre of non-Cartesian data is computed."""


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
    """k-space (batch, coil, ky, kx) on the Cartesian grid: that of the image of least norm.

    It is right where the trajectory samples k-space completely, as in its centre.

    Args:
        operator: the scan along a trajectory.
        y: measurements (batch, coil, samples).
    """
    height, width = operator.image_shape[-2:]
    masks = operator.diagonal.reshape(-1, operator.grid_shape[-1])
    mask = masks[0] if len(masks) == 1 else masks[:, None]
    alone = NonuniformFourier(operator.trajectory, mask, height, width)
    coils = [alone.pinv(coil, tol=IMAGE_TOL).x for coil in y.split(1, dim=1)]
    return fft2c(torch.cat(coils, dim=1))
