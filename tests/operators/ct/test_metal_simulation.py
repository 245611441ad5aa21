"""The simulated scan against the physics written out by hand."""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch

from medscore.hounsfield import MU_WATER, hu_to_mu, mu_to_hu
from medscore.operators.ct.geometry import FanBeam, ParallelBeam
from medscore.operators.ct.metal import estimate_metal, interpolate_trace
from medscore.operators.ct.metal_simulation import MetalScan, discs, simulate_metal
from medscore.operators.ct.projector import project
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.xray import Spectrum, attenuation, monochromatic, tube_spectrum

pytest.importorskip("spekpy")
pytest.importorskip("xraydb")

N, SPACING = 40, 6.0
PARALLEL = ParallelBeam(N, SPACING, 48)
FAN = FanBeam(N, SPACING, 48, 500.0, 900.0)
METAL = discs(N, SPACING, [(30.0, 12.0), (-36.0, 0.0)], [10.0, 9.0])
NONE = torch.zeros_like(METAL)


def disc_of(hu: float) -> torch.Tensor:
    """A disc of 90 mm radius of one kind of tissue in air: (1, 1, N, N) HU, float64."""
    return -1000 + (1000 + hu) * discs(N, SPACING, [(0.0, 0.0)], [90.0])


def scan(
    hu: torch.Tensor,
    metal: torch.Tensor = METAL,
    geometry: ParallelBeam | FanBeam = PARALLEL,
    spectrum: Spectrum | None = None,
    *,
    material: str = "titanium",
    photons: float = math.inf,
    thin_rays: int = 1,
    seed: int = 0,
) -> MetalScan:
    return simulate_metal(
        hu, metal, geometry, spectrum or monochromatic(), material=material, photons=photons,
        thin_rays=thin_rays, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


@lru_cache
def tube() -> Spectrum:
    return tube_spectrum()


def at(material: str, energy: float) -> float:
    return float(attenuation(material, [energy]))


def test_discs_have_their_position_and_size() -> None:
    image = discs(64, 2.0, [(20.0, 10.0)], [12.0])[0, 0]
    x = (torch.arange(64, dtype=torch.float64) - 31.5) * 2
    assert float(image.sum()) * 4 == pytest.approx(math.pi * 12**2, rel=0.01)
    assert float((image.sum(0) * x).sum() / image.sum()) == pytest.approx(20, abs=0.05)
    assert float((image.sum(1) * -x).sum() / image.sum()) == pytest.approx(10, abs=0.05)
    assert float(image.max()) == 1
    both = discs(64, 2.0, [(20.0, 10.0), (22.0, 10.0)], [12.0, 12.0])
    assert float(both.max()) == 1, "where two overlap, the share of metal is at most 1"


@pytest.mark.parametrize(
    ("hu", "bone"), [(-600, 0), (100, 0), (450, 0.25), (800, 0.5), (1500, 1), (2000, 1)]
)
def test_tissue_turns_from_water_to_bone_between_100_and_1500_hu(hu: float, bone: float) -> None:
    """At an energy other than the reference, the attenuation reveals the share of each material."""
    uniform = torch.full((1, 1, N, N), float(hu), dtype=torch.float64)
    found = scan(uniform, NONE, spectrum=monochromatic(45.0))
    water_ratio = at("water", 45.0) / at("water", 70.0)
    bone_ratio = at("bone", 45.0) / at("bone", 70.0)
    factor = (1 - bone) + bone * bone_ratio / water_ratio
    torch.testing.assert_close(found.sinogram, factor * found.clean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("geometry", [PARALLEL, FAN], ids=["parallel", "fan"])
@pytest.mark.parametrize("material", ["titanium", "iron", "copper", "gold"])
def test_metal_replaces_tissue(material: str, geometry: ParallelBeam | FanBeam) -> None:
    hu, energy = disc_of(0.0), 60.0
    found = scan(hu, METAL, geometry, monochromatic(energy), material=material)
    water = project(hu_to_mu(hu) / at("water", 70.0) * (1 - METAL), geometry)
    line = at("water", energy) * water + at(material, energy) * project(METAL, geometry)
    expected = line * at("water", 70.0) / at("water", energy)
    torch.testing.assert_close(found.sinogram, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.clean, project(hu_to_mu(hu), geometry))
    assert bool(found.trace[project(METAL, geometry) > 0].all())


def test_a_detector_bin_averages_the_intensity_of_its_thin_rays() -> None:
    """One energy, metal in air: -log of the mean over the bin of exp(-mu l)."""
    rays = 4
    fine = replace(PARALLEL, detectors=rays * PARALLEL.detectors, detector_spacing=SPACING / rays)
    path = project(METAL, fine).unflatten(-1, (PARALLEL.detectors, rays))
    expected = -torch.log(torch.exp(-at("iron", 70.0) * path).mean(-1))
    found = scan(disc_of(-1000.0), material="iron", thin_rays=rays).sinogram
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_several_energies_add_up_as_intensities() -> None:
    """Two beams of shares 0.3 and 0.7, uncorrected by comparing water of the same attenuation.

    The water correction is a function of -log of the intensity alone. So metal in air reads what
    the water path reads that lets as much through, found here by bisection.
    """
    two = Spectrum((50.0, 100.0), (0.3, 0.7))

    def left(material: str, path: torch.Tensor) -> torch.Tensor:
        mu = attenuation(material, two.energies)
        return 0.3 * torch.exp(-mu[0] * path) + 0.7 * torch.exp(-mu[1] * path)

    path = project(METAL, PARALLEL)
    wanted = left("titanium", path)
    low, high = torch.zeros_like(path), torch.full_like(path, 600.0)
    assert bool((left("water", high) < wanted).all())
    for _ in range(60):
        middle = (low + high) / 2
        through = left("water", middle) > wanted
        low, high = torch.where(through, middle, low), torch.where(through, high, middle)
    found = scan(disc_of(-1000.0), spectrum=two).sinogram
    torch.testing.assert_close(found, at("water", 70.0) * low, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_corrected_water_is_linear_for_each_voltage_and_thickness() -> None:
    """From 10 to 600 mm the residual beam hardening is within 1.5e-3 of a line integral."""
    for kvp, radius, spacing in ((80.0, 40.0, 3.0), (140.0, 290.0, 18.0)):
        geometry = ParallelBeam(N, spacing, 8)
        hu = -1000 + 1000 * discs(N, spacing, [(0.0, 0.0)], [radius])
        found = scan(hu, NONE, geometry, tube_spectrum(kvp))
        assert float((found.sinogram - found.clean).abs().max()) <= 1.5e-3


@pytest.mark.statistical
def test_noise_has_the_variance_of_the_photons_that_come_through() -> None:
    """var(y) = 1 / (I_0 exp(-y)): 6 standard errors, a false alarm in 5e8 runs; the second-order
    terms of the logarithm are below 1 / 3e4.
    """
    hu, photons = disc_of(0.0).expand(8, 1, N, N), 1e6
    ideal = scan(hu, NONE).sinogram
    noisy = scan(hu, NONE, photons=photons).sinogram
    z = (noisy - ideal) * torch.sqrt(photons * torch.exp(-ideal))
    assert float(photons * torch.exp(-ideal).min()) > 2e4
    bound = 6 * math.sqrt(2 / z.numel())
    assert float(z.square().mean()) == pytest.approx(1, abs=bound + 1e-3)
    assert abs(float(z.mean())) < 6 / math.sqrt(z.numel()) + 5e-3
    for part in (ideal > 2, (ideal > 0) & (ideal < 1)):
        assert float(z[part].square().mean()) == pytest.approx(
            1, abs=6 * math.sqrt(2 / int(part.sum())) + 1e-3
        )


def test_counts_are_whole_photons_and_a_starved_ray_counts_one() -> None:
    found = scan(disc_of(0.0), material="gold", photons=50.0).sinogram
    counts = 50 * torch.exp(-found)
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)
    assert float(counts.min()) == pytest.approx(1, abs=1e-3)
    assert float(found.max()) == pytest.approx(math.log(50), abs=1e-3)


def test_polychromatic_scans_stay_finite_however_few_photons_there_are() -> None:
    for photons in (1.0, 1e3):
        found = scan(disc_of(300.0), material="gold", spectrum=tube(), photons=photons, thin_rays=3)
        assert bool(torch.isfinite(found.sinogram).all())


def test_without_noise_each_image_is_scanned_as_if_alone_and_left_as_it_was() -> None:
    hu = torch.cat([disc_of(h) for h in (-100.0, 40.0, 900.0)])
    metal = torch.cat([METAL, NONE, METAL.flip(-1)])
    before = hu.clone(), metal.clone()
    together = scan(hu, metal, spectrum=tube(), thin_rays=3)
    for i in range(3):
        alone = scan(hu[i : i + 1], metal[i : i + 1], spectrum=tube(), thin_rays=3)
        for name in ("sinogram", "clean", "trace"):
            torch.testing.assert_close(getattr(together, name)[i], getattr(alone, name)[0])
    torch.testing.assert_close(hu, before[0], rtol=0, atol=0)
    torch.testing.assert_close(metal, before[1], rtol=0, atol=0)


def test_the_first_image_of_a_batch_draws_the_noise_of_a_scan_of_its_own() -> None:
    hu = torch.cat([disc_of(40.0), disc_of(900.0)])
    both, first = (scan(h, METAL.expand(len(h), 1, N, N), photons=1e4) for h in (hu, hu[:1]))
    torch.testing.assert_close(both.sinogram[:1], first.sinogram, rtol=1e-12, atol=1e-12)


def test_single_precision_comes_back_as_single_precision() -> None:
    single, double = (scan(disc_of(40.0).to(t), photons=1e4) for t in (torch.float32, torch.double))
    assert single.sinogram.dtype == single.clean.dtype == torch.float32
    assert double.sinogram.dtype == double.clean.dtype == torch.float64
    assert single.trace.dtype == torch.bool
    torch.testing.assert_close(single.sinogram.double(), double.sinogram, rtol=1e-5, atol=1e-5)


def test_thresholding_a_reconstruction_finds_the_metal_and_a_clean_one_has_none() -> None:
    """As in B.6.5. The segmentation is rough, as its intersection over union shows."""
    geometry = ParallelBeam(80, 3.0, 96)
    hu = -1000 + 1040 * discs(80, 3.0, [(0.0, 0.0)], [100.0])
    metal = discs(80, 3.0, [(-50.0, 0.0), (50.0, 0.0)], [10.0, 10.0])
    found = scan(hu, metal, geometry, tube(), photons=2e7, thin_rays=3)
    operator = Radon(geometry, torch.ones(96, 1))

    def image(sinogram: torch.Tensor) -> torch.Tensor:
        return mu_to_hu(operator.fbp(sinogram), MU_WATER)

    guess, truth = estimate_metal(image(found.sinogram)), metal > 0.5
    assert float((guess & truth).sum() / (guess | truth).sum()) > 0.7
    assert not bool(estimate_metal(image(found.clean)).any())
    # LI with the true trace, outside of the metal, in the body; PSNR of a range of 2000 HU
    body = (hu > -500) & (metal == 0)
    clean = image(found.clean)

    def psnr(sinogram: torch.Tensor) -> float:
        return float(10 * torch.log10(2000**2 / (image(sinogram) - clean)[body].square().mean()))

    mended = interpolate_trace(found.sinogram, ~found.trace)
    assert psnr(mended) > psnr(found.sinogram) + 5


@pytest.mark.parametrize("geometry", [PARALLEL, FAN], ids=["parallel", "fan"])
@pytest.mark.parametrize("thin_rays", [1, 2, 3])
def test_what_lies_outside_of_the_trace_is_the_scan_without_metal(
    thin_rays: int, geometry: ParallelBeam | FanBeam
) -> None:
    """No thin ray of the remaining bins crosses metal, nor does the ray of A for these bins."""
    with_metal, without = (
        scan(disc_of(40.0), m, geometry, material="gold", thin_rays=thin_rays)
        for m in (METAL, NONE)
    )
    trace = with_metal.trace
    torch.testing.assert_close(
        with_metal.sinogram[~trace], without.sinogram[~trace], rtol=0, atol=1e-12
    )
    assert not bool((project(METAL, geometry) > 0)[~trace].any())
    assert not bool(without.trace.any())


def test_one_metal_serves_many_images_and_one_image_many_metals() -> None:
    images, metals = disc_of(0.0).expand(3, 1, N, N), METAL.expand(3, 1, N, N)
    for hu, metal in ((images, METAL), (disc_of(0.0), metals)):
        found = scan(hu, metal, thin_rays=2)
        shape = (3, 1, PARALLEL.views, PARALLEL.detectors)
        assert found.sinogram.shape == found.clean.shape == found.trace.shape == shape


def test_a_seed_repeats_to_the_last_bit() -> None:
    first, again = (scan(disc_of(40.0), spectrum=tube(), photons=1e5, seed=3) for _ in range(2))
    assert torch.equal(first.sinogram, again.sinogram)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"photons": 0.0}, "`photons` is 0.0"),
        ({"photons": math.nan}, "`photons` is nan"),
        ({"thin_rays": 0}, "`thin_rays` 0"),
        ({"metal": 2 * METAL}, "share of metal in each pixel, 0 to 1"),
        ({"metal": -METAL}, "share of metal in each pixel, 0 to 1"),
        ({"material": "wood"}, "`material` is 'wood'"),
    ],
)
def test_invalid_arguments_of_the_simulation_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scan(disc_of(0.0), **settings)
