r"""How good samples are, without downloaded networks: distances between two sets.

Images are compared as they are, or as features that the caller makes of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medscore.datasets.collections.cohort import equally_spaced
from medscore.errors import reading

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


NEIGHBOURS = 3
"""Of precision and recall."""


@dataclass(frozen=True)
class Distances:
    """Of a set from the real images."""

    sliced_wasserstein: float
    mmd: float
    frechet: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Copies:
    """The nearest training image of each sample.

    Attributes:
        samples, real: median distance to it, of samples and of real images. closest: the least
            distance of a sample over the least of a real image, of equally many of both; far below
            1 is a copy; None if a training image is among the real ones. image, distance: the
            nearest to each sample.
    """

    samples: float
    real: float
    closest: float | None
    image: list[str]
    distance: list[float]

    @staticmethod
    def of(sets: dict[str, Features], names: list[str]) -> Copies:
        """Of samples, real and training images, which have names."""
        index, distance = nearest(sets["samples"], sets["training"])
        _, usual = nearest(sets["real"], sets["training"])
        count = min(len(distance), len(usual))
        ours, theirs = (float(d[equally_spaced(len(d), count)].min()) for d in (distance, usual))
        return Copies(
            float(distance.median()), float(usual.median()),
            ours / theirs if theirs > 0 else None,
            [names[i] for i in index.tolist()], distance.tolist(),
        )  # fmt: skip


def distances_from(x: Features, sets: dict[str, Features], seed: int) -> Distances:
    """Distances of ``x`` from ``sets["real"]``, on equally many images of every set.

    Args:
        x: features of the samples to be judged.
        sets: features by the name of the set; all are cut to the size of the smallest.
        seed: of the random projections.
    """
    count = min(len(found) for found in sets.values())
    a, b = (found[equally_spaced(len(found), count)] for found in (x, sets["real"]))
    precision, recall = precision_recall(a, b, neighbours=NEIGHBOURS)
    generator = torch.Generator().manual_seed(seed)
    return Distances(sliced_wasserstein(a, b, generator), mmd(a, b), frechet(a, b), precision,
                     recall)  # fmt: skip


def read_features(file: Path) -> Features:
    """An array (n, d).

    Raises:
        MedscoreError: the file holds no such array.
    """
    with reading("features", file, "save them with numpy.save"):
        values = np.load(file, allow_pickle=False)
        numbers = isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
        if not numbers or values.ndim != 2 or not values.size or not np.isfinite(values).all():
            raise ValueError("no array (n, d) of finite numbers")
    return torch.from_numpy(values.astype(np.float32))
