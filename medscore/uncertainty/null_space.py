r"""The part of an image that the data do not determine, and how far posterior samples agree on it.

For noise-free data it is the component in the null space of A, :math:`N x = x - A^+ A x`. Noise
makes more of an image unseen. With whitened data and a signal variance v per pixel it is

.. math:: N x = x - \operatorname{argmin}_u\, |A u - A x|^2 + |u|^2 / v
              = (I + v A^H A)^{-1} x,

the part that remains where a white Gaussian prior of variance v meets the data: of a direction with
singular value s the share :math:`1 / (1 + v s^2)`. The structure of an image is what a Gaussian
filter takes away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.linalg import damped
from medscore.types import Images

WIDTH = 3.0
"""Standard deviation in pixels of the filter that separates structure from smooth brightness."""

STEPS, TOL = 60, 1e-3
"""Most conjugate-gradient steps with noise, and the relative residual without."""


@dataclass(frozen=True)
class NullSpace:
    """How much of the structure of a slice the data do not determine.

    Attributes:
        outside: share of the energy of the structure that the data do not determine.
        disagreement: share of that part's energy on which samples disagree: 0 if all have the same,
            1 if they have nothing in common.
        common: that part's mean over the samples, (channel, H, W).
        own: its standard deviation, (channel, H, W).
    """

    outside: float
    disagreement: float
    common: Tensor
    own: Tensor


def structure(x: Images) -> Images:
    """An image without its smooth brightness.

    Args:
        x: images (batch, channel, H, W).
    """
    smooth = gaussian_filter(x.cpu().numpy(), (0, 0, WIDTH, WIDTH), mode="nearest")
    return x - torch.from_numpy(np.asarray(smooth)).to(x)


def null_part(operator: Operator, x: Images, variance: Tensor | None) -> Images:
    """N x, the part of images that the data do not determine.

    Args:
        operator: A, whitened if the data have noise.
        x: images (batch, channel, H, W).
        variance: v, signal variance of each image (batch,); None for noise-free data.
    """
    y = operator.forward(x)
    if variance is None:
        return x - operator.pinv(y, tol=TOL).x
    return x - damped(operator.forward, operator.adjoint, y, 1 / variance, max_iter=STEPS)


def null_space(
    operator: Operator, samples: Images, *, noisy: bool, seen: Tensor | None = None
) -> NullSpace:
    """How much of the structure of posterior samples the data do not determine.

    Args:
        operator: A of the slice, whitened if the data have noise.
        samples: (K, channel, H, W) posterior samples of the slice in the operator's unit.
        noisy: whether the data have noise.
        seen: 1 for the pixels (H, W) that the operator's image covers, else 0; all by default.
    """
    details = structure(samples)
    details = details if seen is None else details * seen.to(details)
    common, own = energies(details)
    power = (common + own) / details[0].numel()
    if not power > 0:
        return NullSpace(0.0, 0.0, torch.zeros_like(details[0]), torch.zeros_like(details[0]))
    variance = torch.full((len(details),), power).to(details) if noisy else None
    part = null_part(operator, details, variance)
    common_unseen, own_unseen = energies(part)
    unseen = common_unseen + own_unseen
    share = min(unseen / (common + own), 1.0)
    disagreement = own_unseen / unseen if unseen > 0 else 0.0
    return NullSpace(share, disagreement, part.mean(0), part.std(0))


def energies(x: Tensor) -> tuple[float, float]:
    """Unbiased energies of what samples have in common and of what each has of its own.

    Args:
        x: (K, ...) samples.
    """
    own = float(x.double().var(0).sum())
    mean = float(x.double().mean(0).square().sum())
    return max(mean - own / len(x), 0.0), own
