"""Metal traces, their interpolation, and the simulation of what metal does to a scan."""

import math
import sys
from importlib.util import find_spec

import pytest
import torch

from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER, mu_to_hu
from medscore.operators.ct.geometry import FanBeam, ParallelBeam
from medscore.operators.ct.metal import (
    estimate_metal,
    interpolate_trace,
    metal_trace,
    without_metal,
)
from medscore.operators.ct.metal_simulation import MetalScan, discs, simulate_metal
from medscore.operators.ct.projector import project
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.xray import MATERIALS, attenuation, monochromatic, tube_spectrum

physics = pytest.mark.skipif(
    find_spec("xraydb") is None or find_spec("spekpy") is None,
    reason="spekpy and xraydb are not installed",
)
N, SPACING = 48, 5.0
GEOMETRY = ParallelBeam(N, SPACING, 64)


def head() -> torch.Tensor:
    """Tissue of 40 HU with a ring of bone and an air pocket, in air: (1, 1, N, N) HU."""
    at = (torch.arange(N) - (N - 1) / 2) * SPACING
    radius = (at**2 + at[:, None] ** 2).sqrt()
    hu = torch.where(radius < 90, 40.0, -1000.0)
    hu[(radius > 76) & (radius < 90)] = 900.0
    hu[30:34, 20:24] = -300.0
    return hu[None, None]


METAL = discs(N, SPACING, [(30.0, 10.0), (-40.0, 15.0)], [9.0, 8.0])


def scan(seed: int = 0, material: str = "titanium", photons: float = 2e7) -> MetalScan:
    return simulate_metal(
        head(), METAL, GEOMETRY, tube_spectrum(), material=material, photons=photons,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def full() -> Radon:
    return Radon(GEOMETRY, torch.ones(GEOMETRY.views, 1).bool())


def test_the_trace_is_the_rays_that_cross_metal() -> None:
    metal = METAL > 0.5
    trace = metal_trace(metal, GEOMETRY)
    path = project(metal.double(), GEOMETRY)
    assert torch.equal(trace, path > 0)
    # a disc of radius 9 mm shadows all rays within it of its centre, and none farther than a pixel
    s = GEOMETRY.offsets - (30 * GEOMETRY.angles.cos() + 10 * GEOMETRY.angles.sin())[:, None]
    assert bool(trace[0, 0][s.abs() < 9 - SPACING].all())
    alone = metal_trace(discs(N, SPACING, [(30.0, 10.0)], [9.0]) > 0.5, GEOMETRY)
    assert not bool(alone[0, 0][s.abs() > 9 + 1.5 * SPACING].any())


def test_a_margin_widens_the_trace_along_the_detectors() -> None:
    trace, wide = (metal_trace(METAL > 0.5, GEOMETRY, margin=m) for m in (0, 2))
    assert torch.equal(wide, torch.nn.functional.max_pool2d(trace.double(), (1, 5), 1, (0, 2)) > 0)
    assert int(wide.sum()) > int(trace.sum())
    with pytest.raises(ValueError, match="`margin` is -1"):
        metal_trace(METAL > 0.5, GEOMETRY, margin=-1)


def test_what_the_trace_leaves_does_not_depend_on_the_metal() -> None:
    """The remaining line integrals do not depend on the values of the metal pixels."""
    metal = METAL > 0.5
    operator = Radon(GEOMETRY, without_metal(torch.ones(64, 1), metal_trace(metal, GEOMETRY)))
    x = torch.rand(1, 1, N, N, generator=torch.Generator().manual_seed(0))
    changed = torch.where(metal, 100.0, x)
    assert torch.equal(operator.forward(x), operator.forward(changed))
    assert not torch.equal(operator.T(x), operator.T(changed))


def test_sparse_views_and_metal_combine() -> None:
    trace = metal_trace(METAL > 0.5, GEOMETRY)
    views = (torch.arange(64) % 4 == 0)[:, None]
    operator = Radon(GEOMETRY, without_metal(views, trace))
    assert torch.equal(operator.diagonal, views & ~trace)
    with pytest.raises(ValueError, match="nothing remains"):
        without_metal(trace[0, 0], trace)


def test_thresholding_finds_pieces_of_metal_and_drops_specks() -> None:
    hu = head()
    hu[0, 0, 10:13, 20:22] = 5000.0
    hu[0, 0, 40, 40] = 6000.0
    hu[0, 0, 15, 23] = hu[0, 0, 16, 24] = 3000.0  # two pixels that touch at a corner
    found = estimate_metal(hu)
    expected = torch.zeros_like(found)
    expected[0, 0, 10:13, 20:22] = True
    expected[0, 0, 15, 23] = expected[0, 0, 16, 24] = True
    assert torch.equal(found, expected)
    assert int(estimate_metal(hu, smallest=1).sum()) == 9
    assert int(estimate_metal(hu, smallest=3).sum()) == 6
    assert not bool(estimate_metal(hu, threshold=7000.0).any())


def test_interpolation_is_exact_where_the_sinogram_is_linear() -> None:
    s = torch.arange(12.0)
    y = (2 * s + 1) * torch.tensor([1.0, -0.5, 3.0])[:, None]
    mask = torch.ones(1, 1, 3, 12)
    mask[0, 0, 0, 3:7] = mask[0, 0, 1, 5] = mask[0, 0, 2, 1:11] = 0
    found = interpolate_trace((y * mask).reshape(1, 1, 3, 12), mask)
    torch.testing.assert_close(found, y.reshape(1, 1, 3, 12))


def test_interpolation_keeps_what_was_measured_and_repeats_the_nearest_at_the_ends() -> None:
    y = torch.rand(2, 1, 4, 9, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 1, 4, 9)
    mask[0, 0, 1, :3] = mask[1, 0, 2, 6:] = 0
    found = interpolate_trace(y * mask, mask)
    assert torch.equal(found[mask == 1], y[mask == 1])
    torch.testing.assert_close(found[0, 0, 1, :3], y[0, 0, 1, 3].expand(3))
    torch.testing.assert_close(found[1, 0, 2, 6:], y[1, 0, 2, 5].expand(3))


def test_interpolation_keeps_double_precision_and_ignores_unmeasured_values() -> None:
    y = (0.37 * torch.arange(301, dtype=torch.float64) + 1).expand(1, 1, 4, 301)
    mask = torch.ones(1, 1, 4, 301)
    mask[..., 7:290] = mask[0, 0, 2] = 0
    for rubbish in (1e6, math.nan):
        found = interpolate_trace(torch.where(mask == 1, y, rubbish), mask)
        torch.testing.assert_close(found, y.clone(), rtol=1e-14, atol=0)
        assert not bool(interpolate_trace(torch.full_like(y, rubbish), 0 * mask).any())


def test_views_without_a_ray_are_interpolated_between_their_neighbours() -> None:
    y = torch.arange(5.0)[:, None] * torch.ones(6)
    mask = torch.ones(1, 1, 5, 6)
    mask[0, 0, 1:3] = 0
    found = interpolate_trace((y * mask[0, 0]).reshape(1, 1, 5, 6), mask)
    torch.testing.assert_close(found, y.reshape(1, 1, 5, 6))
    assert not bool(interpolate_trace(torch.zeros(1, 1, 5, 6), torch.zeros(1, 1, 5, 6)).any())


@physics
@pytest.mark.parametrize(
    ("material", "energy", "per_cm"),
    [
        # NIST XCOM, mass attenuation with coherent scattering times density
        ("water", 60.0, 0.2059),
        ("water", 100.0, 0.1707),
        ("bone", 60.0, 0.3148 * 1.92),
        ("titanium", 60.0, 0.7661 * 4.506),
        ("iron", 60.0, 1.205 * 7.874),
        ("copper", 100.0, 0.4584 * 8.96),
        ("gold", 100.0, 5.158 * 19.3),
    ],
)
def test_attenuation_is_nists_within_one_percent(
    material: str, energy: float, per_cm: float
) -> None:
    assert float(attenuation(material, [energy])) == pytest.approx(per_cm / 10, rel=0.01)


@physics
def test_water_at_the_reference_energy_is_what_hu_are_made_of() -> None:
    assert float(attenuation("water", [70.0])) == pytest.approx(MU_WATER, rel=1e-3)


@physics
def test_mass_fractions_are_whole_and_unknown_materials_refused() -> None:
    for material in MATERIALS.values():
        assert sum(share for _, share in material.fractions) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="`material` is 'wood', expected one of water"):
        attenuation("wood", [60.0])


@pytest.mark.slow
@physics
def test_a_tube_spectrum_ends_at_its_voltage_and_hardens_with_filtration() -> None:
    soft, hard = tube_spectrum(120.0, aluminium=2.0), tube_spectrum(120.0, aluminium=10.0)
    for spectrum in (soft, hard):
        assert sum(spectrum.weights) == pytest.approx(1)
        assert 110 < max(spectrum.energies) <= 120
    mean = [sum(e * w for e, w in zip(s.energies, s.weights, strict=True)) for s in (soft, hard)]
    assert 45 < mean[0] < mean[1] < 75


def test_without_the_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("xraydb", "spekpy"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MedscoreError, match=r"needs the package xraydb.*medscore\[metal\]"):
        attenuation("water", [60.0])
    with pytest.raises(MedscoreError, match=r"needs the package spekpy.*medscore\[metal\]"):
        tube_spectrum()


@physics
@pytest.mark.parametrize(
    "geometry", [GEOMETRY, FanBeam(N, SPACING, 40, 500.0, 900.0)], ids=["parallel", "fan"]
)
def test_one_energy_no_noise_and_no_metal_is_the_linear_projection(
    geometry: ParallelBeam | FanBeam,
) -> None:
    result = simulate_metal(
        head().double(), torch.zeros_like(METAL), geometry, monochromatic(), thin_rays=1,
        photons=math.inf, generator=torch.Generator(),
    )  # fmt: skip
    # at one energy the water correction is the identity, but for the fit of its polynomial
    torch.testing.assert_close(result.sinogram, result.clean, rtol=1e-6, atol=1e-6)
    assert not bool(result.trace.any())


@pytest.mark.slow
@physics
def test_water_is_corrected_to_a_linear_curve_and_bone_is_not() -> None:
    def gap(hu: torch.Tensor) -> float:
        result = simulate_metal(
            hu.double(), torch.zeros_like(METAL), GEOMETRY, tube_spectrum(), thin_rays=1,
            photons=math.inf, generator=torch.Generator(),
        )  # fmt: skip
        return float((result.sinogram - result.clean).abs().max() / result.clean.max())

    water = torch.where(head() > -500, 0.0, -1000.0)
    assert gap(water) <= 1e-3
    assert gap(head()) > 3e-3


@pytest.mark.statistical
@physics
def test_photon_counting_has_its_variance() -> None:
    """Through air: -log(N / I0) has the variance 1 / I0. With this number of rays the standard
    error is 1.1 %; the bound is 6 standard errors (false-alarm rate below 1e-8). The water
    correction multiplies by its slope at 0.
    """
    air = torch.full((1, 1, N, N), -1000.0, dtype=torch.float64)

    def noisy(photons: float) -> torch.Tensor:
        return simulate_metal(
            air.expand(4, 1, N, N), torch.zeros(4, 1, N, N), GEOMETRY, monochromatic(), thin_rays=1,
            photons=photons, generator=torch.Generator().manual_seed(0),
        ).sinogram  # fmt: skip

    y = noisy(1e4)
    error = (2 / y.numel()) ** 0.5
    assert float(y.var()) * 1e4 == pytest.approx(1, rel=6 * error + 0.001)
    assert float(noisy(1e6).var()) * 1e6 == pytest.approx(1, rel=6 * error + 0.001)


@pytest.mark.slow
@physics
def test_starved_rays_are_finite_and_a_seed_repeats() -> None:
    starved = scan(material="gold", photons=100.0)
    assert bool(torch.isfinite(starved.sinogram).all())
    assert torch.equal(scan(3).sinogram, scan(3).sinogram)
    assert not torch.equal(scan(3).sinogram, scan(4).sinogram)


@physics
def test_a_bin_half_in_shadow_is_darker_than_the_mean_of_its_line_integrals() -> None:
    """Partial volume: intensities are averaged, so -log is less than the mean of the integrals."""

    def shadow(thin_rays: int) -> torch.Tensor:
        return simulate_metal(
            head(), METAL, GEOMETRY, monochromatic(), material="gold", thin_rays=thin_rays,
            photons=math.inf, generator=torch.Generator(),
        ).sinogram  # fmt: skip

    edge, sharp = shadow(5), shadow(1)
    trace = scan().trace
    assert float((edge - sharp)[trace].mean()) < 0
    assert float((edge - sharp)[~trace].abs().max()) < 0.1 * float(sharp.max())


@physics
def test_metal_makes_artifacts_that_interpolation_lessens() -> None:
    """Outside of the metal, from the trace of a thresholded reconstruction."""
    result, operator = scan(material="iron"), full()
    clean = mu_to_hu(operator.fbp(result.clean), MU_WATER)
    spoilt = mu_to_hu(operator.fbp(result.sinogram), MU_WATER)
    estimated = metal_trace(estimate_metal(spoilt), GEOMETRY)
    overlap = (estimated & result.trace).sum() / (estimated | result.trace).sum()
    mended = mu_to_hu(operator.fbp(interpolate_trace(result.sinogram, ~estimated)), MU_WATER)
    outside = METAL == 0

    def error(hu: torch.Tensor) -> float:
        return float((hu - clean)[outside].square().mean().sqrt())

    assert float(overlap) > 0.7
    assert error(spoilt) > 60.0
    assert error(mended) < 0.6 * error(spoilt)
