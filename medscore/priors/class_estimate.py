r"""The class of images by a prior that knows classes: the one by which they are denoised best.

The errors of denoising bound the log-likelihood of an image. The class with the smallest error, at
the same noise for all classes, is taken (the diffusion classifier, Li et al. 2023):

.. math:: \arg\min_c \sum_k \|x - D(x + \sigma_k z_k, \sigma_k; c)\|^2 / \sigma_k^2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.priors.network import NetworkPrior

LEVELS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Noise-to-signal ratios sigma_k / alpha_k, in the network's range."""


@torch.no_grad()
def class_losses(prior: NetworkPrior, x: Tensor, *, seed: int = 0) -> dict[str, float]:
    """The error of denoising some images by each class that a prior knows.

    Args:
        prior: a prior that knows classes, on the grid of the images.
        x: images (batch, channel, H, W) in the network's range, of one class.
        seed: seed of the noise, which is the same for all classes.

    Returns:
        The mean of the squared errors divided by the noise variance, by the name of the class.

    Raises:
        MedscoreError: the prior knows no classes.
    """
    if not prior.classes:
        raise MedscoreError("the prior knows no classes", hint="use one that was trained with them")
    generator, losses = torch.Generator().manual_seed(seed), dict.fromkeys(prior.classes, 0.0)
    for level in LEVELS:
        t = prior.sde.time(torch.full((len(x),), level, dtype=torch.float64)).to(x)
        z = torch.randn(x.shape, generator=generator).to(x)
        noisy = prior.sde.marginal(x, t, z)
        for name in losses:
            error = prior.of_class(name).denoise(noisy, t) - x
            losses[name] += float(error.square().mean()) / (level**2 * len(LEVELS))
    return losses


def likeliest_class(prior: NetworkPrior, x: Tensor, *, seed: int = 0) -> str:
    """The class by which a prior denoises some images best.

    Args:
        prior: see :func:`class_losses`.
        x: see :func:`class_losses`.
        seed: see :func:`class_losses`.

    Raises:
        MedscoreError: the prior knows no classes.
    """
    losses = class_losses(prior, x, seed=seed)
    return min(losses, key=lambda name: losses[name])
