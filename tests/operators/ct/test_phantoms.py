"""Phantoms: exact k-space against pixels, slices of ellipsoids, random anatomies."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st

from medscore.hounsfield import MU_WATER as WATER
from medscore.operators.ct.anatomy import random_chest
from medscore.operators.ct.ellipsoids import SHEPP_LOGAN_3D, Ellipsoid, cut
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.phantoms import (
    SHEPP_LOGAN,
    Ellipse,
    exact_kspace,
    exact_sinogram,
    rasterize,
    scaled,
)
from medscore.operators.mri.fourier import fft2c


def low(kspace: torch.Tensor, size: int) -> torch.Tensor:
    """The central ``size`` x ``size`` samples."""
    ny, nx = kspace.shape[-2:]
    rows = slice(ny // 2 - size // 2, ny // 2 + size // 2)
    return kspace[..., rows, nx // 2 - size // 2 : nx // 2 + size // 2]


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-15, 15), y=st.floats(-15, 15), a=st.floats(4, 12), b=st.floats(4, 12),
    angle=st.floats(-3, 3), size=st.sampled_from([64, 65]),
)  # fmt: skip
def test_exact_kspace_is_that_of_fine_pixels(
    x: float, y: float, a: float, b: float, angle: float, size: int
) -> None:
    """Low frequencies, where pixelation matters least; a wrong sign or angle gives 100 %."""
    shape = [Ellipse(2.0, x, y, a, b, angle)]
    found = low(exact_kspace(shape, (size, size), 1.0), 16)
    image = rasterize(shape, size, 1.0).to(torch.complex128)
    expected = low(fft2c(image), 16)
    assert float((found - expected).norm() / expected.norm()) <= 0.02


def test_the_centre_of_kspace_is_the_area() -> None:
    """X_0 = sum x / sqrt N, where the sum is the area divided by that of a pixel."""
    kspace = exact_kspace([Ellipse(3.0, 5.0, -2.0, 8.0, 4.0, 0.3)], (32, 64), 0.5)
    expected = 3.0 * math.pi * 8 * 4 / 0.25 / math.sqrt(32 * 64)
    assert abs(complex(kspace[0, 0, 16, 32])) == pytest.approx(expected)


def test_halving_pixels_does_not_change_what_both_measure() -> None:
    """Same field of view, half the spacing, twice the samples; the normalisation differs."""
    shape = scaled(SHEPP_LOGAN, 30.0)
    coarse = exact_kspace(shape, (64, 64), 1.0)
    fine = low(exact_kspace(shape, (128, 128), 0.5), 64)
    torch.testing.assert_close(fine.abs(), 2 * coarse.abs(), rtol=1e-9, atol=1e-9)


def test_a_ball_is_cut_into_discs() -> None:
    ball = Ellipsoid(Ellipse(1.0, 1.0, 2.0, 5.0, 5.0), 3.0, 5.0)
    disc = ball.at(6.0)
    assert disc is not None
    assert (disc.x, disc.y, disc.a, disc.b) == (1.0, 2.0, pytest.approx(4), pytest.approx(4))
    assert ball.at(8.0) is None


def test_the_middle_of_the_head_is_the_plane_phantom() -> None:
    """At z = 0 it consists of the ellipses whose ellipsoids are centred there."""
    middle = cut(SHEPP_LOGAN_3D, 0.0)
    flat = [e for e, solid in zip(SHEPP_LOGAN, SHEPP_LOGAN_3D, strict=True) if solid.z == 0]
    assert [e for e in middle if e in flat] == flat
    assert cut(SHEPP_LOGAN_3D, 0.9) == ()
    assert cut(SHEPP_LOGAN_3D, 0.0, factor=100.0)[0].a == pytest.approx(69)


def test_chests_are_plausible_and_differ() -> None:
    generator = torch.Generator().manual_seed(0)
    images = [rasterize(random_chest(generator), 64, 6.0, samples=4) for _ in range(6)]
    for image in images:
        assert float(image.min()) > -0.05 * WATER  # lungs are denser than air
        assert 0.9 * WATER < float(image.max()) < 3.2 * WATER
        assert float(image[..., 0, :].abs().max()) == 0  # air around it
        share = float(((image > 0) & (image < 0.5 * WATER)).double().mean())
        assert share > 0.05  # lungs
    for one, other in pairwise(images):
        assert float((one - other).abs().max()) > 0.1 * WATER


def test_a_seed_is_a_chest() -> None:
    one, other = (random_chest(torch.Generator().manual_seed(3)) for _ in range(2))
    assert one == other
    exact = exact_sinogram(one, ParallelBeam(64, 6.0, 30))
    assert float(exact.max()) > 3  # 350 mm of tissue
