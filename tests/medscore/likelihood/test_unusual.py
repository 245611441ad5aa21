"""The tests of contrast and residuals: what they find, false alarms, and what they compute."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import Tensor

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.likelihood.altered import altered
from medscore.likelihood.features import body_of, contrast_features, residual_features
from medscore.likelihood.fitting import LEVEL, fit_tests, variances
from medscore.likelihood.unusual import ImageTest, judge, words_of
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.types import State, Times

DOMAIN = ImageDomain(modality="MR", quantity="magnitude", low=0.0, high=1.0, size=32)


class White(Prior):
    """Images of independent N(0, 0.3^2) pixels."""

    domain = DOMAIN

    def __init__(self, sde: SDE) -> None:
        self.sde = sde

    def denoise(self, x: State, t: Times) -> State:
        a, b = self.sde.alpha(t), self.sde.sigma(t)
        gain: State = (a * 0.09 / (a**2 * 0.09 + b**2)).reshape(-1, 1, 1, 1) * x
        return gain


def heads(patients: int, each: int, seed: int) -> tuple[Tensor, list[str]]:
    """Discs with a bright rim and dark spots, whose size and brightness vary between patients."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[-15.5:16, -15.5:16]
    images, names = [], []
    for patient in range(patients):
        radius, tissue = generator.uniform(11, 14), generator.uniform(0.35, 0.6)
        for _ in range(each):
            r = np.hypot(x, y * generator.uniform(0.9, 1.0))
            image = np.where(r < radius, tissue, 0.0)
            for _ in range(6):
                at = generator.uniform(-6, 6, 2)
                image[np.hypot(x - at[0], y - at[1]) < 1.5] = 0.1
            image[(r >= radius - 2) & (r < radius)] = 1.0
            noise = generator.normal(0, 0.01, image.shape)
            images.append(np.abs(ndimage.gaussian_filter(image, 0.5) + noise))
            names.append(f"{patient:02d}")
    return torch.from_numpy(np.stack(images)).float()[:, None], names


def inverted(x: Tensor) -> Tensor:
    """Bright spots in dark tissue, as T2 is to T1."""
    inside = torch.from_numpy(np.stack([body_of(image) for image in x[:, 0].numpy()]))[:, None]
    return torch.where(inside & (x < 0.8), 0.7 - x, x)


@pytest.fixture(scope="module")
def tests() -> tuple[ImageTest, ...]:
    x, patients = heads(15, 4, seed=0)
    return fit_tests(White(VE(0.01, 10.0)), "magnitude", x, patients)


def alarms(tests: tuple[ImageTest, ...], x: Tensor) -> float:
    """Share of single images that any test calls unusual."""
    js = judge(tests, White(VE(0.01, 10.0)), DOMAIN, x)
    flags = [[z > j.test.threshold for z in j.slices] for j in js]
    return float(np.any(flags, axis=0).mean())


@pytest.mark.slow
def test_another_contrast_is_unusual_and_new_patients_are_not(tests: tuple[ImageTest, ...]) -> None:
    new, _ = heads(20, 2, seed=1)
    assert [test.kind for test in tests] == ["contrast", "residual"]
    assert sum(test.level for test in tests) == pytest.approx(LEVEL)
    assert alarms(tests, new) <= 0.1  # 2 more than the 2 of 40 that are expected
    assert alarms(tests, inverted(new)) >= 0.9
    warnings = words_of(judge(tests, White(VE(0.01, 10.0)), DOMAIN, inverted(new)))
    assert "contrast" in warnings[0]
    assert "2.5 % of usual scans exceed" in warnings[0]
    assert not words_of(judge(tests, White(VE(0.01, 10.0)), DOMAIN, new))


@pytest.mark.slow
def test_fits_repeat_and_a_larger_image_is_judged_as_its_means(
    tests: tuple[ImageTest, ...],
) -> None:
    x, patients = heads(15, 4, seed=0)
    prior = White(VE(0.01, 10.0))
    assert fit_tests(prior, "magnitude", x, patients) == tests
    large = x[:2].repeat_interleave(2, -1).repeat_interleave(2, -2)
    for ours, theirs in zip(
        judge(tests, prior, DOMAIN, large), judge(tests, prior, DOMAIN, x[:2]), strict=True
    ):
        assert ours.z == pytest.approx(theirs.z, abs=1e-4)
    assert judge(tests, prior, DOMAIN, x[:2, :, :, :30]) == ()


def test_too_few_patients_and_other_quantities_are_not_tested() -> None:
    x, patients = heads(9, 1, seed=0)
    assert fit_tests(White(VE(0.01, 10.0)), "magnitude", x, patients) == ()
    assert fit_tests(White(VE(0.01, 10.0)), "grey", x, [str(i) for i in range(9)]) == ()


def test_z_of_a_scan_by_hand() -> None:
    test = ImageTest(
        kind="contrast", centre=(1.0, 0.0), scale=(2.0, 1.0), matrix=((3.0, 1.0),), mean=0.5,
        between=4.0, within=10.0, threshold=2.0, level=0.05, patients=10, slices=20,
    )  # fmt: skip
    assert test.z(np.array([2.5])) == pytest.approx(2 / 14**0.5)
    assert test.z(np.array([1.5, 3.5])) == pytest.approx(2 / 3)


def made(**changes: object) -> ImageTest:
    parts = {
        "kind": "residual", "centre": (0.0,) * 32, "scale": (1.0,) * 32, "matrix": ((1.0,) * 32,),
        "mean": 0.0, "between": 1.0, "within": 1.0, "threshold": 2.0, "level": 0.05,
        "patients": 10, "slices": 20,
    }  # fmt: skip
    return ImageTest.model_validate({**parts, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"centre": (0.0,)}, {"scale": (0.0,) * 32}, {"matrix": ((1.0,),)}, {"within": 0.0},
     {"mean": float("nan")}],
)  # fmt: skip
def test_a_test_whose_parts_do_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        made(**changes)


def test_a_test_of_other_statistics_is_refused() -> None:
    other = made(centre=(0.0,) * 8, scale=(1.0,) * 8, matrix=((1.0,) * 8,))
    with pytest.raises(MedscoreError, match="has 8 statistics, not 32"):
        judge([other], White(VP()), DOMAIN, heads(1, 1, seed=0)[0])


def test_variances_between_and_within_patients_are_found() -> None:
    generator = np.random.default_rng(0)
    names = np.repeat([f"{i}" for i in range(400)], 5)
    scores = np.repeat(generator.normal(1, 2, 400), 5) + generator.normal(0, 3, 2000)
    mean, between, within = variances(scores, names)
    assert mean == pytest.approx(1, abs=0.5)
    assert between == pytest.approx(4, rel=0.25)  # 3.5 standard errors
    assert within == pytest.approx(9, rel=0.12)


@pytest.mark.parametrize("sde", [VE(0.01, 10.0), VP(), SubVP()], ids=["VE", "VP", "SubVP"])
def test_residual_statistics_are_those_of_the_denoised_image(sde: SDE) -> None:
    x = heads(1, 2, seed=0)[0]
    found = residual_features(White(sde), x)
    assert found.shape == (2, 32)
    gain = 0.09 / (0.09 + 0.6**2)
    noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0))
    r = gain * (x + 0.6 * noise) - x
    assert found[:, 24 + 5] == pytest.approx(r.mean((1, 2, 3)).numpy(), abs=1e-4)
    one = residual_features(White(sde), x[1:])
    np.testing.assert_allclose(one, found[1:], atol=1e-4)


def test_contrast_statistics_do_not_depend_on_the_batch_and_are_finite() -> None:
    x = torch.cat([heads(1, 2, seed=0)[0], torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)])
    found = contrast_features(x)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(contrast_features(x[1:2]), found[1:2])


def test_an_altered_copy_is_not_an_increasing_function_of_the_image() -> None:
    image = heads(1, 1, seed=0)[0][0, 0].numpy()
    deep = ndimage.distance_transform_edt(body_of(image)) > 3
    for seed in range(5):
        copy = altered(image, np.random.default_rng(seed))
        assert copy.shape == image.shape
        assert np.quantile(copy, 0.995) == pytest.approx(1, abs=1e-5)
        assert not np.allclose(copy[deep], image[deep], atol=0.05)
        np.testing.assert_array_equal(copy, altered(image, np.random.default_rng(seed)))
