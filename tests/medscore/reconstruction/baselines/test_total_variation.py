"""Total variation: its proximal map, and the minimum that FISTA reaches."""

import numpy as np
import pytest
import torch
from dense import ct, disc, mri, noise
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.fista import STEP, fista
from medscore.reconstruction.baselines.total_variation import (
    FISTATV,
    TVProx,
    differences,
    differences_adjoint,
    length,
    total_variation,
)


def dot(a: Tensor, b: Tensor) -> float:
    return float((a.conj() * b).real.sum())


def spotted(dtype: torch.dtype = torch.float64) -> Tensor:
    """Noisy discs; some values are negative."""
    return disc(2) - 0.1 + 0.2 * noise(*disc(2).shape, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_differences_have_their_adjoint(dtype: torch.dtype) -> None:
    x, p = noise(2, 1, 5, 7, dtype=dtype), noise(2, 2, 1, 5, 7, seed=1, dtype=dtype)
    assert dot(differences(x), p) == pytest.approx(dot(x, differences_adjoint(p)))


def test_differences_of_volumes_have_their_adjoint() -> None:
    x, p = noise(2, 1, 4, 5, 7), noise(3, 2, 1, 4, 5, 7, seed=1)
    assert dot(differences(x), p) == pytest.approx(dot(x, differences_adjoint(p)))


def test_a_voxel_of_a_volume_has_six_faces() -> None:
    x = torch.zeros(2, 1, 5, 5, 5)
    x[0, :, 2, 2, 2] = 2.0
    x[1, :, 2:] = 2.0  # a step between two slices
    torch.testing.assert_close(total_variation(x), torch.tensor([2 * (3 + 3**0.5), 50.0]))


def test_the_proximal_map_of_volumes_closes_the_duality_gap() -> None:
    v = torch.zeros(1, 1, 5, 8, 8, dtype=torch.float64)
    v[..., 1:4, 2:6, 2:6] = 1.0
    v, prox = v + 0.2 * noise(*v.shape), TVProx(0.1, 2000)
    x, p = prox(v), prox.dual
    assert p is not None
    assert float(length(p).max()) <= 1 + 1e-12
    primal = 0.5 * float((x - v).square().sum()) + 0.1 * float(total_variation(x).sum())
    # with the bound x >= 0 the dual value is that of the projected primal point
    u = v - 0.1 * differences_adjoint(p)
    dual = 0.5 * float((x - v).square().sum()) + 0.1 * dot(p, differences(x))
    assert torch.equal(x, u.clamp_min(0.0))
    assert 0 <= primal - dual + 1e-12 < 1e-6 * primal


def test_total_variation_is_isotropic_and_edges_of_the_image_are_none() -> None:
    x = torch.zeros(3, 1, 9, 9)
    x[0, :, 2:5, 3:] = 2.0  # three rows from column 3 to the right edge
    x[1, :, 4, 4] = 2.0  # down and to the right from it at once
    x[2] = 7.0
    expected = torch.tensor([2 * (6 + 6 + 3), 2 * (2 + 2**0.5), 0])
    torch.testing.assert_close(total_variation(x), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("weight", [0.02, 0.3])
def test_the_proximal_map_closes_the_duality_gap(dtype: torch.dtype, weight: float) -> None:
    """The primal and the dual value are equal at the minimum only."""
    v, prox = spotted(dtype), TVProx(weight, 2000)
    x, p = prox(v), prox.dual
    assert p is not None
    assert float(length(p).max()) <= 1 + 1e-12
    assert x.is_complex() or float(x.min()) >= 0
    half = 0.5 * float((x - v).abs().square().sum())
    primal = half + weight * float(total_variation(x).sum())
    dual = half + weight * dot(p, differences(x))
    assert 0 <= primal - dual + 1e-12 < 1e-6 * primal


def test_the_proximal_map_agrees_with_scikit_image() -> None:
    """It equals Chambolle's solution where the bound at zero is inactive."""
    v = spotted() + 5
    ours = TVProx(0.1, 1000)(v)
    theirs = [
        denoise_tv_chambolle(image.numpy(), weight=0.1, eps=0, max_num_iter=3000)
        for image in v[:, 0]
    ]

    def objective(x: Tensor) -> float:
        return float((0.5 * (x - v) ** 2).sum() + 0.1 * total_variation(x).sum())

    reference = torch.from_numpy(np.stack(theirs))[:, None]
    assert objective(ours) <= objective(reference)
    assert objective(ours) == pytest.approx(objective(reference), rel=1e-4)
    torch.testing.assert_close(ours, reference, atol=5e-3, rtol=0)


def test_a_call_goes_on_where_the_last_one_ended() -> None:
    v, exact = spotted(), TVProx(0.1, 3000)(spotted())
    prox = TVProx(0.1, 10)
    errors = [float((prox(v) - exact).norm()) for _ in range(20)]
    assert errors[-1] < 0.05 * errors[0]


@pytest.mark.slow
def test_fista_tv_reaches_the_minimum_of_a_scan() -> None:
    r"""Within 1e-4 by the dual: for any u and |p| <= 1 with w grad^T p >= A^T u, the minimum is at
    least <u, y> - |A|^2 |u|^2 / 2. u is the residual, lowered until it is feasible.
    """
    operator, weight = ct(), FISTATV().weight
    y = operator.forward(disc())
    y = operator.mask(y) * (y + 0.02 * noise(*y.shape))
    x = FISTATV().solve(operator, y)
    size = operator.norm_squared(y)[0]
    rest = y - operator.forward(x)
    prox = TVProx(weight, 1000)
    prox(x + operator.adjoint(rest) / size)
    assert prox.dual is not None
    primal = 0.5 * rest.square().sum() / size + weight * total_variation(x).sum()
    violation = operator.adjoint(rest / size) - weight * differences_adjoint(prox.dual)
    ones = operator.mask(y).expand_as(y)
    u = rest / size - (violation / operator.adjoint(ones)).clamp_min(0).max() * ones
    dual = (u * y).sum() - 0.5 * size * u.square().sum()
    assert 0 <= float(primal - dual) < 1e-4 * float(primal)


@pytest.mark.parametrize("operator", [ct(), mri()], ids=["ct", "mri"])
def test_a_batch_gives_what_its_samples_give(operator: Operator) -> None:
    """This holds although each sample stops at its own convergence."""
    x = disc(3).to(torch.complex128 if operator.zero_filled_is_pinv else torch.float64)
    y = operator.forward(x * torch.tensor([1.0, 0.2, 0.01])[:, None, None, None])
    tv = FISTATV(weight=1e-3, iterations=60, tolerance=1e-4)
    alone = [tv.solve(operator, part) for part in y.split(1)]
    torch.testing.assert_close(tv.solve(operator, y), torch.cat(alone))


@pytest.mark.slow
def test_a_tolerance_ends_early_near_the_minimum() -> None:
    operator = ct()
    y = operator.forward(disc())
    before = operator.calls
    early = FISTATV(weight=1e-2, tolerance=1e-6, iterations=300).solve(operator, y)
    assert operator.calls - before < 500
    late = FISTATV(weight=1e-2, iterations=300).solve(operator, y)
    torch.testing.assert_close(early, late, atol=1e-3, rtol=0)


def test_momentum_starts_again_where_it_leads_uphill() -> None:
    """With a strongly convex penalty the gradient decays to rounding; plain FISTA oscillates."""
    operator = ct()
    y = operator.forward(disc())
    x = fista(operator, y, lambda v: v / (1 + 0.01 * STEP), iterations=300)
    gradient = operator.adjoint(operator.forward(x) - y) / operator.norm_squared(y) + 0.01 * x
    assert float(gradient.norm()) < 1e-12 * float(x.norm())


def test_complex_images_are_not_cut_off() -> None:
    operator = mri()
    x = disc() * torch.exp(torch.tensor(2.5j, dtype=torch.complex128))
    found = FISTATV(weight=1e-4, iterations=200).solve(operator, operator.forward(x))
    assert float((found - x).abs().max()) < 0.05
