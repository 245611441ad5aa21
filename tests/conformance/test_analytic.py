"""The analytic priors: Gaussians and mixtures in 1 to 64 dimensions on every SDE."""

import math

import pytest
import torch
from exact import SDES
from torch import Tensor

from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP

all_sdes = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)
dimensions = pytest.mark.parametrize("d", [1, 2, 8, 64])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(), dtype=torch.float64)


def mixture(sde: SDE, d: int, k: int = 3) -> GMMPrior:
    roots = 0.3 * normal(k, d, d) + 0.5 * torch.eye(d, dtype=torch.float64)
    weights = torch.linspace(1, 2, k, dtype=torch.float64)
    return GMMPrior(sde, weights, normal(k, d), roots @ roots.mT / math.sqrt(d))


def by_hand(prior: GMMPrior, x: Tensor, t: float) -> Tensor:
    """log p_t(x) with torch's own distributions."""
    time = torch.tensor(t, dtype=torch.float64)
    a, s = prior.sde.alpha(time), prior.sde.sigma(time)
    noise = s**2 * torch.eye(x.shape[1], dtype=torch.float64)
    components = torch.distributions.MultivariateNormal(
        a * prior.means, a**2 * prior.covariances + noise
    )
    shares = torch.distributions.Categorical(prior.weights)
    return torch.distributions.MixtureSameFamily(shares, components).log_prob(x)


@all_sdes
@dimensions
@pytest.mark.parametrize("t", [0.05, 0.4, 1.0])
def test_density_and_score_are_the_mixtures(sde: SDE, d: int, t: float) -> None:
    prior, times = mixture(sde, d), torch.full((5,), t, dtype=torch.float64)
    x = normal(5, d).requires_grad_()
    exact = by_hand(prior, x, t)
    torch.testing.assert_close(prior.log_density(x.detach(), times), exact.detach())
    (score,) = torch.autograd.grad(exact.sum(), x)
    torch.testing.assert_close(prior.score(x.detach(), times), score)


@all_sdes
@dimensions
def test_a_mixture_of_one_is_the_gaussian(sde: SDE, d: int) -> None:
    root, mean = normal(d, d), normal(d)
    prior = GaussianPrior(sde, mean, root @ root.T)
    x, t = normal(4, d), torch.full((4,), 0.3, dtype=torch.float64)
    a, s = sde.alpha(t[0]), sde.sigma(t[0])
    total = a**2 * root @ root.T + s**2 * torch.eye(d, dtype=torch.float64)
    gain = a * (root @ root.T) @ torch.linalg.inv(total)
    expected = mean + (x - a * mean) @ gain.T
    torch.testing.assert_close(prior.denoise(x, t), expected, rtol=1e-6, atol=1e-8)


def test_each_sample_has_its_own_time() -> None:
    prior, x = mixture(VP(), 3), normal(2, 3)
    t = torch.tensor([0.2, 0.9], dtype=torch.float64)
    both = prior.denoise(x, t)
    for i in (0, 1):
        torch.testing.assert_close(both[i : i + 1], prior.denoise(x[i : i + 1], t[i : i + 1]))


def test_states_may_be_images() -> None:
    prior, t = mixture(VE(), 12), torch.full((4,), 0.5, dtype=torch.float64)
    x = normal(4, 12)
    image = x.reshape(4, 1, 3, 4)
    torch.testing.assert_close(prior.denoise(image, t).flatten(1), prior.denoise(x, t))
    torch.testing.assert_close(prior.log_density(image, t), prior.log_density(x, t))


@pytest.mark.statistical
@all_sdes
def test_denoising_is_the_mean_of_the_data_given_the_noisy_state(sde: SDE) -> None:
    """Importance weights over 200,000 draws of x_0 in two dimensions, noise as large as the data.

    Bounds of 6 standard errors of the weighted mean: false-alarm rate below 1e-7.
    """
    prior, n = mixture(sde, 2), 200_000
    t = sde.time(torch.tensor([1.0], dtype=torch.float64))
    x0 = prior.sample(n, 0.0, generator()) if not isinstance(sde, VE) else _clean(prior, n)
    x = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    weights = torch.softmax(-0.5 * ((x - sde.alpha(t) * x0) / sde.sigma(t)).square().sum(1), 0)
    mean = weights @ x0
    error = (weights**2 @ (x0 - mean).square()).sqrt()
    assert bool(((prior.denoise(x, t)[0] - mean).abs() < 6 * error).all())


def _clean(prior: GMMPrior, n: int) -> Tensor:
    """Data without the noise that VE has at t = 0."""
    return GMMPrior(VP(), prior.weights, prior.means, prior.covariances).sample(n, 0.0, generator())


@pytest.mark.slow
@all_sdes
@dimensions
def test_draws_have_the_stated_moments(sde: SDE, d: int) -> None:
    """Means of 20,000 draws within 6 standard errors; the covariance within 6 of its norm's."""
    prior, n = mixture(sde, d), 20_000
    x = prior.sample(n, 0.4, generator())
    mean, covariance = prior.marginal(0.4)
    standard = covariance.diagonal().sqrt() / n**0.5
    assert bool(((x.mean(0) - mean).abs() < 6 * standard).all())
    spread = ((x - mean)[:, :, None] * (x - mean)[:, None]).std(0) / n**0.5 if d < 64 else None
    if spread is not None:
        assert bool(((torch.cov(x.T) - covariance).abs() < 6 * spread).all())


@dimensions
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_posterior_obeys_bayes(d: int, noise: float) -> None:
    """By Bayes' rule, log p(x|y) - log p(x) - log N(y; A x, noise^2) is the same for every x."""
    prior, m = mixture(VP(), d), max(1, d // 2)
    matrix, y = normal(m, d), normal(m)
    posterior, t = prior.posterior(matrix, y, noise), torch.zeros(6, dtype=torch.float64)
    x = normal(6, d)
    fit = -0.5 * ((y - x @ matrix.T) / noise).square().sum(1)
    rest = prior.log_density(x, t) + fit - posterior.log_density(x, t)
    torch.testing.assert_close(rest, rest[:1].expand(6), rtol=1e-6, atol=1e-5)


@all_sdes
@pytest.mark.parametrize("t", [0.05, 0.5])
def test_the_posterior_diffuses_like_the_data(sde: SDE, t: float) -> None:
    """log p_t(x|y) = log p_t(x) + log p(y|x_t) + const; y given x_t is a mixture of its own, with
    each component's E[x_0|x_t] and Cov[x_0|x_t].
    """
    prior, matrix, y, noise = mixture(sde, 4), normal(2, 4), normal(2), 0.3
    posterior, times = prior.posterior(matrix, y, noise), torch.full((6,), t, dtype=torch.float64)
    x, eye = normal(6, 4), torch.eye(4, dtype=torch.float64)
    a, s = sde.alpha(times[0]), sde.sigma(times[0])
    shares, terms = prior.responsibilities(x, times), []
    for k in range(3):
        c = prior.covariances[k]
        gain = a * c @ torch.linalg.inv(a**2 * c + s**2 * eye)
        mean = prior.means[k] + (x - a * prior.means[k]) @ gain.T
        left = matrix @ (c - a * gain @ c) @ matrix.T + noise**2 * eye[:2, :2]
        normal_y = torch.distributions.MultivariateNormal(mean @ matrix.T, left)
        terms.append(torch.log(shares[:, k]) + normal_y.log_prob(y))
    fit = torch.logsumexp(torch.stack(terms), 0)
    rest = prior.log_density(x, times) + fit - posterior.log_density(x, times)
    torch.testing.assert_close(rest, rest[:1].expand(6), rtol=1e-6, atol=1e-6)


@all_sdes
@pytest.mark.parametrize("t", [0.0, 1e-3, 0.5, 1.0])
def test_single_precision_keeps_the_score(sde: SDE, t: float) -> None:
    """This holds even at sigma = 1e-4, where the denoised image equals the state to all digits."""
    prior = mixture(sde, 2)
    single = GMMPrior(sde, prior.weights.float(), prior.means.float(), prior.covariances.float())
    t = max(t, sde.eps)
    x = prior.sample(200, t, generator())
    times = torch.full((200,), t, dtype=torch.float64)
    exact, found = prior.score(x, times), single.score(x.float(), times.float())
    assert float((found - exact).norm() / exact.norm()) < 1e-3


def test_noise_free_measurements_are_met_exactly() -> None:
    prior, matrix = mixture(VP(), 4), normal(2, 4)
    y = torch.tensor([0.5, -0.3], dtype=torch.float64)
    x = prior.posterior(matrix, y, 0.0).sample(50, 0.0, generator())
    torch.testing.assert_close(x @ matrix.T, y.expand(50, 2), rtol=1e-6, atol=1e-6)


def test_far_components_keep_their_weights() -> None:
    """Posterior weights of components a thousand standard deviations apart do not underflow."""
    means = torch.tensor([[-1000.0], [1000.0]])
    prior = GMMPrior(VE(), torch.tensor([0.2, 0.8]), means, torch.ones(2, 1, 1))
    x, t = torch.tensor([[-999.0], [1001.0]]), torch.zeros(2)
    torch.testing.assert_close(prior.responsibilities(x, t), torch.eye(2))
    assert bool(prior.score(x, t).isfinite().all())


@pytest.mark.parametrize(
    ("weights", "means", "covariances"),
    [((2,), (3, 4), (3, 4, 4)), ((3,), (3, 4), (3, 4, 5)), ((3,), (3, 4), (2, 4, 4))],
)
def test_shapes_that_do_not_fit_are_refused(
    weights: tuple[int, ...], means: tuple[int, ...], covariances: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="shapes"):
        GMMPrior(VP(), torch.ones(weights), torch.ones(means), torch.ones(covariances))


def test_weights_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        GMMPrior(VP(), torch.tensor([0.5, 0.0]), torch.zeros(2, 1), torch.ones(2, 1, 1))
