"""The non-uniform transform against a direct sum."""

import math
import sys
from importlib.util import find_spec

import pytest
import torch

from medscore.errors import MedscoreError
from medscore.operators.mri.fourier import fft2c
from medscore.operators.mri.nufft import NonuniformFourier, radial_trajectory

needs_finufft = pytest.mark.skipif(find_spec("finufft") is None, reason="finufft is not installed")


def draw(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.view_as_complex(torch.randn(*shape, 2, generator=generator, dtype=torch.float64))


def whole(trajectory: torch.Tensor, height: int, width: int) -> NonuniformFourier:
    return NonuniformFourier(trajectory, torch.ones(trajectory.shape[1]).bool(), height, width)


@needs_finufft
@pytest.mark.parametrize(("height", "width"), [(12, 12), (10, 15)])
def test_gridding_is_the_direct_sum(height: int, width: int) -> None:
    trajectory, x = radial_trajectory(12, 20), draw(1, 1, height, width)
    y, x_at = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    waves = torch.exp(
        -1j * (trajectory[0, :, None, None] * y[:, None] + trajectory[1, :, None, None] * x_at)
    )
    exact = (waves * x[0, 0]).sum((-1, -2)) / math.sqrt(height * width)
    found = whole(trajectory, height, width).T(x)[0, 0]
    assert float((found - exact).norm() / exact.norm()) <= 1e-10


@needs_finufft
def test_on_the_cartesian_grid_it_is_the_fourier_transform() -> None:
    n, x = 8, draw(1, 1, 8, 8)
    k = (torch.arange(n).double() - n // 2) * (2 * math.pi / n)
    grid = torch.stack(torch.meshgrid(k, k, indexing="ij")).flatten(1)
    found, exact = whole(grid, n, n).T(x).reshape(n, n), fft2c(x)[0, 0]
    assert float((found - exact).norm() / exact.norm()) <= 1e-10


@pytest.mark.slow
@needs_finufft
def test_the_refined_inverse_beats_the_compensated_adjoint() -> None:
    operator = whole(radial_trajectory(24, 40), 24, 24)
    x = fft2c(torch.nn.functional.pad(draw(1, 1, 12, 12), (6, 6, 6, 6)))  # within the disc
    z = operator.T(x)
    adjoint = operator.T_adjoint(operator._density(z) * z)
    refined = operator.T_inv(z)
    first, last = (float((v - x).norm() / x.norm()) for v in (adjoint, refined))
    assert last <= 0.02
    assert last < first / 4


@needs_finufft
@pytest.mark.parametrize(
    ("trajectory", "message"),
    [(torch.zeros(3, 8), "shape"), (torch.full((2, 8), 4.0), "radians per pixel")],
)
def test_invalid_trajectories_are_refused(trajectory: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        whole(trajectory, 8, 8)


def test_without_finufft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MedscoreError, match=r"needs the package finufft.*medscore\[nufft\]"):
        whole(radial_trajectory(8, 4), 8, 8)
