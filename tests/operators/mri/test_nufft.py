"""The non-uniform transform against a direct sum."""

import math
import sys
from importlib.util import find_spec

import pytest
import torch

from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.mri.fourier import fft2c
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier, density_compensation
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.mri.trajectories import radial_trajectory, spiral_trajectory

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


@pytest.mark.parametrize("arms", [1, 4, 9])
def test_spirals_leave_no_gap_of_a_cartesian_sample(arms: int) -> None:
    n = 24
    points = spiral_trajectory(n, arms).reshape(2, arms, -1)
    assert float(points.norm(dim=0).max()) <= math.pi + 1e-9
    steps = points.diff(dim=-1).norm(dim=0)[:, 1:]  # the first is sqrt(s) at s = 0
    assert float(steps.max()) <= 0.8 * 2 * math.pi / n
    k = torch.linspace(-0.95, 0.95, 41).double() * math.pi
    grid = torch.stack(torch.meshgrid(k, k, indexing="ij")).flatten(1)
    inside = grid[:, grid.norm(dim=0) < 0.95 * math.pi]
    nearest = torch.cdist(inside.T, points.flatten(1).T).amin(1)
    assert float(nearest.max()) <= 0.6 * 2 * math.pi / n


@needs_finufft
@pytest.mark.parametrize("coils", [0, 4])
@pytest.mark.parametrize("kind", ["radial", "spiral"])
def test_an_image_within_the_disc_comes_back(kind: str, coils: int) -> None:
    n = 24
    trajectory = radial_trajectory(n, 40) if kind == "radial" else spiral_trajectory(n, 8)
    mask = torch.ones(trajectory.shape[1]).bool()
    operator: Operator = NonuniformFourier(trajectory, mask, n, n)
    if coils:
        operator = MulticoilNonuniform(birdcage(coils, n, n), trajectory, mask)
    x = fft2c(torch.nn.functional.pad(draw(1, 1, 12, 12), (6, 6, 6, 6)))
    if coils:  # the coils move parts of the spectrum beyond the disc
        window = torch.signal.windows.hann(n, dtype=torch.float64)
        x = x * window[:, None] * window
    found = operator.T_inv(operator.T(x))
    assert float((found - x).norm() / x.norm()) <= 0.03
    alone = operator.pinv(operator.T(x), tol=1e-3).x
    assert float((alone - x).norm() / x.norm()) <= 0.03


@needs_finufft
def test_several_images_are_transformed_as_one_by_one() -> None:
    operator, x = whole(radial_trajectory(12, 20), 12, 12), draw(11, 3, 12, 12)
    together = operator.T(x)
    alone = torch.stack([torch.stack([operator.T(c[None, None])[0, 0] for c in one]) for one in x])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(operator.T_adjoint(together)[7:8], operator.T_adjoint(together[7:8]))


@needs_finufft
def test_the_density_of_cartesian_points_is_even_and_that_of_a_radial_scan_a_ramp() -> None:
    n = 16
    k = (torch.arange(n).double() - n // 2) * (2 * math.pi / n)
    grid = torch.stack(torch.meshgrid(k, k, indexing="ij")).flatten(1)
    even = density_compensation(grid, (n, n))
    assert float(even.std() / even.mean()) < 1e-2
    spokes = density_compensation(radial_trajectory(n, 26), (n, n)).reshape(26, -1).mean(0)
    radius = (torch.arange(2 * n) - n).abs().double()
    inner = (radius > 2) & (radius < n - 2)
    slope = spokes[inner] / radius[inner]
    assert float(slope.std() / slope.mean()) < 0.1


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
