"""Coil maps estimated from the centre of k-space."""

import sys
from importlib.util import find_spec

import pytest
import torch

from medscore.errors import MedscoreError
from medscore.operators.ct.phantoms import SHEPP_LOGAN, rasterize, scaled
from medscore.operators.mri.masks import equispaced
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage, espirit, low_resolution

N, COILS = 64, 6


def scan() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """k-space of a phantom in eight coils, its maps, and where there is signal."""
    image = rasterize(scaled(SHEPP_LOGAN, 30.0), N, 1.0).to(torch.complex64)
    maps = birdcage(COILS, N, N)
    operator = MulticoilFourier(maps, equispaced((N, N), 2.0, centre=20))
    return operator.forward(image), maps, image[0, 0].abs() > 0.1


def error(found: torch.Tensor, maps: torch.Tensor, where: torch.Tensor) -> float:
    """Relative error, up to the phase that all coils share in each pixel."""
    common = (found * maps.conj()).sum(0)
    aligned = found * (common.conj() / common.abs().clamp_min(1e-12))
    return float((aligned - maps)[:, where].norm() / maps[:, where].norm())


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


@pytest.mark.skipif(find_spec("sigpy") is None, reason="sigpy is not installed")
def test_espirit_finds_the_maps() -> None:
    kspace, maps, where = scan()
    found = espirit(kspace)[0]
    assert error(found, maps, where & (found.abs().sum(0) > 0)) <= 0.05


def test_without_sigpy_espirit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigpy.mri.app", None)
    with pytest.raises(MedscoreError, match=r"ESPIRiT needs the package sigpy.*medscore\[mri\]"):
        espirit(scan()[0])


def test_a_calibration_region_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="`calibration` is"):
        low_resolution(scan()[0], (N + 1, 8))
