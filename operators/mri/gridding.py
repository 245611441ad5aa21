r"""Gridding: the density-compensated adjoint of non-Cartesian k-space (Jackson et al. 1991).

.. math:: x = \frac{1}{\sum_c |S_c|^2}\, A^H\, \mathrm{diag}(w)\, y,

where w compensates the density of the measured samples alone. ``T_inv`` has weights for the whole
trajectory, with which the image of a few spokes would be too dark.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.centre import scanner
from medscore.operators.mri.multicoil import over_power
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier, density_compensation


def has_a_trajectory(operator: Operator) -> bool:
    """True if an operator measures k-space along a trajectory.

    Args:
        operator: any operator.
    """
    return isinstance(scanner(operator), NonuniformFourier | MulticoilNonuniform)


def gridding(operator: Operator, y: Tensor) -> Tensor:
    """Images of the measured samples, (batch, channel, H, W).

    Args:
        operator: a scan along a trajectory, on complex images, real ones or two channels.
        y: measurements (batch, coil, samples).
    """
    scan = scanner(operator)
    assert isinstance(scan, NonuniformFourier | MulticoilNonuniform)
    (rows, columns), samples = scan.image_shape, scan.grid_shape[-1]
    masks = scan.diagonal.reshape(-1, samples)
    weights = torch.zeros(masks.shape, dtype=torch.float64)
    for one, measured in zip(weights, masks, strict=True):
        one[measured] = density_compensation(scan.trajectory[:, measured], (rows, columns))
    image = operator.adjoint(weights[:, None].to(y.device, y.dtype.to_real()) * y)
    if isinstance(scan, NonuniformFourier):
        return image
    return over_power(scan.sensitivity, image)
