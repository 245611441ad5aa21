"""Denoising by the shipped priors against non-local means and wavelets of scikit-image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from number import Number
from skimage.restoration import denoise_nl_means, denoise_wavelet
from torch import Tensor

from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.network import NetworkPrior

LEVELS = (0.05, 0.1, 0.25, 0.5)
"""Standard deviations of the added noise, in the prior's range."""


def denoising_numbers(names: Sequence[str], images: Tensor) -> list[Number]:
    """Mean squared error of the priors' denoiser against scikit-image's denoisers.

    Each of scikit-image's denoisers has, for every slice, the setting that is best given the clean
    image.

    Args:
        names: the priors.
        images: clean images (n, 1, H, W) in the priors' range.
    """
    priors = {name: load_prior(prior_path(name)) for name in names}
    numbers: dict[str, list[Number]] = {name: [] for name in names}
    generator = torch.Generator().manual_seed(0)
    for sigma in LEVELS:
        noisy = images + sigma * torch.randn(images.shape, generator=generator)
        peers = peer_errors(noisy[:, 0].numpy(), images[:, 0].numpy(), sigma)
        for name, prior in priors.items():
            found = mse(denoised(prior, noisy, sigma).numpy(), images.numpy())
            title = f"{name}, sigma {sigma:g}: mean squared error"
            numbers[name] += [
                *(Number(f"{title} of {peer}", error) for peer, error in peers.items()),
                Number(f"{title} of the prior", found, at_most=min(peers.values())),
            ]
    return [number for of_one in numbers.values() for number in of_one]


@torch.no_grad()
def denoised(prior: NetworkPrior, noisy: Tensor, sigma: float) -> Tensor:
    """The prior's estimate of the clean images.

    Args:
        prior: the prior.
        noisy: images with white noise (n, 1, H, W).
        sigma: standard deviation of the noise.
    """
    t = prior.sde.time(torch.full((len(noisy),), sigma))
    x = prior.sde.alpha(t)[:, None, None, None] * noisy
    parts = zip(x.split(8), t.split(8), strict=True)
    return torch.cat([prior.denoise(x, t) for x, t in parts])


def peer_errors(noisy: np.ndarray, images: np.ndarray, sigma: float) -> dict[str, float]:
    """Mean squared errors of scikit-image's denoisers, each slice at its best setting.

    Args:
        noisy: images with white noise (n, H, W).
        images: the clean images.
        sigma: standard deviation of the noise.
    """
    tried = {
        "nl-means": [partial(nl_means, sigma=sigma, h=h) for h in (0.4, 0.6, 0.8, 1.0)],
        "wavelets": [
            partial(wavelet, sigma=sigma, method=m) for m in ("BayesShrink", "VisuShrink")
        ],
    }
    pairs = list(zip(noisy, images, strict=True))
    return {
        name: float(np.mean([min(mse(each(x), clean) for each in settings) for x, clean in pairs]))
        for name, settings in tried.items()
    }


def nl_means(x: np.ndarray, sigma: float, h: float) -> np.ndarray:
    """Non-local means.

    Args:
        x: noisy image (H, W).
        sigma: standard deviation of the noise.
        h: filter strength relative to ``sigma``.
    """
    return denoise_nl_means(
        x, patch_size=5, patch_distance=6, h=h * sigma, sigma=sigma, fast_mode=True
    )


def wavelet(x: np.ndarray, sigma: float, method: str) -> np.ndarray:
    """Soft thresholding of wavelet coefficients.

    Args:
        x: noisy image (H, W).
        sigma: standard deviation of the noise.
        method: rule for the threshold, ``BayesShrink`` or ``VisuShrink``.
    """
    return denoise_wavelet(x, sigma=sigma, method=method, mode="soft", rescale_sigma=True)


def mse(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared error.

    Args:
        a: an array.
        b: another of the same shape.
    """
    return float(np.mean((a - b) ** 2))
