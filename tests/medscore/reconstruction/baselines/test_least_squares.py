"""CGLS, SIRT and CG-SENSE against dense linear algebra."""

import pytest
import torch
from dense import N, ct, disc, lines, matrix, metal_ct, mri, multicoil, noise
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.real_images import Phased
from medscore.operators.wrappers.whitened import Whitened
from medscore.reconstruction.baselines.least_squares import CGLS, SIRT
from medscore.reconstruction.baselines.sense import CGSense

kspace = pytest.mark.parametrize("operator", [mri(), multicoil(1), multicoil(3)], ids=repr)


def data(operator: Operator, seed: int = 0) -> Tensor:
    """Complex noise on the mask."""
    shape = (2, *operator.grid_shape) if len(operator.grid_shape) == 3 else (2, 1, N, N)
    y = noise(*shape, seed=seed, dtype=torch.complex128)
    return operator.mask(y) * y


@pytest.mark.parametrize(
    ("operator", "dtype", "iterations"),
    [(ct(), torch.float64, 600), (lines(), torch.complex128, 100)],
    ids=["ct", "mri"],
)
def test_cgls_comes_to_the_least_squares_solution_of_least_norm(
    operator: Operator, dtype: torch.dtype, iterations: int
) -> None:
    """The data are noisy projections of discs, so they lie outside the range of A."""
    y = operator.forward(disc(2).to(dtype))
    y = operator.mask(y) * (y + 0.1 * noise(*y.shape, dtype=dtype))
    exact = y.flatten(1) @ torch.linalg.pinv(matrix(operator, dtype), rtol=1e-9).T
    found = CGLS(iterations=iterations).solve(operator, y)
    torch.testing.assert_close(found.flatten(1), exact, atol=1e-4, rtol=1e-4)


def test_cgls_stops_in_the_krylov_space() -> None:
    """The k-th iterate minimises the residual over the span of (A^T A)^j A^T y, j < k."""
    operator = ct()
    a, y = matrix(operator, torch.float64), operator.forward(disc()).flatten()
    krylov = [a.T @ y]
    for _ in range(3):
        krylov.append(a.T @ (a @ krylov[-1]))
    space, _ = torch.linalg.qr(torch.stack([v / v.norm() for v in krylov], 1))
    best = space @ torch.linalg.lstsq(a @ space, y[:, None]).solution[:, 0]
    found = CGLS(iterations=4).solve(operator, y.reshape(1, 1, *operator.grid_shape))
    torch.testing.assert_close(found.flatten(), best, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("relaxation", [1.0, 1.9])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_sirt_is_its_formula_with_a_matrix(relaxation: float, nonnegative: bool) -> None:
    operator = metal_ct()
    a, y = matrix(operator, torch.float64), operator.forward(disc())
    y = operator.mask(y) * (y + noise(*y.shape))
    rows, columns = a.sum(1), a.sum(0)
    x = torch.zeros(N * N, dtype=torch.float64)
    for _ in range(7):
        gap = torch.where(rows > 0, (y.flatten() - a @ x) / rows, 0)
        x = x + relaxation * torch.where(columns > 0, a.T @ gap / columns, 0)
        x = x.clamp_min(0) if nonnegative else x
    sirt = SIRT(iterations=7, relaxation=relaxation, nonnegative=nonnegative)
    torch.testing.assert_close(sirt.solve(operator, y).flatten(), x, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("relaxation", [0.5, 1.0, 1.9])
def test_sirt_descends_on_the_weighted_residual(relaxation: float) -> None:
    operator = ct()
    y = operator.forward(disc())
    y = operator.mask(y) * (y + noise(*y.shape))
    rows = operator.forward(torch.ones_like(disc()))
    weights = torch.where(rows > 0, 1 / rows, 0)
    last = float((weights * y**2).sum())
    for k in range(1, 15):
        x = SIRT(iterations=k, relaxation=relaxation).solve(operator, y)
        now = float((weights * (y - operator.forward(x)) ** 2).sum())
        assert now < last
        last = now


def test_noisy_rays_weigh_less_in_sirt() -> None:
    """Rays are weighted by their noise, so a very noisy ray does not change the result."""
    operator = ct()
    y = operator.forward(disc())
    std = torch.ones_like(y)
    std[..., 0, :] = 1e8
    spoilt = y.clone()
    spoilt[..., 0, :] += 1
    found = []
    for rays in (y, spoilt):
        white = Whitened(operator, std)
        found.append(SIRT(iterations=20).solve(white, white.white(rays)))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-6)


@kspace
@pytest.mark.parametrize("weight", [1e-2, 1.0])
def test_cg_sense_is_the_dense_tikhonov_solution(operator: Operator, weight: float) -> None:
    y = data(operator)
    a = matrix(operator, torch.complex128)
    size = torch.linalg.matrix_norm(a, 2) ** 2
    normal = a.mH @ a + weight * size * torch.eye(N * N)
    exact = torch.linalg.solve(normal, (y.flatten(1) @ a.conj()).T).T
    found = CGSense(weight=weight).solve(operator, y)
    torch.testing.assert_close(found.flatten(1), exact, atol=2e-3, rtol=2e-3)


def test_cg_sense_of_images_of_known_phase_is_real() -> None:
    phase = torch.exp(1j * noise(N, N))
    operator = Phased(multicoil(), phase)
    y = operator.forward(disc())
    found = CGSense(weight=1e-4).solve(operator, y)
    assert not found.is_complex()
    assert float((found - disc()).norm() / disc().norm()) < 0.2
