"""Coil maps estimated from the centre of k-space."""

import pytest
import torch
from coil_scan import COILS, N, error, scan

from medscore.operators.mri.sensitivity import birdcage, low_resolution


def test_birdcage_maps_have_unit_power_and_differ() -> None:
    maps = birdcage(COILS, 32, 20)
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(32, 20))
    brightest = {int(m.abs().argmax()) for m in maps}
    assert len(brightest) == COILS


def test_the_low_resolution_estimate_finds_the_maps() -> None:
    kspace, maps, where = scan()
    found = low_resolution(kspace)[0]
    assert error(found, maps, where) <= 0.12
    power = found.abs().square().sum(0)
    assert bool(((power - 1).abs() < 1e-4).logical_or(power == 0).all())
    assert bool((power[:4, :4] == 0).all())  # air


def test_more_calibration_lines_give_better_maps() -> None:
    kspace, maps, where = scan()
    few, many = (error(low_resolution(kspace, (c, c))[0], maps, where) for c in (8, 20))
    assert many < few


def test_a_calibration_region_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="`calibration` is"):
        low_resolution(scan()[0], (N + 1, 8))
