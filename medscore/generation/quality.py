r"""Quality of samples: distances between two sets of images, without downloaded networks.

Images are compared as vectors of pixels, or of features that the caller computes from them.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Features = Float[Tensor, "_ numbers"]
"""One vector per image: its pixels or features."""

NEIGHBOURS = 3
"""Neighbours that define the manifolds of precision and recall."""


def sliced_wasserstein(
    x: Features, y: Features, generator: torch.Generator, *, projections: int = 500
) -> float:
    r"""Sliced 2-Wasserstein distance (Bonneel et al. 2015).

    It is the root mean square, over random directions, of the 1-D distances between two sets of
    equal size.

    Args:
        x: samples (n, d).
        y: reference (n, d).
        generator: draws the directions.
        projections: number of directions.

    Raises:
        ValueError: the sets differ in size.
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
        x: samples (n, d).
        y: reference (m, d).
        width: w; by default the median distance within the reference.

    Raises:
        ValueError: the width is not positive, for example because the reference is constant.
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
    r"""Frechet distance of Gaussians with the sets' means and covariances (Heusel et al. 2017).

    .. math:: \|\mu_x - \mu_y\|^2 + \mathrm{tr}\,C_x + \mathrm{tr}\,C_y
              - 2\,\mathrm{tr}\,(C_x C_y)^{1/2}

    With roots :math:`C_x = A^T A`, :math:`C_y = B^T B` the last trace is the sum of the singular
    values of :math:`A B^T`. QR limits A and B to min(n, d) rows.

    Args:
        x: samples (n, d).
        y: reference (m, d).

    Raises:
        ValueError: a set has fewer than two images.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError("a covariance needs two images or more")
    x, y = x.double(), y.double()
    a, b = (torch.linalg.qr((z - z.mean(0)) / math.sqrt(len(z) - 1), mode="r").R for z in (x, y))
    apart = (x.mean(0) - y.mean(0)).square().sum()
    root = torch.linalg.svdvals(a @ b.T).sum()
    return max(float(apart + a.square().sum() + b.square().sum() - 2 * root), 0.0)


def precision_recall(
    x: Features, y: Features, *, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019).

    Precision is the fraction of samples within the manifold of the reference, recall the fraction
    of the reference within the manifold of the samples. A manifold is the union of balls around its
    points that reach to each point's k-th neighbour.

    Args:
        x: samples (n, d).
        y: reference (m, d).
        neighbours: k.

    Raises:
        ValueError: a set has no more points than neighbours.
    """
    if min(len(x), len(y)) <= neighbours:
        raise ValueError(f"{min(len(x), len(y))} points have no {neighbours} neighbours")

    def inside(points: Tensor, manifold: Tensor) -> float:
        reach = torch.cdist(manifold, manifold).kthvalue(neighbours + 1, dim=1).values
        return float((torch.cdist(points, manifold) <= reach).any(1).double().mean())

    a, b = x.double(), y.double()
    return inside(a, b), inside(b, a)
