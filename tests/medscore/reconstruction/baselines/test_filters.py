"""The windows of filtered back-projection."""

from typing import get_args

import numpy as np
import pytest
import torch
from dense import ct, disc
from skimage.transform.radon_transform import _get_fourier_filter

from medscore.operators.ct.fbp import Window, ramp_filter, taper
from medscore.operators.ct.geometry import FanBeam, ParallelBeam
from medscore.reconstruction.baselines.fbp import FBP

WINDOWS = get_args(Window)
NAMES = {"ram-lak": "ramp"}
"""Filters with a different name in scikit-image."""


@pytest.mark.parametrize("window", WINDOWS)
def test_the_filters_are_scikit_images(window: Window) -> None:
    """Both responses are for unit detector spacing; scikit-image's includes a factor of 2. It
    samples Hamming and Hann windows with both ends of the period, which shifts them by 1 / length.
    """
    ramp = ramp_filter(ParallelBeam(64, 1.0, 4, 128), window=window)
    theirs = _get_fourier_filter(ramp.length, NAMES.get(window, window))[:, 0] / 2
    ours = ramp.response.numpy()
    tolerance = 1 / ramp.length if window.startswith("ha") else 1e-12
    np.testing.assert_allclose(ours, theirs[: len(ours)], atol=tolerance)


def test_ram_lak_is_no_window() -> None:
    response = ramp_filter(ParallelBeam(16, 1.0, 4), window="ram-lak").response
    assert torch.equal(response, ramp_filter(ParallelBeam(16, 1.0, 4)).response)
    operator, y = ct(), ct().forward(disc(2).float())
    assert torch.equal(FBP().solve(operator, y), operator.fbp(y))


@pytest.mark.parametrize(
    "geometry",
    [FanBeam(16, 1.0, 8, 80.0, 120.0, detector_shape=shape) for shape in ("flat", "curved")],
)
@pytest.mark.parametrize("window", WINDOWS)
def test_fan_beams_have_the_same_windows(geometry: FanBeam, window: Window) -> None:
    plain, tapered = ramp_filter(geometry), ramp_filter(geometry, window=window)
    frequency = torch.arange(len(plain.response), dtype=torch.float64) / plain.length
    torch.testing.assert_close(tapered.response, plain.response * taper(window, frequency))


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_is_one_at_zero_and_never_grows(window: Window) -> None:
    w = taper(window, torch.linspace(0, 0.5, 99, dtype=torch.float64))
    assert float(w[0]) == 1
    assert bool((w.diff() <= 0).all())
    assert bool((w >= 0).all())


def test_a_smoother_window_lessens_the_noise() -> None:
    operator = ct()
    y = torch.randn(1, 1, *operator.grid_shape, generator=torch.Generator().manual_seed(0))
    spread = [float(FBP(window=window).solve(operator, y).std()) for window in WINDOWS]
    assert spread == sorted(spread, reverse=True)
