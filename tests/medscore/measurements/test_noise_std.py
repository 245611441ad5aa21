"""Noise standard deviation, recorded or estimated, and whitening with it."""

import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.custom import make_measurement
from medscore.measurements.noise_model import and_more, noise_model, parts_of
from medscore.measurements.noise_std import photon_std, std_of, uniform_std, whiten
from medscore.operators.ct.phantoms import SHEPP_LOGAN, rasterize, scaled
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import sparse_view
from medscore.operators.noise import GaussianNoise, Noiseless, NoiseModel, PoissonNoise
from medscore.operators.noise_level import unexplained
from medscore.registry.noise import noise_std_of

SIDE = 64


@pytest.fixture(scope="module")
def scan() -> tuple[Radon, Tensor]:
    """Two heads about 130 mm wide, 30 views, noise-free."""
    operator = sparse_view(SIDE, 3.0, 30)
    head = 0.02 * rasterize(scaled(SHEPP_LOGAN, SIDE * 3.0 / 2), SIDE, 3.0)
    return operator, operator.forward(head.expand(2, 1, SIDE, SIDE).float())


@pytest.mark.parametrize("electronic", [0.0, 5.0, 200.0])
def test_electronic_noise_adds_to_the_variance_of_the_count(electronic: float) -> None:
    y = torch.linspace(-0.1, 9, 50, dtype=torch.float64)
    n = 1e4 * torch.exp(-y)
    std = std_of(PoissonNoise(1e4, electronic), y)
    torch.testing.assert_close(std, torch.sqrt((n + electronic**2) / n**2))


@pytest.mark.statistical
def test_recorded_noise_is_white_after_whitening(scan: tuple[Radon, Tensor]) -> None:
    """14,000 normal numbers: the variance has a relative standard error of 1.2 %. Bound: 6 of these
    (false-alarm rate 1e-8), and 6 % because the standard deviation is taken at the noisy y.
    """
    operator, y = scan
    for model in (GaussianNoise(0.03), PoissonNoise(1e4), PoissonNoise(1e4, 60.0)):
        noisy = model(y, operator.mask(y), torch.Generator().manual_seed(0))
        std = std_of(model, noisy)
        white, seen, level = whiten(operator, noisy, std)
        assert level == 1.0
        assert std is not None
        gap = (seen - white.mask(y) * y / std)[operator.mask(y).expand(y.shape) > 0]
        assert abs(float(gap.var()) - 1) < 0.07 + 0.06
    assert std_of(Noiseless(), y) is None
    assert whiten(operator, y, None) == (operator, y, 0.0)


def test_both_estimates_find_the_noise_that_is_there(scan: tuple[Radon, Tensor]) -> None:
    operator, y = scan
    mask = operator.mask(y)
    for model, found in ((PoissonNoise(1e3), photon_std), (GaussianNoise(0.1), uniform_std)):
        noisy = model(y, mask, torch.Generator().manual_seed(0))
        true = std_of(model, noisy)
        assert true is not None
        assert found(noisy, mask).shape == y.shape
        assert float((found(noisy, mask) / true - 1).abs().max()) < 0.15


def test_each_sample_has_its_own_level(scan: tuple[Radon, Tensor]) -> None:
    operator, y = scan
    mask, draw = operator.mask(y), torch.Generator().manual_seed(0)
    noisy = y + mask * torch.tensor([0.05, 0.2])[:, None, None, None] * torch.randn(
        y.shape, generator=draw
    )
    for found in (photon_std, uniform_std):
        alone = [found(one[None], mask) for one in noisy]
        assert torch.allclose(found(noisy, mask), torch.cat(alone), rtol=1e-6)
    levels = uniform_std(noisy, mask)[:, 0, 0, 0]
    assert 3 < float(levels[1] / levels[0]) < 5


def test_data_without_noise_have_no_level(scan: tuple[Radon, Tensor]) -> None:
    operator, y = scan
    for found in (photon_std, uniform_std):
        with pytest.raises(ValueError, match="no noise"):
            found(torch.zeros_like(y), operator.mask(y))


@pytest.mark.parametrize("std", [1e-60, 1e60])
def test_a_standard_deviation_beyond_single_precision_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="outside of the range"):
        std_of(GaussianNoise(std), torch.ones(1, 1, 8, 8))


def test_runs_of_equal_readings_say_nothing_about_the_noise(scan: tuple[Radon, Tensor]) -> None:
    """Air that is set to zero around a body in a wide field, as many scanners do."""
    operator, y = scan
    mask = operator.mask(y)
    noisy = PoissonNoise(1e3)(y, mask, torch.Generator().manual_seed(0))
    clipped = torch.where(y > 0, noisy, 0.0)
    wide = torch.nn.functional.pad(clipped, (300, 300))
    measured = torch.nn.functional.pad(mask.expand(y.shape), (300, 300), value=0)
    measured = measured.amax(-1, keepdim=True).expand(wide.shape)
    for found in (photon_std, uniform_std):
        level = found(wide, measured)[..., 300:-300]
        assert float((level / found(noisy, mask) - 1).abs().max()) < 0.15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("estimate:uniform", ("estimate:uniform", "")),
        ("estimate:uniform+poisson:1e+05", ("estimate:uniform", "poisson:1e+05")),
        ("estimate:uniform+gaussian:0.1", ("estimate:uniform", "gaussian:0.1")),
        ("poisson:1e+05", ("", "poisson:1e+05")),
        ("estimate", ("", "estimate")),
    ],
)
def test_a_noise_is_an_estimate_and_a_model(text: str, expected: tuple[str, str]) -> None:
    assert parts_of(text) == expected


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (PoissonNoise(1234567.0), "estimate:uniform+poisson:1234567"),
        (PoissonNoise(1e5, 12.5), "estimate:uniform+poisson:100000,12.5"),
        (GaussianNoise(0.123456789), "estimate:uniform+gaussian:0.123456789"),
        (Noiseless(), "estimate:uniform"),
    ],
)
def test_a_model_that_does_not_explain_all_is_named_exactly(model: NoiseModel, name: str) -> None:
    assert and_more(model) == name
    assert parts_of(name)[1] == "" or noise_model(parts_of(name)[1]) == model


def test_to_a_model_is_added_what_it_does_not_explain(scan: tuple[Radon, Tensor]) -> None:
    operator, y = scan
    y = PoissonNoise(1e4)(y, operator.mask(y), torch.Generator().manual_seed(0))
    m = make_measurement(y, operator, image_unit="1/mm", noise="estimate:uniform+poisson:1e4")
    both, photon = (noise_std_of(noise, m, "m") for noise in ("recorded", "poisson:1e4"))
    assert both is not None
    assert photon is not None
    level = unexplained(y, operator.mask(y), photon)[:, None, None, None]
    torch.testing.assert_close(both.square(), photon.square() + level.square())
    alone = noise_std_of("estimate:uniform+none", m, "m")
    torch.testing.assert_close(alone, noise_std_of("estimate:uniform", m, "m"))
    with pytest.raises(MedscoreError, match="`noise` is 'loud' - use none"):
        noise_std_of("estimate:uniform+loud", m, "m")
    with pytest.raises(MedscoreError, match="`noise` is 'loud' - use none"):
        make_measurement(y, operator, image_unit="1/mm", noise="estimate:uniform+loud")
