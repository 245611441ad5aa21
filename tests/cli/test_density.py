"""The likelihood of one image equals that of the method it names."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medscore.likelihood.assessment import assess_image
from medscore.likelihood.bound import correction, denoising_bound
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.likelihood.divergence import gaussian
from medscore.likelihood.flow import log_likelihood
from medscore.likelihood.settings import LikelihoodSettings
from medscore.objectives.grey_levels import Levels
from medscore.priors.base import Prior
from medscore.priors.checkpoint import load_prior
from medscore.white_noise import derive_seed

SEED = 11
PLAIN = LikelihoodSettings("flow", "gaussian", 2, 3, None, 1e-2, 1e-2, 0)


def minus_log_p(prior: Prior, x: torch.Tensor, method: str) -> tuple[float, float]:
    """-log p in nats and its standard error."""
    if method == "flow":
        flow = log_likelihood(prior, x, gaussian(x, [SEED], 2), rtol=1e-2, atol=1e-2)
        return -float(flow.nats), float(flow.standard_error)
    bound = denoising_bound(prior, x, [SEED], 3)
    if method == "clean-bound":
        bound = bound + correction(prior, x, [SEED], 3)
    return float(bound.nats), float(bound.standard_error)


@pytest.mark.parametrize("method", ["flow", "bound", "clean-bound"])
def test_nats_are_of_the_method(prior: Path, method: str) -> None:
    network = load_prior(prior)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    row = assess_image(network, x, replace(PLAIN, method=method), None, SEED)
    nats, error = minus_log_p(network, x, method)
    assert row.nats_per_dim == pytest.approx(-nats / 1024, rel=1e-5)
    assert row.standard_error == pytest.approx(error / 1024, rel=1e-4)
    assert row.bits_per_dim is None


@pytest.mark.parametrize("method", ["flow", "clean-bound"])
def test_bits_count_the_density_of_the_noise(prior: Path, method: str) -> None:
    torch.manual_seed(0)
    noise = DequantizationFlow(Levels(5), hidden=8)
    for parameter in noise.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    noise.requires_grad_(False)
    network = load_prior(prior)
    x0 = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    row = assess_image(network, x0, replace(PLAIN, method=method), noise, SEED)
    x, log_q = noise.dequantise(noise.levels.quantise(x0), [derive_seed(SEED, 2)])
    nats, _ = minus_log_p(network, x, method)
    assert abs(float(log_q)) > 1
    expected = (nats + float(log_q)) / (1024 * math.log(2)) + 5
    assert row.bits_per_dim == pytest.approx(expected, rel=1e-5)
