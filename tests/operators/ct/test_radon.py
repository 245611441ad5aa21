"""The Radon operator against exact line integrals and an independent implementation."""

import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given, strategies as st
from skimage.transform import radon as skimage_radon
from torch import Tensor

from medscore.datasets.fit import reduce
from medscore.datasets.load import load_image
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.phantoms import (
    SHEPP_LOGAN,
    Ellipse,
    exact_sinogram,
    rasterize,
    scaled,
)
from medscore.operators.ct.projector import project
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import full_grid, sparse_view

PHANTOMS = {
    "disc": (Ellipse(0.02, 0.0, 0.0, 100.0, 100.0),),
    "off-centre ellipse": (Ellipse(0.02, 30.0, -20.0, 60.0, 35.0, 0.6),),
}


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10(float((a.clamp(0, 1) - b.clamp(0, 1)).square().mean()))


def ct_slice(size: int) -> Tensor:
    """A real CT slice shipped with pydicom (1, 1, size, size), -1000..1500 HU mapped to 0..1."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "693_J2KI.dcm"
    values = reduce(load_image(path), size, path).values
    return torch.from_numpy((values.clip(min=-1000) + 1000) / 2500).float()[None]


def test_the_error_falls_with_the_pixel_size() -> None:
    errors = []
    for n in (64, 128, 256):
        geometry, phantom = ParallelBeam(n, 300 / n, 60), PHANTOMS["off-centre ellipse"]
        exact = exact_sinogram(phantom, geometry)
        found = project(rasterize(phantom, n, 300 / n), geometry)
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]


def test_orientation_agrees_with_scikit_image() -> None:
    """Same views, same direction; scikit-image samples other offsets, hence the loose bound."""
    n, views = 64, 12
    image = rasterize(scaled(SHEPP_LOGAN, 28.0), n, 1.0)[0, 0]
    ours = project(image, ParallelBeam(n, 1.0, views)).numpy()
    angles = np.arange(views) * 180 / views
    theirs = skimage_radon(image.numpy(), theta=angles, circle=True).T  # (views, n)
    margin = (ours.shape[1] - n) // 2
    ours = ours[:, margin : margin + n]
    # scikit-image turns about pixel n // 2, half a pixel right of and below the centre
    shift = (np.cos(np.deg2rad(angles)) - np.sin(np.deg2rad(angles))) / 2
    positions = np.arange(n)
    moved = np.stack(
        [np.interp(positions - 0.5 + s, positions, row) for s, row in zip(shift, ours, strict=True)]
    )
    assert np.linalg.norm(moved - theirs) / np.linalg.norm(theirs) < 0.06


def test_views_are_taken_anticlockwise_from_the_column_sums() -> None:
    """A point at the right end is at s = x cos(theta): right, then centre, then left."""
    n = 33
    image = torch.zeros(n, n)
    image[n // 2, n - 2] = 1.0
    geometry = ParallelBeam(n, 1.0, 4)
    peak = geometry.offsets[project(image, geometry).argmax(dim=1)]
    expected = 15 * torch.cos(geometry.angles)
    assert float((peak - expected).abs().max()) <= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("size", [128, 256])
def test_t_inv_undoes_t_on_a_real_slice(size: int) -> None:
    operator = sparse_view(size, 1.0, 23)
    x = ct_slice(size)
    assert psnr(operator.T_inv(operator.T(x)), x) >= 42.0


@pytest.mark.slow
def test_proximal_on_a_tall_t_stops_short_of_the_minimiser() -> None:
    """The discrete Radon transform is tall: Eq. 8.9 with lam = 1 leaves a residual that the exact
    step does not, and repeating it comes closer.
    """
    operator = sparse_view(64, 1.0, 23)
    x = ct_slice(64)
    y = operator.forward(x)
    once = operator.proximal(torch.zeros_like(x), y, 1.0)
    often = once
    for _ in range(10):
        often = operator.proximal(often, y, 1.0)
    residuals = [float(operator.residual(v, y)) for v in (once, often)]
    exact = float(operator.project_exact(once, y).residual)
    consistent = operator.data_consistency(torch.zeros_like(x), y, 1.0)
    assert float(operator.residual(consistent, y)) < 0.2 * residuals[0]
    assert 0.01 < residuals[0] < 1
    assert residuals[1] < 0.5 * residuals[0]
    assert exact <= 1e-5


@pytest.mark.parametrize("every", [1, 4])
def test_fbp_shows_the_phantom_at_its_level(every: int) -> None:
    """Also for a quarter of the views, each with four times the weight."""
    phantom = PHANTOMS["disc"]
    geometry = ParallelBeam(128, 300 / 128, 256)
    operator = Radon(geometry, (torch.arange(256) % every == 0)[:, None])
    image = operator.fbp(exact_sinogram(phantom, geometry).float())
    inside = rasterize(phantom, 128, 300 / 128, samples=1) > 0
    core = torch.nn.functional.avg_pool2d(inside.float(), 15, 1, 7) == 1
    assert float(image[core].mean()) == pytest.approx(0.02, rel=0.005)


@given(st.integers(1, 400), st.sampled_from([64, 128, 256, 512]))
def test_full_grid_is_the_smallest_that_fits(views: int, size: int) -> None:
    grid = full_grid(views, size)
    assert grid % views == 0
    assert grid % 4 == 0
    assert grid >= max(180, size)
    smaller = [n for n in range(views, grid, views) if n % 4 == 0 and n >= max(180, size)]
    assert not smaller


def test_23_views_at_128_lie_on_a_grid_of_184() -> None:
    operator = sparse_view(128, 1.0, 23)
    assert operator.geometry.views == 184
    assert torch.equal(operator.measured.nonzero()[:, 0], torch.arange(23) * 8)


def test_the_symmetric_matrix_equals_one_built_view_by_view() -> None:
    """Each view beyond pi/4 against the projection of the rotated or mirrored image."""
    n = 16
    geometry = ParallelBeam(n, 1.0, 16)
    x = torch.randn(n, n, generator=torch.Generator().manual_seed(0))
    sinogram = project(x, geometry)
    turned = project(torch.rot90(x, 1), geometry)  # the image rotated by +90 degrees
    torch.testing.assert_close(turned[8:], sinogram[:8])
    torch.testing.assert_close(turned[:8], sinogram[8:].flip(-1))
    mirrored = project(x.flip(-1), geometry)  # theta -> pi - theta
    torch.testing.assert_close(mirrored[1:], sinogram[1:].flip(0))
    torch.testing.assert_close(mirrored[0], sinogram[0].flip(-1))


def test_measured_views_must_match_the_grid() -> None:
    with pytest.raises(ValueError, match=r"\(5, 1\)"):
        Radon(ParallelBeam(8, 1.0, 8), torch.ones(5, 1).bool())


def test_the_description_takes_no_memory() -> None:
    """Errors about damaged files describe operators that no machine could apply."""
    geometry = ParallelBeam(16, 1.0, 8, detectors=10**12)
    assert "1000000000000 detectors" in repr(Radon(geometry, torch.ones(8, 1)))
