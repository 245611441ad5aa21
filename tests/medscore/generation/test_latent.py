"""Latent codes by the probability flow: encoding, decoding and interpolation."""

import pytest
import torch
from densities import NAMES, SDES, D, gauss, mixture, points

from medscore.generation.latent import agreement, decode, encode, slerp
from medscore.priors.analytic import GaussianPrior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_decoding_undoes_encoding(sde: SDE) -> None:
    prior = mixture(sde)
    x = points(prior, 4, sde.eps)
    assert float((decode(prior, encode(prior, x)) - x).abs().max()) < 1e-3


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_the_code_of_a_gaussian_is_known(sde: SDE) -> None:
    """The flow of a Gaussian scales its axes by the ratio of their standard deviations."""
    prior = gauss(sde)
    x = points(prior, 3, sde.eps)
    (m0, c0), (m1, c1) = prior.marginal(sde.eps), prior.marginal(1.0)
    values, axes = torch.linalg.eigh(c0)
    gain = (axes.T @ c1 @ axes).diagonal().sqrt() / values.sqrt()
    expected = m1 + ((x - m0) @ axes * gain) @ axes.T
    found = encode(prior, x)
    assert float((found - expected).abs().max()) < 1e-3 * float(found.std())


def test_a_code_does_not_depend_on_its_neighbours() -> None:
    prior = mixture(VP())
    x = points(prior, 3, 1e-3)
    assert torch.equal(encode(prior, x)[1:2], encode(prior, x[1:2]))


def test_interpolation_stays_on_the_sphere_and_meets_its_ends() -> None:
    a, b = torch.randn(2, 5, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    a, b = (7 * v / v.flatten(1).norm(dim=1)[:, None, None, None] for v in (a, b))
    assert torch.allclose(slerp(a, b, 0.0), a)
    assert torch.allclose(slerp(a, b, 1.0), b)
    for weight in (0.2, 0.5, 0.9):
        between = slerp(a, b, weight).flatten(1)
        assert torch.allclose(between.norm(dim=1), torch.full((5,), 7.0, dtype=torch.float64))
        cosine = torch.cosine_similarity(between, a.flatten(1))
        whole = torch.acos(torch.cosine_similarity(a.flatten(1), b.flatten(1)))
        assert torch.allclose(torch.acos(cosine), weight * whole)


def test_interpolation_of_equal_codes_is_them() -> None:
    a = torch.ones(1, 3)
    assert torch.equal(slerp(a, a, 0.3), a)


@pytest.mark.slow
def test_two_priors_of_the_same_data_have_the_same_codes() -> None:
    sde = VE(0.05, 50.0)
    first, other = gauss(sde), GaussianPrior(sde, torch.zeros(D).double(), torch.eye(D).double())
    x = points(first, 6, sde.eps)
    same = agreement(first, gauss(sde), x)
    assert same.difference < 1e-6
    assert same.correlation == pytest.approx(1)
    assert same.shuffled > 0.2
    assert agreement(first, other, x).difference > 0.1
    with pytest.raises(ValueError, match="different SDEs"):
        agreement(first, gauss(VP()), x)
    with pytest.raises(ValueError, match="two images"):
        agreement(first, first, x[:1])
