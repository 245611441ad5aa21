"""Where the data decide: exact for Gaussian priors, and for pixels that are hidden."""

import numpy as np
import pytest
import torch

from medscore.operators.images.inpainting import Inpainting
from medscore.operators.wrappers.whitened import Whitened
from medscore.priors.analytic import GaussianPrior
from medscore.reconstruction.evidence import Evidence, prior_samples
from medscore.samplers.grids import log_snr
from medscore.sdes.linear import VE
from medscore.uncertainty.influence import influence
from medscore.uncertainty.null_space import NullSpace, energies, null_part, null_space, structure

SIDE = 4
SDE = VE(0.01, 5.0)


def gaussian() -> GaussianPrior:
    """A Gaussian prior whose variance grows along the image."""
    place = torch.arange(SIDE).float()
    near = torch.exp(-0.5 * ((place[:, None] - place) / 1.5) ** 2)
    scale = torch.linspace(0.1, 0.6, SIDE**2)
    shape = torch.kron(near, near) + 0.05 * torch.eye(SIDE**2)
    return GaussianPrior(SDE, torch.full((SIDE**2,), 0.5), scale[:, None] * shape * scale)


@pytest.mark.statistical
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_samples_of_the_prior_about_an_image_have_their_exact_variance(ratio: float) -> None:
    """2,000 samples, whose variances have a standard error of 3.2 %."""
    prior, image = gaussian(), torch.full((1, 1, SIDE, SIDE), 0.4)
    drawn = prior_samples(prior, image, log_snr(SDE, 60), range(2000), ratio)
    covariance = prior.covariances[0].double()
    exact = torch.linalg.inv(torch.linalg.inv(covariance) + torch.eye(SIDE**2) / ratio**2)
    found = drawn.flatten(1).double().var(0) / exact.diagonal()
    assert float((found - 1).abs().max()) < 0.13


@pytest.mark.statistical
def test_the_influence_is_one_less_the_ratio_of_variances() -> None:
    """Half of the pixels are measured; 2,000 draws each; the exact numbers within 0.07."""
    prior, std, ratio = gaussian(), 0.1, 1.0
    matrix = torch.eye(SIDE**2).double()[::2]
    covariance = prior.covariances[0].double()
    exact_prior = GaussianPrior(SDE, prior.means[0].double(), covariance)
    posterior = exact_prior.posterior(matrix, matrix @ prior.means[0].double(), std)
    draws = posterior.sample(2000, 0.0, torch.Generator().manual_seed(0))
    image = draws.mean(0).float().reshape(1, 1, SIDE, SIDE)
    about = prior_samples(prior, image, log_snr(SDE, 60), range(2000), ratio)
    shown = [each.reshape(1, 2000, SIDE, SIDE).numpy() for each in (draws, about)]
    found = influence(*shown, window=0.0).ravel()
    below = torch.linalg.inv(torch.linalg.inv(covariance) + torch.eye(SIDE**2) / ratio**2)
    expected = (1 - posterior.covariances[0].diagonal() / below.diagonal()).clamp(0, 1)
    np.testing.assert_allclose(found, expected, atol=0.07)
    assert found[::2].min() > found[1::2].min()


def test_the_influence_is_0_where_the_prior_leaves_nothing_open() -> None:
    samples = np.random.default_rng(0).normal(size=(1, 5, 3, 3))
    assert (influence(samples, np.zeros((1, 5, 3, 3)), window=0.0) == 0).all()
    assert (influence(np.zeros((1, 5, 3, 3)), samples, window=0.0) == 1).all()


def hidden() -> tuple[Inpainting, torch.Tensor]:
    mask = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) < 0.5
    return Inpainting(mask), mask


def test_of_noise_free_pixels_the_hidden_ones_are_undetermined() -> None:
    operator, mask = hidden()
    x = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(null_part(operator, x, None), x * ~mask, atol=1e-4, rtol=0)


def test_noise_leaves_of_measured_pixels_what_a_white_prior_would() -> None:
    """The share 1 / (1 + v / std^2) of those that are measured."""
    operator, mask = hidden()
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    white = Whitened(operator, torch.full((1, 1, 1, 1), 0.5))
    found = null_part(white, x, torch.full((2,), 0.25))
    torch.testing.assert_close(found, torch.where(mask, x / 2, x), atol=1e-4, rtol=0)


def test_energies_are_those_of_the_common_and_of_the_own_part() -> None:
    """4,000 values: the common part has 1, each sample's own 0.25 per value; 6 standard errors."""
    generator = torch.Generator().manual_seed(2)
    common = torch.randn(4000, generator=generator)
    found = energies(common + 0.5 * torch.randn(3, 4000, generator=generator))
    assert found[0] / 4000 == pytest.approx(float(common.square().mean()), abs=0.06)
    assert found[1] / 4000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(("own", "expected"), [(0.0, 0.0), (1.0, 0.5), (100.0, 1.0)])
def test_the_disagreement_is_the_share_of_each_samples_own_detail(
    own: float, expected: float
) -> None:
    operator, mask = hidden()
    generator = torch.Generator().manual_seed(3)
    common = torch.randn(1, 1, 16, 16, generator=generator)
    samples = common + own * ~mask * torch.randn(40, 1, 16, 16, generator=generator)
    found = null_space(operator, samples, noisy=False)
    assert found.disagreement == pytest.approx(expected, abs=0.08)
    share = float((~mask).float().mean())
    assert found.outside > 0.8 * share
    details = structure(samples)
    torch.testing.assert_close(found.common, details.mean(0) * ~mask, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.own, details.std(0) * ~mask, atol=1e-3, rtol=1e-3)


def test_what_the_data_do_not_determine_is_given_in_the_unit_of_the_images() -> None:
    """A slice of one channel and one of two, whose modulus counts."""
    x = torch.tensor([3.0, -4.0]).reshape(2, 1, 1)
    real = NullSpace(0.5, 0.25, x[:1], x[:1].abs())
    modulus = NullSpace(0.3, 0.5, x, x.abs())
    found = Evidence.of(np.zeros((2, 3, 1, 1), np.float32), [real, modulus], [2.0, 10.0])
    assert found.agreed.ravel().tolist() == [6.0, 50.0]
    assert found.disputed.ravel().tolist() == [6.0, 50.0]
    assert found.means() == (0.4, 0.375)
    assert found.record()["slices"] == [[0.5, 0.25], [0.3, 0.5]]


def test_pixels_that_nothing_sees_do_not_count() -> None:
    operator = Inpainting(torch.ones(16, 16, dtype=torch.bool))
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(4))
    seen = torch.zeros(16, 16)
    assert null_space(operator, x, noisy=False, seen=seen).outside == 0.0
    assert null_space(operator, x, noisy=False).outside < 1e-4
