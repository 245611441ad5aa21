"""Moment matching with a learned covariance: exact, without backward passes."""

import itertools

import conditioning
import pytest
import torch
from conditioning import SDES, STD
from scipy import stats
from support import Square
from torch import Tensor

from medscore.conditioners.moment_matching import MomentMatching, _white
from medscore.errors import MedscoreError
from medscore.operators.ct.scans import sparse_view
from medscore.operators.wrappers.whitened import Whitened
from medscore.priors.base import Prior
from medscore.priors.counted import Counted
from medscore.samplers.ddim import DDIM
from medscore.sdes.base import SDE
from medscore.uncertainty.blocks import BlockCovariance
from medscore.uncertainty.low_rank import DiagonalLowRank
from medscore.white_noise import Noise

T = torch.tensor([0.4, 0.7], dtype=torch.float64)


class Learned(Prior):
    """The Gaussian prior of the conformance tests, with its exact covariance of x_0 given x_t."""

    def __init__(self, sde: SDE) -> None:
        self.sde, self.inner = sde, conditioning.prior(sde)

    @property
    def has_covariance(self) -> bool:
        return True

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        return self.inner.denoise(x, t)

    def denoise_with_covariance(self, x: Tensor, t: Tensor) -> tuple[Tensor, DiagonalLowRank]:
        s2 = self.sde.ratio(t)[:, None] ** 2
        values = self.inner.values[0] * s2 / (self.inner.values[0] + s2)
        least = values.min(1, keepdim=True).values / 2
        factors = (values - least).sqrt()[:, :, None] * self.inner.vectors[0].T
        diagonal = least.expand(-1, 9).reshape(x.shape)
        return self.denoise(x, t), DiagonalLowRank(
            diagonal, factors.reshape(len(x), 9, *x.shape[1:])
        )


class Without(Learned):
    """The same prior, which does not know its covariance."""

    @property
    def has_covariance(self) -> bool:
        return False

    def denoise_with_covariance(self, x: Tensor, t: Tensor) -> tuple[Tensor, DiagonalLowRank]:
        return Prior.denoise_with_covariance(self, x, t)  # type: ignore[return-value]


def problem() -> tuple[Square, Tensor, Tensor]:
    """An operator, measurements and states, of two images of nine values."""
    operator = Square()
    generator = torch.Generator().manual_seed(6)
    y, x = torch.randn(2, 2, 9, generator=generator, dtype=torch.float64)
    return operator, operator.mask(y) * y, x.reshape(2, 1, 3, 3)


@pytest.mark.parametrize("sde", SDES, ids=["VE", "VP", "sub-VP"])
@pytest.mark.parametrize("covariance", ["learned", "auto"])
def test_the_exact_covariance_gives_the_exact_mean_without_a_backward_pass(
    sde: SDE, covariance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, y, x = problem()
    exact = MomentMatching(operator, y, STD, 9, 0.0, "denoiser").prior(Learned(sde)).denoise(x, T)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a backward pass")

    monkeypatch.setattr(torch.autograd, "grad", refused)
    counted = Counted(Learned(sde))
    conditioner = MomentMatching(operator, y, STD, 9, 0.0, covariance)  # type: ignore[arg-type]
    found = conditioner.prior(counted).denoise(x, T)
    torch.testing.assert_close(found, exact, rtol=1e-8, atol=1e-8)
    assert counted.nfe == 1
    assert float((found - Learned(sde).denoise(x, T)).abs().max()) > 0.1


def test_a_prior_without_a_learned_covariance_uses_its_denoiser_or_is_refused() -> None:
    operator, y, x = problem()
    prior = Counted(Without(SDES[0]))
    found, exact = (
        MomentMatching(operator, y, STD, 9, 0.0, chosen).prior(prior).denoise(x, T)
        for chosen in ("auto", "denoiser")
    )
    assert torch.equal(found, exact)
    with pytest.raises(MedscoreError, match="has no learned covariance"):
        MomentMatching(operator, y, STD, 9, 0.0, "learned").prior(prior).denoise(x, T)
    drawing = MomentMatching(operator, y, STD, draws=True)
    with pytest.raises(MedscoreError, match="`draws` needs a prior that knows its covariance"):
        drawing.sampler(DDIM(1.0)).step(prior, x, T, 0.5 * T, Noise([0, 1]), {})


def test_inflation_multiplies_a_learned_covariance_and_no_other() -> None:
    """With half the covariance and twice the inflation the result is the same."""
    operator, y, x = problem()

    def found(prior: Prior, covariance: str, inflation: float) -> Tensor:
        conditioner = MomentMatching(
            operator,
            y,
            STD,
            9,
            0.0,
            covariance,
            inflation,  # type: ignore[arg-type]
        )
        return conditioner.prior(prior).denoise(x, T)

    class Half(Learned):
        def denoise_with_covariance(self, x: Tensor, t: Tensor) -> tuple[Tensor, DiagonalLowRank]:
            denoised, covariance = super().denoise_with_covariance(x, t)
            return denoised, covariance.scaled(torch.full((len(x), 1, 1, 1), 0.5**0.5).to(x))

    whole, half = Learned(SDES[0]), Half(SDES[0])
    torch.testing.assert_close(found(half, "learned", 2.0), found(whole, "learned", 1.0))
    assert not torch.allclose(found(half, "learned", 1.0), found(whole, "learned", 1.0))
    assert torch.equal(found(whole, "denoiser", 2.0), found(whole, "denoiser", 1.0))


def test_a_tolerance_ends_the_conjugate_gradients_early() -> None:
    operator, y, x = problem()
    calls = []
    for tolerance in (1e-6, 0.5):
        before = operator.calls
        conditioner = MomentMatching(operator, y, STD, 9, 0.0, "learned", tolerance=tolerance)
        conditioner.prior(Learned(SDES[0])).denoise(x, T)
        calls.append(operator.calls - before)
    assert calls[1] < calls[0]


def test_the_floor_is_for_noise_free_measurements_alone() -> None:
    operator, y, x = problem()

    def found(std: float, floor: float) -> Tensor:
        return MomentMatching(operator, y, std, 9, floor).prior(Learned(SDES[0])).denoise(x, T)

    assert torch.equal(found(STD, 1.0), found(STD, 1e-3))
    assert not torch.allclose(found(0.0, 1.0), found(0.0, 1e-3))


class Smooth(Prior):
    """Zero, with a covariance in blocks whose coefficients fall with the frequency."""

    sde = SDES[0]

    @property
    def has_covariance(self) -> bool:
        return True

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def denoise_with_covariance(self, x: Tensor, t: Tensor) -> tuple[Tensor, BlockCovariance]:
        order = torch.arange(4.0, dtype=x.dtype)
        falling = (1 + order[:, None] + order).pow(-3).flatten()
        maps = falling[:, None, None].expand(16, *x.shape[2:])
        return self.denoise(x, t), BlockCovariance.from_maps(maps.expand(len(x), -1, -1, -1))


class Unknown(Whitened):
    """The same operator, without an approximation of A A^T."""

    def gram(self, y: Tensor) -> None:
        return None


def test_what_is_known_of_line_integrals_saves_iterations_and_changes_nothing() -> None:
    """Noise that differs between rays: eight steps come four times as close as without."""
    inner = sparse_view(24, 2.0, 12)
    noise = torch.linspace(0.2, 2.0, inner.grid_shape[-1]).expand(inner.grid_shape)[None, None]
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(2, 1, 24, 24, generator=generator, dtype=torch.float64)
    known, unknown = (kind(inner, noise.double()) for kind in (Whitened, Unknown))
    y = known.forward(x.cumsum(-1).cumsum(-2) / 10)

    def found(operator: Whitened, iterations: int) -> Tensor:
        conditioner = MomentMatching(operator, y, 1.0, iterations, tolerance=1e-9)
        return conditioner.prior(Smooth()).denoise(x, T)

    exact = found(unknown, 600)
    torch.testing.assert_close(found(known, 600), exact, rtol=1e-5, atol=1e-6)
    assert 4 * float((found(known, 8) - exact).norm()) < float((found(unknown, 8) - exact).norm())


@pytest.mark.statistical
@pytest.mark.parametrize("sde", SDES, ids=["VE", "VP", "sub-VP"])
@pytest.mark.parametrize("steps", [1, 3])
def test_draws_of_gaussian_data_are_exact_with_any_number_of_steps(sde: SDE, steps: int) -> None:
    """From a state drawn from p_1 given y. The mean and the covariance of 4000 samples, whitened by
    those of the posterior: sums of squares of 9 and of 45 standard normal numbers; false-alarm rate
    1e-6 for each of the two."""
    operator, y, _ = problem()
    prior, count = conditioning.prior(sde), 4000
    rows = y[:1].expand(count, -1)
    conditioner = MomentMatching(operator, rows, STD, 30, tolerance=1e-9, draws=True)
    taken = operator.mask(y).bool().flatten()
    posterior = prior.posterior(operator.matrix[taken], y[0][taken], STD)
    x = posterior.sample(count, 1.0, torch.Generator().manual_seed(1)).reshape(-1, 1, 3, 3)
    noise, sampler = Noise(range(count)), conditioner.sampler(DDIM(1.0))
    grid = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    for t, s in itertools.pairwise(grid):
        x, _ = sampler.step(
            conditioner.prior(prior), x.double(), t.expand(count), s.expand(count), noise, {}
        )
    mean_0, covariance = posterior.marginal(0.0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance),
        (x.flatten(1) - mean_0).T,
        upper=False,
    ).T
    mean = white.mean(0) * count**0.5
    assert float(mean.square().sum()) < stats.chi2.ppf(1 - 1e-6, 9)
    cross = (white.T @ white / count - torch.eye(9)) * (count / 2) ** 0.5
    apart = cross.tril(-1).square().sum() * 2 + cross.diagonal().square().sum()
    assert float(apart) < stats.chi2.ppf(1 - 1e-6, 45)


@pytest.mark.parametrize("complex_data", [False, True])
def test_data_are_drawn_with_the_noise_of_the_measurements(complex_data: bool) -> None:
    """Where the prior leaves no doubt, nothing is drawn; the noise has the shape of the data."""
    like = torch.zeros(2, 4, dtype=torch.complex128 if complex_data else torch.float64)
    drawn = _white(Noise([0, 1]), like)
    assert drawn.dtype == like.dtype
    assert drawn.shape == like.shape
    assert bool((drawn != 0).all())
