"""Bits per dimension compared with closed-form probabilities of bins."""

import math

import pytest
import torch
from torch import Tensor

from medscore.likelihood.bound import correction, denoising_bound
from medscore.likelihood.dequantization import DequantizationFlow, dequantization_loss
from medscore.nets.unet import UNetSpec
from medscore.objectives.grey_levels import Levels, uniform
from medscore.priors.analytic import GMMPrior
from medscore.priors.network import NetworkPrior
from medscore.sdes.linear import VP
from medscore.training.dequantizer import bound_loss
from medscore.white_noise import Noise, seeds_from

BITS = Levels(3)


def data() -> GMMPrior:
    """Images of 1 x 2 pixels with two narrow modes, a third and a tenth of a bin wide."""
    widths = torch.tensor([[0.04, 0.012], [0.03, 0.02]], dtype=torch.float64)
    means = torch.tensor([[0.3, 0.7], [0.72, 0.34]], dtype=torch.float64)
    weights = torch.tensor([0.4, 0.6], dtype=torch.float64)
    sde = VP(eps=1e-4)
    return GMMPrior(sde, weights, means, torch.diag_embed(widths**2))


def probability(prior: GMMPrior, k: Tensor) -> Tensor:
    """log P(k) of each image: the integral of the density over the bins."""
    low, high = (
        BITS.dequantise(k.flatten(1), torch.full_like(k.flatten(1), u)) for u in (0.0, 1.0)
    )
    std = prior.covariances.diagonal(dim1=1, dim2=2).sqrt()
    cdf = [torch.special.ndtr((edge[:, None] - prior.means) / std) for edge in (low, high)]
    return torch.log(((cdf[1] - cdf[0]).prod(2) * prior.weights).sum(1))


def draws(prior: GMMPrior, n: int, seed: int) -> Tensor:
    return prior.sample(n, 0.0, torch.Generator().manual_seed(seed)).reshape(n, 1, 1, 2)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_dequantised_levels_are_recovered_by_quantisation(bits: int) -> None:
    levels = Levels(bits)
    k = torch.tensor([0, 1, 2**bits - 1], dtype=torch.float64)[None]
    for u in (0.0, 0.5, 0.999):
        x = levels.dequantise(k, torch.full_like(k, u))
        assert torch.equal(levels.quantise(x), k)
    outside = torch.tensor([[-0.1, 1.0, 1.5]])
    assert levels.quantise(outside).tolist() == [[0, 2**bits, 1.5 * 2**bits]]


@pytest.mark.parametrize("bits", [0, 17])
def test_numbers_of_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"bits is {bits}"):
        Levels(bits)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_uniform_density_takes_b_bits_per_dimension(bits: int) -> None:
    """With p = 1 on [0, 1) each level has probability 2^-b; there is no further constant."""
    zero = torch.zeros(2)
    assert Levels(bits).bits_per_dim(zero, zero, 100).tolist() == [bits, bits]


def test_dequantization_noise_is_independent_of_the_noise_of_the_bound() -> None:
    """With the same seeds; a correlation of 0.035 is 5 standard errors of 20,000 draws."""
    like, seeds = torch.zeros(20_000, 1), range(20_000)
    v, u = uniform(like, seeds)[:, 0], Noise(seeds).uniform(like)
    assert abs(float(torch.corrcoef(torch.stack([u, v]))[0, 1])) < 0.035


def test_uniform_noise_bounds_the_probability_of_the_levels() -> None:
    prior = data()
    k = BITS.quantise(draws(prior, 8, 0))
    n = 2000
    many = k.repeat_interleave(n, 0)
    u = uniform(many, range(len(many)))
    t = torch.zeros(len(many), dtype=torch.float64)
    density = -prior.log_density(BITS.dequantise(many, u), t)
    found = BITS.nats(density, torch.zeros_like(density), 2).reshape(8, n)
    exact = -probability(prior, k)
    assert bool((found.mean(1) + 5 * found.std(1) / n**0.5 > exact).all())
    mean = torch.exp(-found).mean(
        1
    )  # the mean of the probabilities is exact; Jensen's inequality is for the logarithm
    error = torch.exp(-found).std(1) / n**0.5
    assert bool(((mean - torch.exp(-exact)).abs() < 5 * error).all())


def moved(seed: int) -> DequantizationFlow:
    """A flow that is not the identity."""
    torch.manual_seed(seed)
    flow = DequantizationFlow(BITS, hidden=8).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return flow.requires_grad_(False)


def test_a_new_flow_is_uniform_dequantization() -> None:
    flow = DequantizationFlow(BITS)
    k = BITS.quantise(torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    v = uniform(k, range(3))
    u, log_q = flow(k, v)
    assert torch.allclose(u, v, atol=1e-6)
    assert torch.allclose(log_q, torch.zeros(3), atol=1e-4)


def test_the_noise_depends_on_the_levels() -> None:
    flow, v = moved(0), torch.full((1, 1, 4, 4), 0.3, dtype=torch.float64)
    k = torch.zeros_like(v)
    changed = k.clone()
    changed[..., 1, 1] = 3
    assert float((flow(k, v)[0] - flow(changed, v)[0]).abs().max()) > 0.1


def test_the_loss_is_the_bound_of_the_clean_image_plus_log_q() -> None:
    """Eq. 9.13 with Eq. B.41; the training loss is divided by D."""
    sde = VP(eps=0.05)
    torch.manual_seed(3)
    network = UNetSpec(channels=(8,), blocks=1, fold=1, groups=8).build()
    prior = NetworkPrior(network, sde).requires_grad_(False).eval()
    flow, seeds = moved(1).float(), [4, 5]
    k = BITS.quantise(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    v = uniform(k, seeds)
    u, log_q = flow(k, v)
    x = (k + u) / 8
    bound = denoising_bound(prior, x, seeds, 1).nats + correction(prior, x, seeds, 1).nats
    expected = bound + log_q + 64 * 3 * math.log(2)
    assert torch.allclose(dequantization_loss(flow, prior, k, v, seeds), expected)
    draw = torch.tensor([0.2, 0.7])
    own = dequantization_loss(flow, prior, k, v, seeds_from(draw, 2))
    found = bound_loss(prior)(flow, k / 8, draw, torch.special.ndtri(v.double()).float())
    assert torch.allclose(found, own / 64, rtol=1e-3)


def test_the_density_of_the_noise_is_that_of_the_map() -> None:
    """log q equals the log determinant of the full Jacobian."""
    flow = moved(0)
    k = BITS.quantise(torch.rand(1, 1, 3, 4, generator=torch.Generator().manual_seed(0)).double())
    v = uniform(k, [1])
    jacobian = torch.autograd.functional.jacobian(lambda w: flow(k, w)[0], v).reshape(12, 12)
    _, log_q = flow(k, v)
    assert float(log_q) == pytest.approx(-float(torch.linalg.slogdet(jacobian)[1]), abs=1e-9)
    assert bool((flow(k, v)[0] > 0).all())
    assert bool((flow(k, v)[0] < 1).all())


@pytest.mark.slow
@pytest.mark.statistical
def test_trained_noise_closes_the_gap_to_the_probability_of_the_levels() -> None:
    """Eq. 9.13 with an exact prior gives a smaller bound than uniform noise, not below -log P.

    The differences are over 5,000 draws with the same seeds, at 5 standard errors.
    """
    prior = data()
    torch.manual_seed(0)
    flow = DequantizationFlow(BITS, hidden=16).double()
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for step in range(150):
        k = BITS.quantise(draws(prior, 128, 1000 + step))
        seeds = range(128 * step, 128 * (step + 1))
        loss = dequantization_loss(flow, prior, k, uniform(k, seeds), seeds).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    k = BITS.quantise(draws(prior, 5000, 1))
    v, seeds = uniform(k, range(5000)), range(5000)
    exact = -probability(prior, k)
    with torch.no_grad():
        plain = dequantization_loss(DequantizationFlow(BITS).double(), prior, k, v, seeds)
        trained = dequantization_loss(flow, prior, k, v, seeds)
    gap, error = trained - exact, (trained - exact).std() / len(k) ** 0.5
    gain = plain - trained
    assert float(gain.mean()) > 5 * float(gain.std()) / len(k) ** 0.5
    assert float(gap.mean()) > -5 * float(error)
    assert float(gap.mean()) < 0.5 * float((plain - exact).mean())
    assert math.isfinite(float(trained.max()))
