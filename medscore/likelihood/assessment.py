"""The likelihood of one image, by any method, as a density or as a probability of grey levels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.likelihood.bound import correction, denoising_bound
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.likelihood.dequantizer import load_dequantizer
from medscore.likelihood.divergence import exact, gaussian, rademacher
from medscore.likelihood.flow import log_likelihood
from medscore.likelihood.settings import EXACT_UP_TO, LikelihoodSettings
from medscore.objectives.grey_levels import Levels
from medscore.priors.network import NetworkPrior
from medscore.white_noise import derive_seed


@dataclass(frozen=True)
class ImageLikelihood:
    """The likelihood of one image of D numbers.

    Attributes:
        nats_per_dim: log p(x) / D in nats, with values in the prior's range.
        standard_error: standard error of ``nats_per_dim``; NaN for a single probe or draw.
        bits_per_dim: -log2 of the probability of the grey levels, over D; None without levels.
        nfe: network evaluations.
        seconds: wall time.
        typical: bound from which z is computed
            (:func:`~medscore.likelihood.typicality.nats_per_dim`); None where z is not needed.
    """

    nats_per_dim: float
    standard_error: float
    bits_per_dim: float | None
    nfe: int
    seconds: float
    typical: float | None = None


def assess_image(
    prior: NetworkPrior,
    x: Tensor,
    settings: LikelihoodSettings,
    dequantization: DequantizationFlow | None,
    seed: int,
) -> ImageLikelihood:
    """The likelihood of one image.

    Args:
        prior: the prior.
        x: image (1, channel, H, W) in the prior's range, on the prior's device.
        settings: method and its parameters.
        dequantization: noise within the grey levels; None computes the density at ``x``.
        seed: seed of the image's draws.
    """
    begin, d = time.perf_counter(), x[0].numel()
    log_q = torch.zeros(1)
    if dequantization is not None:
        dequantization = dequantization.to(x.device)
        k = dequantization.levels.quantise(x)
        x, log_q = dequantization.dequantise(k, [derive_seed(seed, 2)])
    if settings.method == "flow":
        divergence = _divergence(settings, d)(x, [seed])
        flow = log_likelihood(prior, x, divergence, rtol=settings.rtol, atol=settings.atol)
        minus, error, nfe = -flow.nats, flow.standard_error, flow.nfe
    else:
        bound = denoising_bound(prior, x, [seed], settings.draws)
        nfe = settings.draws
        if settings.method == "clean-bound":
            bound = bound + correction(prior, x, [seed], settings.draws)
            nfe *= 2
        minus, error = bound.nats, bound.standard_error
    bits = None
    if dequantization is not None:
        bits = float(dequantization.levels.bits_per_dim(minus.cpu(), log_q.cpu(), d))
    seconds = time.perf_counter() - begin
    return ImageLikelihood(-float(minus) / d, float(error) / d, bits, nfe, seconds)


def make_dequantization(
    settings: LikelihoodSettings, dequantizer: Path | None, prior_sha256: str
) -> DequantizationFlow | None:
    """The noise within grey levels: uniform, trained, or None for densities.

    Args:
        settings: method and bits.
        dequantizer: file with a trained dequantization flow; None for uniform noise.
        prior_sha256: hash of the prior's weights.

    Raises:
        MedscoreError: the method does not bound the probability of grey levels, both bits and a
            dequantizer are given, or the dequantizer does not fit the prior.
    """
    bits = settings.bits
    if settings.method == "bound" and (bits is not None or dequantizer is not None):
        raise MedscoreError(
            "`method` bound bounds the likelihood of the noisy image, not that of grey levels",
            hint="use clean-bound or flow",
        )
    if dequantizer is None:
        return None if bits is None else DequantizationFlow(Levels(bits), couplings=0)
    if bits is not None:
        raise MedscoreError(
            "`bits` beside `dequantizer`, which has bits of its own", hint="leave out `bits`"
        )
    return load_dequantizer(dequantizer, prior_sha256)


def _divergence(
    settings: LikelihoodSettings, d: int
) -> Callable[..., Callable[..., tuple[Tensor, Tensor]]]:
    kind = settings.divergence
    if kind == "exact" or (kind == "auto" and d <= EXACT_UP_TO):
        return lambda like, seeds: exact
    draw = gaussian if kind == "gaussian" else rademacher
    return lambda like, seeds: draw(like, seeds, settings.probes)
