"""The second-order score in all forms, from a prior's own covariance or by differentiation."""

import pytest
import torch
from shapes import unchecked_shapes
from support import SharedNoise
from torch import Tensor

from medscore.conditioners.base import Remembering
from medscore.errors import MedscoreError
from medscore.priors.analytic import GMMPrior
from medscore.priors.base import Prior
from medscore.samplers.ozaki import Ozaki, rise
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP
from medscore.types import State, Times
from medscore.uncertainty.low_rank import DiagonalLowRank
from medscore.uncertainty.second_order import Form, SecondOrder
from medscore.white_noise import Noise

SDES: list[SDE] = [VE(0.05, 10.0), VP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)
T = torch.tensor([0.3, 0.6], dtype=torch.float64)


class Plain(Prior):
    """A prior that has a denoiser only, as most networks do."""

    def __init__(self, inner: GMMPrior) -> None:
        self.inner, self.sde = inner, inner.sde

    def denoise(self, x: State, t: Times) -> State:
        return self.inner.denoise(x, t)


class LowRank(Plain):
    """The same with its covariance as diagonal plus low rank: half of it as factors."""

    has_covariance = True

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, DiagonalLowRank]:
        matrix = self.inner.covariance(x, t)
        values, vectors = torch.linalg.eigh(matrix)
        factors = (vectors * values.clamp_min(0).sqrt()[:, None]).mT.reshape(
            len(x), -1, *x.shape[1:]
        )
        return self.denoise(x, t), DiagonalLowRank(torch.zeros_like(x), factors)


def mixture(sde: SDE) -> GMMPrior:
    means = torch.tensor([[-1.0, 0.0, 0.5, 0.2], [1.0, 0.3, -0.2, 0.0]], dtype=torch.float64)
    root = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    return GMMPrior(sde, torch.tensor([0.4, 0.6]).double(), means, 0.2 * root @ root.mT)


def states() -> Tensor:
    return torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(2)).double()


def hessian(prior: GMMPrior, x: Tensor, t: Tensor) -> Tensor:
    """The second derivatives of log p_t by torch itself, (batch, D, D)."""
    found = []
    for i in range(len(x)):

        def density(v: Tensor, i: int = i) -> Tensor:
            return prior.log_density(v[None], t[i : i + 1])[0]

        found.append(torch.autograd.functional.hessian(density, x[i].flatten()))
    return torch.stack(found)


@all_sdes
@pytest.mark.parametrize("kind", ["own", "by differentiation", "learned"])
def test_it_is_the_hessian_of_the_log_density(sde: SDE, kind: str) -> None:
    exact, x = mixture(sde), states()
    prior = {"own": exact, "by differentiation": Plain(exact), "learned": LowRank(exact)}[kind]
    form: Form = "low-rank" if kind == "learned" else "full"
    score, second = SecondOrder(form).at(prior, x, T, SharedNoise(0))
    torch.testing.assert_close(score, exact.score(x, T))
    v = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(3)).double()
    product = torch.einsum("bde,be->bd", hessian(exact, x, T), v.flatten(1)).reshape(v.shape)
    torch.testing.assert_close(second.along(v)(lambda h: h), product)


@all_sdes
@pytest.mark.parametrize("kind", ["own", "learned"])
def test_the_diagonal_form_is_the_diagonal_of_the_hessian(sde: SDE, kind: str) -> None:
    exact, x = mixture(sde), states()
    prior = exact if kind == "own" else LowRank(exact)
    _, second = SecondOrder("diagonal").at(prior, x, T, SharedNoise(0))
    found = second.along(torch.ones_like(x))(lambda h: h).flatten(1)
    torch.testing.assert_close(found, hessian(exact, x, T).diagonal(dim1=1, dim2=2))


def test_the_diagonal_by_differentiation_is_the_mean_over_its_probes() -> None:
    """Each probe gives v * (H v) for signs v from the noise of its own sample."""
    exact, x = mixture(VP()), states()
    _, second = SecondOrder("diagonal", probes=3).at(Plain(exact), x, T, Noise([0, 1]))
    found = second.along(torch.ones_like(x))(lambda h: h).flatten(1)
    noise, matrix = Noise([0, 1]), hessian(exact, x, T)
    signs = [noise(x).flatten(1).sign() for _ in range(3)]
    expected = sum(v * torch.einsum("bde,be->bd", matrix, v) for v in signs) / 3
    torch.testing.assert_close(found, expected)


def test_low_rank_without_a_learned_covariance_is_refused() -> None:
    exact, x = mixture(VP()), states()
    with pytest.raises(MedscoreError, match="Plain has no learned covariance - use the form"):
        SecondOrder("low-rank").at(Plain(exact), x, T, SharedNoise(0))
    with pytest.raises(MedscoreError, match="is a full matrix - use the form full"):
        SecondOrder("low-rank").at(exact, x, T, SharedNoise(0))


@pytest.mark.parametrize("fields", [{"form": "half"}, {"probes": 0}, {"order": 1.5}], ids=str)
def test_settings_out_of_range_are_refused(fields: dict[str, object]) -> None:
    name = next(iter(fields))
    with unchecked_shapes(), pytest.raises(MedscoreError, match=f"`{name}` is"):
        SecondOrder(**fields)  # type: ignore[arg-type]


def test_the_rise_is_the_step_size_at_a_vanishing_curvature_and_bounded() -> None:
    """(e^{eps h} - 1) / h: eps at 0, -1/h for strong curvature, its bound for h > 0."""
    h = torch.tensor([0.0, 1e-12, -1e-12, -100.0, 2.0, 1e6], dtype=torch.float64)
    eps = torch.tensor(0.3, dtype=torch.float64)
    found = rise(h, eps, 1.0)
    bound = 0.3 * (torch.e - 1)
    exact = torch.tensor([0.3, 0.3, 0.3, 0.01, (torch.e**0.6 - 1) / 2, bound]).double()
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=0)
    assert float(rise(h, eps, 0.0)[-1]) == pytest.approx(0.3)


@pytest.mark.parametrize("form", ["full", "diagonal"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_conditioner_that_remembers_the_denoised_image_works_with_ozaki(
    form: Form, kept: bool
) -> None:
    """The state after the step is that without it, and it has no graph."""
    exact, x = Plain(mixture(VP())), states()
    seen = Remembering(exact, differentiable=kept)
    sampler = Ozaki(0.1, SecondOrder(form))
    found, _ = sampler.step(seen, x, T, T, Noise([0, 1]), {})
    plain, _ = sampler.step(exact, x, T, T, Noise([0, 1]), {})
    torch.testing.assert_close(found, plain)
    assert not found.requires_grad
    leaf, _, denoised = seen.first(x, T)
    torch.testing.assert_close(denoised, exact.denoise(x, T))
    assert denoised.requires_grad == leaf.requires_grad == kept
