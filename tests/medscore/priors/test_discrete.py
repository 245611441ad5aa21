"""Priors on discrete noise scales: SMLD and DDPM (chapter 7, B.5.2, B.5.3, B.5.7)."""

import numpy as np
import pytest
import torch
from exact import walk
from support import FixedNoise, SharedNoise
from torch import Tensor

from medscore.priors.analytic import GaussianPrior
from medscore.priors.discrete import DiscretePrior, linear, rounding, score_of_noise
from medscore.samplers.ancestral import AncestralVE, AncestralVP
from medscore.samplers.base import Sampler
from medscore.samplers.grids import uniform
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP

N = 50


def betas(scales: int = N) -> np.ndarray:
    """beta_i below Eq. B.20, i = 1 ... N."""
    i = np.arange(1, scales + 1)
    return 0.1 / scales + (i - 1) / (scales * (scales - 1)) * (20 - 0.1)


def alphas(scales: int = N) -> np.ndarray:
    """The dissertation's alpha_i, products of 1 - beta_j."""
    return np.cumprod(1 - betas(scales))


def times(scales: int = N) -> Tensor:
    return torch.arange(1, scales + 1, dtype=torch.float64) / scales


def test_ddpm_meets_the_chain_at_its_scales() -> None:
    sde = DDPM(N)
    torch.testing.assert_close(sde.alpha(times()), torch.tensor(alphas() ** 0.5))
    torch.testing.assert_close(sde.sigma(times()), torch.tensor((1 - alphas()) ** 0.5))
    torch.testing.assert_close(uniform(sde, N - 1).flip(0).double(), times(), rtol=1e-6, atol=0)


def test_a_step_between_neighbours_has_the_chains_beta() -> None:
    a, b = DDPM(N).transition(times()[:-1], times()[1:])
    torch.testing.assert_close(a, torch.tensor((1 - betas()[1:]) ** 0.5))
    torch.testing.assert_close(b, torch.tensor(betas()[1:] ** 0.5))


def test_1000_scales_align_with_the_vp_sde() -> None:
    """The kernels agree to 0.5 % of their range, as in Fig. B.39."""
    t = times(1000)
    assert float((DDPM(1000).alpha(t) - VP().alpha(t)).abs().max()) < 5e-3
    assert float((DDPM(1000).sigma(t) ** 2 - VP().sigma(t) ** 2).abs().max()) < 5e-3


def test_smld_is_ve_at_equally_spaced_times() -> None:
    sde = VE(0.01, 50.0, eps=0.0)
    levels = sde.sigma(uniform(sde, N - 1).double()).flip(0)
    expected = 0.01 * 5000 ** (torch.arange(N, dtype=torch.float64) / (N - 1))
    torch.testing.assert_close(levels, expected, rtol=1e-5, atol=0)


def test_drift_diffusion_and_inverse_belong_to_the_same_sde() -> None:
    sde = DDPM(N)
    t = torch.linspace(0.031, 0.999, 40, dtype=torch.float64)
    h = 1e-7
    slope = (sde.log_alpha(t + h) - sde.log_alpha(t - h)) / (2 * h)
    torch.testing.assert_close(sde.drift(t), slope, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sde.diffusion(t) ** 2, -2 * slope, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sde.time(sde.sigma(t) / sde.alpha(t)), t)


@pytest.mark.parametrize("bad", [(1, 0.1, 20.0), (50, 0.0, 20.0), (50, 20.0, 0.1), (10, 0.1, 20.0)])
def test_impossible_chains_are_refused(bad: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="scales"):
        DDPM(*bad)


class RecordingNetwork:
    """A network that records the indices of its calls."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, x: Tensor, index: Tensor) -> Tensor:
        self.seen += index.tolist()
        return torch.zeros_like(x)


@pytest.mark.parametrize("sde", [VE(0.01, 50.0, eps=0.0), DDPM(1000)], ids=["SMLD", "DDPM"])
def test_on_its_own_scales_the_network_is_asked_for_exact_integers(sde: SDE) -> None:
    network = RecordingNetwork()
    prior = DiscretePrior(network, sde, trained=1000)
    prior.score(torch.zeros(1000, 1), uniform(sde, 999))
    assert network.seen == list(range(999, -1, -1))


@pytest.mark.parametrize("sde", [VE(0.01, 50.0, eps=0.0), DDPM(2000)], ids=["SMLD", "DDPM"])
def test_on_twice_as_many_scales_the_index_is_halved(sde: SDE) -> None:
    """The rules of B.5.7 are s'(x, i) = s(x, i/2) and s'(x, i) = s(x, floor(i/2))."""
    found = {}
    for rule in (linear, rounding):
        network = RecordingNetwork()
        prior = DiscretePrior(network, sde, trained=1000, scales=2000, interpolation=rule)
        prior.score(torch.zeros(2000, 1), uniform(sde, 1999).flip(0))
        found[rule] = network.seen
    assert found[linear] == [min(i / 2, 999) for i in range(2000)]
    assert found[rounding] == [i // 2 for i in range(2000)]


def oracle(sde: SDE, scales: int) -> tuple[GaussianPrior, DiscretePrior]:
    """White data and a discrete network with their score at all indices, also fractional ones."""
    exact = GaussianPrior(
        sde, torch.full((2,), 0.2, dtype=torch.float64), 0.25 * torch.eye(2).double()
    )

    def score(x: Tensor, index: Tensor) -> Tensor:
        return exact.score(x, sde.eps + (1 - sde.eps) * index / (scales - 1))

    return exact, DiscretePrior(score, sde, trained=scales)


@pytest.mark.parametrize("sde", [VE(0.01, 50.0, eps=0.0), DDPM(N)], ids=["SMLD", "DDPM"])
def test_score_and_denoiser_are_two_views_of_the_network(sde: SDE) -> None:
    exact, prior = oracle(sde, N)
    x, t = (
        torch.tensor([[0.3, -0.5]], dtype=torch.float64),
        torch.tensor([0.6], dtype=torch.float64),
    )
    torch.testing.assert_close(prior.denoise(x, t), exact.denoise(x, t))
    torch.testing.assert_close(prior.score(x, t), exact.score(x, t))


def test_a_noise_predicting_network_gives_the_score() -> None:
    sde = DDPM(N)
    exact, _ = oracle(sde, N)

    def noise(x: Tensor, index: Tensor) -> Tensor:
        t = (index + 1) / N
        return (x - sde.alpha(t)[:, None] * exact.denoise(x, t)) / sde.sigma(t)[:, None]

    prior = DiscretePrior(score_of_noise(noise, sde, N), sde, trained=N)
    x, t = (
        torch.tensor([[0.3, -0.5]], dtype=torch.float64),
        torch.tensor([0.6], dtype=torch.float64),
    )
    torch.testing.assert_close(prior.score(x, t), exact.score(x, t))


def test_a_noise_predicting_network_keeps_its_own_sigmas_on_more_scales() -> None:
    """For P2000 the network's index still refers to its own N scales."""
    trained, index = DDPM(N), 7
    ones = torch.ones(1, 2, dtype=torch.float64)
    score = score_of_noise(lambda x, i: x, trained, N)
    prior = DiscretePrior(score, DDPM(2 * N), trained=N, scales=2 * N)
    t = torch.tensor([(2 * index + 1) / (2 * N)], dtype=torch.float64)
    sigma = (1 - alphas()[index]) ** 0.5
    torch.testing.assert_close(prior.score(ones, t), -ones / sigma)


@pytest.mark.parametrize("i", [2, 20, N])
def test_ancestral_sampling_of_ddpm_is_eq_7_4(i: int) -> None:
    """From scale i to i - 1, with the chain's own beta_i."""
    sde = DDPM(N)
    exact, prior = oracle(sde, N)
    x, z = (
        torch.tensor([[0.7, -0.1]], dtype=torch.float64),
        torch.tensor([[0.4, 1.2]], dtype=torch.float64),
    )
    t, s = (
        torch.tensor([i / N], dtype=torch.float64),
        torch.tensor([(i - 1) / N], dtype=torch.float64),
    )
    beta = betas()[i - 1]
    expected = (x + beta * exact.score(x, t)) / (1 - beta) ** 0.5 + beta**0.5 * z
    found, _ = AncestralVP().step(prior, x, t, s, FixedNoise(z), {})
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("i", [1, 20, N - 1])
def test_ancestral_sampling_of_smld_is_eq_b_33(i: int) -> None:
    """From sigma_{i+1} to sigma_i."""
    sde = VE(0.01, 50.0, eps=0.0)
    exact, prior = oracle(sde, N)
    x, z = (
        torch.tensor([[0.7, -0.1]], dtype=torch.float64),
        torch.tensor([[0.4, 1.2]], dtype=torch.float64),
    )
    t, s = (
        torch.tensor([i / (N - 1)], dtype=torch.float64),
        torch.tensor([(i - 1) / (N - 1)], dtype=torch.float64),
    )
    now, then = (0.01 * 5000 ** (k / (N - 1)) for k in (i, i - 1))
    gap = now**2 - then**2
    expected = x + gap * exact.score(x, t) + (then**2 * gap / now**2) ** 0.5 * z
    found, _ = AncestralVE().step(prior, x, t, s, FixedNoise(z), {})
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sde", "sampler"),
    [
        (VE(0.01, 50.0, eps=0.0), AncestralVE()),
        (DDPM(1000), AncestralVP()),
        (VE(0.01, 50.0, eps=0.0), ReverseDiffusion()),
        (DDPM(1000), ReverseDiffusion()),
    ],
    ids=["ancestral-SMLD", "ancestral-DDPM", "reverse-SMLD", "reverse-DDPM"],
)
def test_the_whole_chain_ends_at_the_data(sde: SDE, sampler: Sampler) -> None:
    """4,000 samples of 2 values; 6 standard errors are 0.07 std for the mean, 5 % for the std."""
    exact, prior = oracle(sde, 1000)
    n, noise = 4000, SharedNoise(0)
    x = exact.sample(n, 1.0, torch.Generator().manual_seed(1))
    x = walk(sampler, prior, x, uniform(sde, 999), noise)
    x = prior.denoise(x, torch.full((n,), sde.eps, dtype=torch.float64))
    assert float(x.mean()) == pytest.approx(0.2, abs=0.07 * 0.5)
    assert float(x.std()) == pytest.approx(0.5, rel=0.05)


def test_how_far_each_interpolation_is_off() -> None:
    """The error in time of the scale that the network receives, in units of its own scales.

    The rules of B.5.7 are exact only where this test says so.
    """
    off = {}
    for name, sde in (("SMLD", VE(0.01, 50.0, eps=0.0)), ("DDPM", DDPM(2000))):
        first = 0.0 if name == "SMLD" else 1 / 1000
        for rule in (linear, rounding):
            network = RecordingNetwork()
            prior = DiscretePrior(network, sde, trained=1000, scales=2000, interpolation=rule)
            t = uniform(sde, 1999).flip(0).double()[:-1]
            prior.score(torch.zeros(1999, 1).double(), t)
            told = first + (1 - first) * torch.tensor(network.seen, dtype=torch.float64) / 999
            off[name, rule.__name__] = (told - t).abs() * 999
    assert float(off["SMLD", "linear"].max()) < 0.51  # grows from 0 to half a scale
    assert float(off["SMLD", "rounding"].max()) < 0.51
    assert float((off["DDPM", "linear"][:-1] - 0.5).abs().max()) < 0.01
    assert float(off["DDPM", "rounding"].max()) < 0.51
