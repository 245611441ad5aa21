r"""How good samples are, without downloaded networks: distances between two sets.

Images are compared as they are, or as features that the caller makes of them.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Features = Float[Tensor, "_ numbers"]
"""A vector for each image."""


def sliced_wasserstein(
    x: Features, y: Features, generator: torch.Generator, *, projections: int = 500
) -> float:
    r"""Sliced 2-Wasserstein distance (Bonneel et al. 2015): the root mean square, over random
    directions, of the 1-D distances between equally many samples.

    Raises:
        ValueError: sets of different size.
    """
    if x.shape != y.shape:
        raise ValueError(f"sets of shapes {tuple(x.shape)} and {tuple(y.shape)}")
    v = torch.randn(x.shape[1], projections, generator=generator, dtype=torch.float64).to(x)
    v = v / v.norm(dim=0)
    gaps = (x @ v).sort(0).values - (y @ v).sort(0).values
    return float(gaps.square().mean().sqrt())


def mmd(x: Features, y: Features, *, width: float | None = None) -> float:
    r"""Maximum mean discrepancy with a Gaussian kernel, biased (Gretton et al. 2012, Eq. 5).

    .. math:: \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y),
              \quad k(a, b) = e^{-\|a - b\|^2 / 2 w^2}

    Args:
        width: w; by default the median distance within ``y``, the reference.
    """
    if width is None:
        width = float(torch.pdist(y.double()).median())
    if not width > 0:
        raise ValueError(f"width is {width}: the reference has no spread")

    def kernel(a: Tensor, b: Tensor) -> float:
        return float(torch.exp(-torch.cdist(a, b).square() / (2 * width**2)).mean())

    a, b = x.double(), y.double()
    return math.sqrt(max(kernel(a, a) + kernel(b, b) - 2 * kernel(a, b), 0.0))


def frechet(x: Features, y: Features) -> float:
    r"""Frechet distance of the Gaussians with the sets' means and covariances (Heusel et al. 2017).

    .. math:: \|\mu_x - \mu_y\|^2 + \mathrm{tr}\,C_x + \mathrm{tr}\,C_y
              - 2\,\mathrm{tr}\,(C_x C_y)^{1/2}

    With roots :math:`C_x = A^T A`, :math:`C_y = B^T B` the last trace is the sum of the singular
    values of :math:`A B^T`; QR keeps A and B as small as the smaller of images and numbers.

    Raises:
        ValueError: a set of fewer than two.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError("a covariance needs two images or more")
    x, y = x.double(), y.double()
    a, b = (torch.linalg.qr((z - z.mean(0)) / math.sqrt(len(z) - 1), mode="r").R for z in (x, y))
    apart = (x.mean(0) - y.mean(0)).square().sum()
    root = torch.linalg.svdvals(a @ b.T).sum()
    return max(float(apart + a.square().sum() + b.square().sum() - 2 * root), 0.0)


def precision_recall(x: Features, y: Features, *, neighbours: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019): the share of samples ``x`` within
    the reference ``y``'s manifold, and of the reference within the samples'. A manifold is the
    union of balls that reach to each point's k-th neighbour.

    Raises:
        ValueError: no more points than neighbours.
    """
    if min(len(x), len(y)) <= neighbours:
        raise ValueError(f"{min(len(x), len(y))} points have no {neighbours} neighbours")

    def inside(points: Tensor, manifold: Tensor) -> float:
        reach = torch.cdist(manifold, manifold).kthvalue(neighbours + 1, dim=1).values
        return float((torch.cdist(points, manifold) <= reach).any(1).double().mean())

    a, b = x.double(), y.double()
    return inside(a, b), inside(b, a)


def nearest(x: Features, training: Features) -> tuple[Tensor, Tensor]:
    """The nearest training image of each sample and its distance, (samples,) each: samples that
    are copies have distances far below those between training images.
    """
    found = torch.cdist(x.double(), training.double()).min(1)
    return found.indices, found.values
