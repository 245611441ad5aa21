"""A learned covariance against the exact posterior variance, on images of 16 x 16 pixels.

The images are smooth Gaussian fields whose two halves are weak or strong, a mixture of four
Gaussians. The body is the exact denoiser, and the head is trained on it as a recipe does it. The
exact variance of every pixel given the noisy image follows from the mixture; that of a single
Gaussian does not depend on the image at all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from number import Number
from torch import Tensor, nn
from uncertainty_settings import Settings

from medscore.nets.covariance_head import head_spec
from medscore.objectives.second_order import SecondOrder
from medscore.priors.analytic import GMMPrior
from medscore.priors.network import NetworkPrior
from medscore.priors.preconditioning import denoiser, ratio
from medscore.sdes.linear import VE
from medscore.training.head import HeadLoss, HeadOnBody
from medscore.training.loop import train_steps
from medscore.training.plan import TrainingPlan
from medscore.uncertainty.low_rank import DiagonalLowRank

SIDE, STEPS, RATIOS, IMAGES = 16, 1500, (0.05, 0.1, 0.2, 0.5), 64
SDE = VE(0.01, 10.0)
AMPLITUDES = ((0.1, 0.1), (0.1, 0.5), (0.5, 0.1), (0.5, 0.5))
"""Standard deviation of the left and the right half of the images."""


def mixture(amplitudes: tuple[tuple[float, float], ...]) -> GMMPrior:
    """Images with a correlation length of one pixel, as a mixture with one Gaussian for each pair.

    Args:
        amplitudes: standard deviation of the left and the right half of the images.
    """
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    points = torch.stack([y.flatten(), x.flatten()], 1).double()
    smooth = torch.exp(-(torch.cdist(points, points) ** 2) / 2)
    scales = [torch.where(x.flatten() < SIDE // 2, *map(torch.tensor, pair)) for pair in amplitudes]
    covariances = torch.stack([s[:, None] * smooth * s for s in scales])
    count = len(amplitudes)
    return GMMPrior(SDE, torch.ones(count), torch.zeros(count, SIDE**2), covariances.float())


def exact_variance(data: GMMPrior, x: Tensor, t: Tensor) -> Tensor:
    """The variance of every value of x_0 given x_t = x, in the shape of ``x``.

    Args:
        data: the mixture.
        x: noisy images.
        t: times, (batch,).
    """
    means, variances = [], []
    for m, c in zip(data.means, data.covariances, strict=True):
        one = GMMPrior(SDE, torch.ones(1), m[None], c[None])
        means.append(one.denoise(x, t).flatten(1))
        s = float(SDE.ratio(t[0])) ** 2
        values, vectors = one.values[0].clamp_min(0), one.vectors[0]
        variances.append((vectors**2 @ (values * s / (values + s))).expand(len(x), -1))
    share = data.responsibilities(x, t)
    mean = torch.einsum("bk,kbd->bd", share, torch.stack(means))
    second = torch.stack([v + m**2 for v, m in zip(variances, means, strict=True)])
    return (torch.einsum("bk,kbd->bd", share, second) - mean**2).reshape(x.shape)


class Exact(nn.Module):
    """The exact denoiser as a network D(x, sigma)."""

    def __init__(self, data: GMMPrior) -> None:
        super().__init__()
        self.data = data

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """The mean of x_0 given x.

        Args:
            x: noisy images (batch, 1, H, W).
            s: noise level of each image, (batch,).
        """
        return self.data.denoise(x, SDE.time(s))


def trained(data: GMMPrior, objective: SecondOrder, rank: int, folder: Path) -> NetworkPrior:
    """The exact denoiser with a head that was trained on draws of the data.

    Args:
        data: the distribution of the images.
        objective: the loss.
        rank: number of vectors b_k.
        folder: folder for the state of the run.
    """
    prior = NetworkPrior(Exact(data), SDE, preconditioning=denoiser, condition=ratio)
    plan = TrainingPlan(
        steps=STEPS, batch=32, learning_rate=5e-3, warmup=50, cooldown=1000, save_every=STEPS
    )
    torch.manual_seed(plan.seed)
    prior.head = head_spec(prior.network, 1, objective.data_std, rank, 32).build()

    def batch(generator: torch.Generator, part: slice) -> Tensor:
        return data.sample(plan.batch, 0.0, generator).reshape(-1, 1, SIDE, SIDE)[part]

    model = HeadOnBody(prior)
    for _ in train_steps(model, batch, HeadLoss(objective, 1), plan, folder):
        pass
    return prior


def errors(prior: NetworkPrior, data: GMMPrior, level: float) -> tuple[float, float, float]:
    """The typical relative error of the predicted variance at a noise level, and two ratios.

    Args:
        prior: the prior.
        data: the distribution of the images.
        level: the noise-to-signal ratio.

    Returns:
        The median over all pixels of |predicted / exact - 1|, the mean variance predicted divided
        by the exact one, and the squared error of the denoiser by the predicted variance.
    """
    generator = torch.Generator().manual_seed(7)
    x0 = data.sample(IMAGES, 0.0, generator).reshape(-1, 1, SIDE, SIDE)
    z = torch.randn(x0.shape, generator=generator)
    t = SDE.time(torch.full((IMAGES,), level))
    x = SDE.marginal(x0, t, z)
    with torch.no_grad():
        denoised, covariance = prior.denoise_with_covariance(x, t)
    assert isinstance(covariance, DiagonalLowRank)
    exact, found = exact_variance(data, x, t), covariance.marginal
    gap = float((found / exact - 1).abs().median())
    return gap, float(found.mean() / exact.mean()), float(((denoised - x0) ** 2 / found).mean())


def numbers(_: Settings) -> Iterator[Number]:
    """The measured values."""
    one, four = mixture(AMPLITUDES[3:]), mixture(AMPLITUDES)
    cases = {
        "one Gaussian, diagonal": (one, SecondOrder(0.5, "diagonal"), 0, 0.05),
        "one Gaussian, rank 4": (one, SecondOrder(0.5), 4, 0.1),
        "one Gaussian, diagonal, Eq. 4.17": (
            one, SecondOrder(0.5, "diagonal", "noise", "level"), 0, 0.15,
        ),
        "four Gaussians, diagonal": (four, SecondOrder(0.36, "diagonal"), 0, 0.2),
    }  # fmt: skip
    for name, (data, objective, rank, most) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            prior = trained(data, objective, rank, Path(folder))
        for level in RATIOS:
            gap, bias, error = errors(prior, data, level)
            yield Number(
                f"{name}, sigma {level}: median error of the variance", gap, "", None, most
            )
            yield Number(f"{name}, sigma {level}: mean variance by the exact one", bias)
            yield Number(f"{name}, sigma {level}: squared error by the variance", error)
