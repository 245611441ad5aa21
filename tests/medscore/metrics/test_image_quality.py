"""Metrics follow their stated convention."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torch_psnr,
    structural_similarity_index_measure as torch_ssim,
)

from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER, hu_to_mu, mu_to_hu
from medscore.metrics.image_quality import (
    CONVENTIONS,
    CT_CONVENTION,
    Convention,
    Quality,
    qualities,
    quality,
)

Array = np.ndarray
ROIS = ("full", "circle")
LOW = {"ct": -1000.0, "thesis-ct": -1000.0, "thesis-mar": -1000.0}


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1000, 1500, (2, 16, 16)).astype(np.float32)


def scene(name: str, seed: int, shape: tuple[int, int, int] = (3, 30, 32)) -> tuple[Array, ...]:
    """Images, reference and metal for a convention: smooth structure, smooth and white
    errors, values beyond the range on both sides.
    """
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(2, *shape)), (0, 0, 2, 2)) * 7
    reference = smooth[0] + 0.05 * rng.normal(size=shape)
    images = reference + 0.2 * smooth[1] + 0.1 * rng.normal(size=shape)
    metal = rng.random(shape) < 0.05
    reference, images = reference + metal * 4, images + metal * rng.normal(size=shape)
    if name in LOW:
        return 250 + 700 * images, 250 + 700 * reference, metal
    strength = np.arange(1, shape[0] + 1)[:, None, None] * 300  # each slice has its own maximum
    return strength * (images + 1), strength * np.abs(reference + 1), metal


def circle(height: int, width: int) -> Array:
    """In integers: half a side is min(height, width) halves of a pixel."""
    side = min(height, width)
    return np.array(
        [
            [(2 * i + 1 - height) ** 2 + (2 * j + 1 - width) ** 2 <= side**2 for j in range(width)]
            for i in range(height)
        ]
    )


def windows_inside(mask: Array, side: int) -> Array:
    """Pixels around which a window of that side lies in the mask."""
    found, reach = np.zeros_like(mask), side // 2
    for i in range(reach, mask.shape[0] - reach):
        for j in range(reach, mask.shape[1] - reach):
            window = mask[i - reach : i + reach + 1, j - reach : j + reach + 1]
            found[i, j] = window.all()
    return found


def in_unit_range(name: str, roi: str, x: Array, r: Array, metal: Array) -> tuple[Array, Array]:
    """Image and reference as the named convention compares them."""
    outside = ~circle(*r.shape[1:]) if roi == "circle" else np.zeros(r.shape[1:], dtype=bool)
    gone = outside | (metal if name == "thesis-mar" else np.zeros_like(metal))
    x, r = (np.where(gone, LOW.get(name, 0.0), v) for v in (x, r))
    if name in LOW:
        return tuple(np.clip((v + 1000) / 2500, 0, 1) for v in (x, r))
    top = r.max() if name in ("fastmri", "thesis-mr") else r.max((1, 2), keepdims=True)
    x, r = x / top, r / top
    return (x.clip(0, 1), r.clip(0, 1)) if name == "thesis-mr" else (x, r)


def torch_map(name: str, x: Array, r: Array) -> Array:
    """The SSIM map of slices; valid where the window lies inside the image."""
    options = {"gaussian_kernel": True, "sigma": 1.5}
    if name in ("ct", "mr", "fastmri", "thesis-mar"):
        # Sample covariances are 49/48 of torchmetrics': in (2 c v + C2) / (c w + C2), with
        # C2 = (k2 L)^2, the factor c cancels if k2 is divided by sqrt(c).
        options = {"gaussian_kernel": False, "kernel_size": 7, "k2": 0.03 * math.sqrt(48 / 49)}
    a, b = (torch.from_numpy(v)[:, None] for v in (x, r))
    found = torch_ssim(a, b, data_range=1.0, return_full_image=True, **options)
    return found[1][:, 0].numpy()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("roi", ROIS)
@pytest.mark.parametrize("name", CONVENTIONS)
def test_psnr_and_ssim_are_those_of_torchmetrics(name: str, roi: str, seed: int) -> None:
    convention = replace(CONVENTIONS[name], roi=roi)
    images, reference, metal = scene(name, seed)
    found = qualities(images, reference, convention, metal)
    x, r = in_unit_range(name, roi, images, reference, metal)
    inside = circle(*x.shape[1:]) if roi == "circle" else np.ones(x.shape[1:], dtype=bool)
    side = 11 if name in ("thesis-ct", "thesis-mr") else 7
    ssim = torch_map(name, x, r)[:, windows_inside(inside, side)].mean(1)
    assert len(found) == (1 if name == "fastmri" else 3)
    groups = [slice(None)] if name == "fastmri" else [slice(k, k + 1) for k in range(3)]
    for q, part in zip(found, groups, strict=True):
        a, b = (torch.from_numpy(v[part][:, inside]) for v in (x, r))
        # torchmetrics takes the logarithm of its base, 10, in single precision
        assert q.psnr == pytest.approx(float(torch_psnr(a, b, data_range=1.0)), rel=1e-7)
        assert q.ssim == pytest.approx(ssim[part].mean(), abs=1e-12)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_psnr_and_ssim_of_full_images_are_those_of_scikit_image(name: str) -> None:
    images, reference, metal = scene(name, 2)
    found = qualities(images, reference, CONVENTIONS[name], metal)
    x, r = in_unit_range(name, "full", images, reference, metal)
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    options = gaussian if name in ("thesis-ct", "thesis-mr") else {}
    ssim = [
        structural_similarity(b, a, data_range=1.0, **options) for a, b in zip(x, r, strict=True)
    ]
    psnr = [peak_signal_noise_ratio(b, a, data_range=1.0) for a, b in zip(x, r, strict=True)]
    if name == "fastmri":
        ssim, psnr = [np.mean(ssim)], [peak_signal_noise_ratio(r, x, data_range=1.0)]
    assert [q.ssim for q in found] == pytest.approx(ssim, abs=1e-12)
    assert [q.psnr for q in found] == pytest.approx(psnr, abs=1e-9)


@pytest.mark.parametrize("roi", ROIS)
@pytest.mark.parametrize("name", CONVENTIONS)
def test_nmse_is_squared_error_over_squared_reference(name: str, roi: str) -> None:
    images, reference, metal = scene(name, 3)
    found = qualities(images, reference, replace(CONVENTIONS[name], roi=roi), metal)
    x, r = in_unit_range(name, roi, images, reference, metal)
    axes = None if name == "fastmri" else (1, 2)
    expected = np.atleast_1d(((x - r) ** 2).sum(axes) / (r**2).sum(axes))
    assert [q.nmse for q in found] == pytest.approx(expected, rel=1e-12)


def test_nmse_of_hu_counts_from_air() -> None:
    """Water is 1000 HU above air, so an error of 100 HU gives an NMSE of 0.01."""
    water = np.zeros((1, 16, 16))
    assert quality(water + 100, water, CT_CONVENTION).nmse == pytest.approx(0.01)


def test_fastmri_is_its_definition() -> None:
    """In the unit of the images, as defined by Zbontar et al. 2018."""
    images, reference, _ = scene("fastmri", 4, (4, 24, 28))
    (found,) = qualities(images, reference, CONVENTIONS["fastmri"])
    error, top = images - reference, reference.max()
    assert found.psnr == pytest.approx(10 * np.log10(top**2 / (error**2).mean()))
    assert found.nmse == pytest.approx((np.linalg.norm(error) / np.linalg.norm(reference)) ** 2)
    ssim = [
        structural_similarity(r, x, data_range=top) for x, r in zip(images, reference, strict=True)
    ]
    assert found.ssim == pytest.approx(np.mean(ssim))


def test_a_default_convention_means_what_it_always_meant() -> None:
    images, reference, _ = scene("ct", 5)
    x, r = (np.clip((v + 1000) / 2500, 0, 1) for v in (images, reference))
    pairs = list(zip(x, r, strict=True))
    found = quality(images, reference, Convention(-1000.0, 1500.0, "HU"))
    psnr = np.mean([peak_signal_noise_ratio(b, a, data_range=1.0) for a, b in pairs])
    ssim = np.mean([structural_similarity(b, a, data_range=1.0) for a, b in pairs])
    assert (found.psnr, found.ssim) == pytest.approx((psnr, ssim), abs=1e-12)


def test_psnr_is_that_of_a_known_error() -> None:
    """25 HU on a range of 2500 is 1 %, 40 dB."""
    reference = image(0).clip(-900, 1400)
    assert quality(reference + 25, reference, CT_CONVENTION).psnr == pytest.approx(40.0, abs=1e-3)


def test_values_outside_the_window_do_not_count() -> None:
    reference = image(0)
    outside = np.where(reference > 1000, 1500, reference)
    beyond = np.where(reference > 1000, 9000, reference)
    assert quality(outside, reference, CT_CONVENTION) == quality(beyond, reference, CT_CONVENTION)


def test_values_outside_the_window_count_without_clipping() -> None:
    reference, open_ended = image(0), replace(CT_CONVENTION, clip=False)
    outside = np.where(reference > 1000, 1500, reference)
    beyond = np.where(reference > 1000, 9000, reference)
    found = [quality(x, reference, open_ended) for x in (outside, beyond)]
    assert found[0].psnr > found[1].psnr + 10
    assert found[0].nmse < found[1].nmse / 10


@pytest.mark.parametrize("roi", ROIS)
@pytest.mark.parametrize("name", CONVENTIONS)
def test_equal_images_are_perfect(name: str, roi: str) -> None:
    _, reference, metal = scene(name, 6)
    found = quality(reference, reference, replace(CONVENTIONS[name], roi=roi), metal)
    assert (found.psnr, found.nmse) == (math.inf, 0.0)
    assert found.ssim == pytest.approx(1.0)


def test_noise_lowers_ssim() -> None:
    assert quality(image(1), image(0), CT_CONVENTION).ssim < 0.2


def test_the_mean_is_over_slices() -> None:
    images, reference, _ = scene("ct", 7)
    each, mean = (
        qualities(images, reference, CT_CONVENTION),
        quality(images, reference, CT_CONVENTION),
    )
    for name in ("psnr", "ssim", "nmse"):
        assert getattr(mean, name) == pytest.approx(np.mean([getattr(q, name) for q in each]))
    for k, q in enumerate(each):
        assert qualities(images[k : k + 1], reference[k : k + 1], CT_CONVENTION) == [q]


def test_slices_of_a_volume_may_have_its_data_range() -> None:
    images, reference, _ = scene("mr", 8)
    fixed = Convention(0.0, float(reference.max()), clip=False)
    driven = replace(CONVENTIONS["mr"], data_range="volume")
    for a, b in zip(*(qualities(images, reference, c) for c in (fixed, driven)), strict=True):
        assert a == b
    own = qualities(images, reference, CONVENTIONS["mr"])
    assert own[0].psnr < qualities(images, reference, driven)[0].psnr


def test_a_reference_of_air_has_no_relative_error() -> None:
    air = np.full((1, 16, 16), -1000.0)
    assert quality(air + 10, air, CT_CONVENTION).nmse == math.inf
    assert quality(air - 10, air, CT_CONVENTION) == Quality(math.inf, 1.0, 0.0)


@pytest.mark.parametrize("shape", [(16, 16), (17, 17), (12, 20), (21, 15), (30, 30)])
def test_the_circle_is_inscribed(shape: tuple[int, int]) -> None:
    region = replace(CT_CONVENTION, roi="circle").region(*shape)
    assert (region == circle(*shape)).all()
    assert region.sum() == pytest.approx(np.pi / 4 * min(shape) ** 2, rel=0.06)
    assert CT_CONVENTION.region(*shape).all()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_what_lies_outside_the_circle_changes_nothing(name: str) -> None:
    convention = replace(CONVENTIONS[name], roi="circle")
    images, reference, metal = scene(name, 9)
    rng = np.random.default_rng(0)
    outside = ~circle(*reference.shape[1:])
    other = images + outside * rng.normal(size=images.shape) * 1e5
    truth = reference + outside * rng.normal(size=images.shape) * 1e5
    found = qualities(images, reference, convention, metal)
    assert qualities(other, truth, convention, metal | outside) == found


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_every_pixel_in_the_circle_counts(window: str) -> None:
    """PSNR and NMSE use all of them, SSIM the windows that lie inside the circle."""
    convention = replace(CT_CONVENTION, roi="circle", window=window)
    rng = np.random.default_rng(1)
    reference, images = rng.uniform(-500, 1000, (2, 1, 16, 16))
    (before,) = qualities(images, reference, convention)
    side = 7 if window == "uniform" else 11
    mask, reach = circle(16, 16), side // 2
    centres = windows_inside(mask, side)
    for i, j in np.argwhere(mask):
        changed = images.copy()
        changed[0, i, j] += 200
        (after,) = qualities(changed, reference, convention)
        assert after.psnr != before.psnr
        assert after.nmse != before.nmse
        near = centres[max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
        assert (abs(after.ssim - before.ssim) > 1e-9) == near.any()


@pytest.mark.parametrize("roi", ROIS)
def test_metal_does_not_count_where_the_convention_is_without_it(roi: str) -> None:
    convention = replace(CONVENTIONS["thesis-mar"], roi=roi)
    images, reference, metal = scene("thesis-mar", 10)
    noise = np.random.default_rng(0).normal(size=images.shape) * 1000
    found = qualities(images, reference, convention, metal)
    changed = qualities(images + noise * metal, reference - noise * metal, convention, metal)
    assert changed == found
    body = ~metal & circle(*reference.shape[1:])
    assert qualities(images + noise * body, reference, convention, metal) != found


def test_metal_counts_as_air_in_both() -> None:
    images, reference, metal = scene("thesis-mar", 11)
    air = [np.where(metal, -1000.0, v) for v in (images, reference)]
    found = qualities(images, reference, CONVENTIONS["thesis-mar"], metal)
    assert found == qualities(*air, CT_CONVENTION)
    assert found != qualities(images, reference, CT_CONVENTION, metal)


def test_one_mask_of_metal_serves_all_slices() -> None:
    images, reference, metal = scene("thesis-mar", 12)
    stacked = np.broadcast_to(metal[0], metal.shape)
    once, each = (
        qualities(images, reference, CONVENTIONS["thesis-mar"], m) for m in (metal[0], stacked)
    )
    assert once == each


@pytest.mark.parametrize("roi", ROIS)
@pytest.mark.parametrize("name", CONVENTIONS)
@settings(max_examples=15)
@given(scale=st.floats(1e-4, 1e4), shift=st.floats(-1e3, 1e3))
def test_the_unit_changes_nothing(name: str, roi: str, scale: float, shift: float) -> None:
    """For any unit of the intensities the metrics agree if ``low`` and ``high`` are converted."""
    c = replace(CONVENTIONS[name], roi=roi)
    images, reference, metal = scene(name, 13, (2, 20, 20))
    shift *= scale  # otherwise rounding of the sum would remove the image
    low, high = c.low * scale + shift, c.high * scale + shift
    other = replace(c, low=low, high=high, unit="other")
    changed = (v * scale + shift for v in (images, reference))
    for a, b in zip(
        qualities(images, reference, c, metal), qualities(*changed, other, metal), strict=True
    ):
        assert (a.psnr, a.ssim, a.nmse) == pytest.approx((b.psnr, b.ssim, b.nmse), rel=1e-7)


def test_the_default_convention_in_words() -> None:
    assert str(CT_CONVENTION) == (
        "per slice, full image, -1000..1500 HU mapped to 0..1 and clipped, data range 1, "
        "SSIM with a uniform 7x7 window"
    )
    assert str(CT_CONVENTION) == str(Convention(-1000.0, 1500.0, "HU"))


def test_every_choice_is_in_the_words() -> None:
    every = [replace(c, roi=roi) for c in CONVENTIONS.values() for roi in ROIS]
    every += [replace(CT_CONVENTION, clip=False), Convention(-1000.0, 1500.0)]
    every += [replace(CT_CONVENTION, over="volume"), Convention(0.0, 1500.0, "HU")]
    words = [str(c) for c in every]
    assert len(set(words)) == len(every)
    assert all("\n" not in text and "  " not in text and "inf" not in text for text in words)
    assert "per volume" in str(CONVENTIONS["fastmri"])
    assert "0..maximum of the reference volume" in str(CONVENTIONS["fastmri"])
    assert "not clipped" in str(CONVENTIONS["mr"])
    assert "Gaussian 11x11" in str(CONVENTIONS["thesis-mr"])
    assert "metal set to -1000 HU in both" in str(CONVENTIONS["thesis-mar"])
    assert "inscribed circle" in str(replace(CT_CONVENTION, roi="circle"))


GOOD = np.arange(512.0).reshape(2, 16, 16)
REFUSED = {
    "other shape": (GOOD[:, :15], GOOD, "ct", None, "cannot be compared"),
    "one slice more": (GOOD[:1], GOOD, "ct", None, "cannot be compared"),
    "no batch": (GOOD[0], GOOD[0], "ct", None, "cannot be compared"),
    "no slices": (GOOD[:0], GOOD[:0], "ct", None, "cannot be compared"),
    "NaN": (np.where(GOOD == 7, np.nan, GOOD), GOOD, "ct", None, "images hold NaN"),
    "infinity": (GOOD, np.where(GOOD == 7, np.inf, GOOD), "ct", None, "reference hold NaN"),
    "small": (GOOD[:, :, :6], GOOD[:, :, :6], "ct", None, "16 x 6 pixels are too small"),
    "small for Wang": (GOOD[:, :10], GOOD[:, :10], "thesis-ct", None, "window of 11 x 11"),
    "no metal": (GOOD, GOOD, "thesis-mar", None, "there is none"),
    "other metal": (GOOD, GOOD, "thesis-mar", np.ones((3, 16, 16), dtype=bool), "(3, 16, 16)"),
    "black slice": (GOOD, GOOD * [[[1]], [[0]]], "mr", None, "slice 1 of the reference is nowhere"),
    "black": (GOOD, GOOD * 0, "fastmri", None, "the reference is nowhere above 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused(case: str) -> None:
    images, reference, name, metal, message = REFUSED[case]
    with pytest.raises(MedscoreError) as error:
        quality(images, reference, CONVENTIONS[name], metal)
    assert message in str(error.value)
    assert error.value.hint


def test_a_convention_may_be_named() -> None:
    for name, convention in CONVENTIONS.items():
        images, reference, metal = scene(name, 3)
        assert quality(images, reference, name, metal) == quality(
            images, reference, convention, metal
        )
    images, reference, _ = scene("ct", 3)
    assert quality(images, reference) == quality(images, reference, CT_CONVENTION)
    with pytest.raises(MedscoreError, match="`convention` is 'best'"):
        quality(images, reference, "best")


def test_a_black_slice_is_no_hindrance_to_a_volume() -> None:
    images, reference, _ = scene("fastmri", 14)
    reference[1] = 0
    assert math.isfinite(quality(images, reference, CONVENTIONS["fastmri"]).psnr)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"high": -1000.0}, "-1000..-1000"),
        ({"high": math.inf}, "-1000..inf"),
        ({"high": math.nan}, "-1000..nan"),
        ({"low": -math.inf, "data_range": "slice"}, "-inf"),
        ({"over": "volume", "data_range": "slice"}, "one number is given per volume"),
    ],
    ids=["empty", "endless", "nan", "no low", "volume"],
)
def test_conventions_that_make_no_sense_are_refused(parts: dict[str, object], message: str) -> None:
    with pytest.raises(MedscoreError) as error:
        replace(CT_CONVENTION, **parts)
    assert message in str(error.value)


def test_hu_and_attenuation_are_inverse_above_air() -> None:
    hu = np.linspace(-1000, 3000, 50)
    np.testing.assert_allclose(mu_to_hu(hu_to_mu(hu)), hu, atol=1e-9)
    assert hu_to_mu(np.array([0.0]))[0] == MU_WATER
    assert hu_to_mu(np.array([-3024.0]))[0] == 0.0
