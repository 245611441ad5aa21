"""Whether the posterior variances of the shipped priors are those of their errors.

Part ``covariance`` of ``benchmarks/uncertainty.py``; takes about two minutes.

``--data`` holds images of validation patients, ``ct/tcga-lung-slices-validation.npz`` and
``mri/tcga-lgg-slices-validation.npz``. 12 slices of each are noised at four levels. The ratio is
that of the mean squared error of the denoised image to the mean of the variance that the prior
predicts, (sigma^2 / alpha) diag dD/dx by 4 random probes. It is 1 for an exact prior; above, the
prior is too sure of itself. pydicom's two head slices are unlike what ``ct-128`` was trained on.

The asymmetry is |J v - J^T v| / |J v| of the Jacobian J = dD/dx for a random v. It is 0 for an
exact denoiser, and the reason why eigenvectors are those of the symmetric part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from development_data import bundled_ct
from number import Number
from prior_denoising import LEVELS
from torch import Tensor
from training import normalised_mri
from uncertainty_settings import Settings

from medscore.likelihood.inputs import read_images
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.derivative import push_forward
from medscore.priors.network import NetworkPrior
from medscore.uncertainty.covariance import PosteriorCovariance
from medscore.white_noise import Noise, derive_seed

SLICES, PROBES = 12, 4

CT = "ct/tcga-lung-slices-validation.npz"


def ct_images(prior: NetworkPrior, file: Path) -> Tensor:
    """CT slices in the range of the prior, (n, 1, H, W).

    Args:
        prior: a prior of CT images.
        file: archive or DICOM file.
    """
    contract = prior.contract
    assert contract is not None
    return read_images(file, contract, limit=SLICES, accept="derived").x


def ratio_and_asymmetry(prior: NetworkPrior, images: Tensor, sigma: float) -> tuple[float, float]:
    """Mean squared error over predicted variance, and the asymmetry of the Jacobian.

    Args:
        prior: the prior.
        images: clean images (n, 1, H, W) in the prior's range.
        sigma: standard deviation of the noise in that range.
    """
    error = variance = apart = size = 0.0
    for i in range(len(images)):
        clean, seed = images[i : i + 1], derive_seed(i, round(1000 * sigma))
        noise, t = Noise([seed]), prior.sde.time(torch.tensor([sigma]))
        x = prior.sde.alpha(t)[:, None, None, None] * (clean + sigma * noise(clean))
        posterior = PosteriorCovariance.at(prior, x, t)
        error += float((posterior.mean - clean).square().mean())
        variance += float(posterior.diagonal(noise, PROBES).mean())
        if i == 0:
            v = noise(clean)
            forth = posterior.gain * push_forward(posterior.graph, posterior.leaf, v)
            apart, size = float((forth - posterior.product(v)).norm()), float(forth.norm())
    return error / variance, apart / size


def numbers(settings: Settings) -> Iterator[Number]:
    """The numbers of the part.

    Args:
        settings: settings of the measurement.
    """
    data = settings.data
    ct, mri = load_prior(prior_path("ct-128")), load_prior(prior_path("mri-128"))
    heads = torch.cat([ct_images(ct, file) for file in bundled_ct()])
    images = normalised_mri(data)
    chosen = torch.linspace(0, len(images) - 1, SLICES).round().long()
    for name, prior, x, close in (
        ("ct-128", ct, ct_images(ct, data / CT), True),
        ("mri-128", mri, images[chosen], True),
        ("ct-128, pydicom's head slices", ct, heads, False),
    ):
        for sigma in LEVELS:
            ratio, asymmetry = ratio_and_asymmetry(prior, x, sigma)
            low, high = (0.75, 1.4) if close else (None, None)
            title = f"{name}, sigma {sigma:g}"
            yield Number(f"{title}: error over variance", ratio, at_least=low, at_most=high)
            yield Number(f"{title}: asymmetry of the Jacobian", asymmetry)
