"""Honest CT: a finer object, detectors with a width, the same rays in mm, and what is recorded."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medscore.datasets.fit import reduce
from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER, hu_to_mu
from medscore.measurements.measurement import Measurement
from medscore.measurements.object_scan import object_scan
from medscore.measurements.simulation import simulate
from medscore.measurements.spec import choices, scan_spec
from medscore.measurements.tasks import Grid
from medscore.operators.ct.detector import by_detector, rays_per_detector, thin
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.metal_simulation import simulate_metal
from medscore.operators.ct.phantoms import Ellipse, exact_sinogram, rasterize
from medscore.operators.ct.projector import project
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import sparse_view
from medscore.operators.ct.xray import tube_spectrum
from medscore.reconstruction.run import reconstruct
from medscore.registry.noise import noise_std_of

FIELD = 96.0
"""Side of the square field in mm."""

BODY = (
    Ellipse(MU_WATER, 2.0, -3.0, 36.0, 30.0, 0.3),
    Ellipse(0.8 * MU_WATER, 12.0, 6.0, 7.0, 5.0, 1.0),
    Ellipse(-0.7 * MU_WATER, -14.0, -4.0, 8.0, 11.0, -0.4),
)
"""A body of water with bone and a lung, in 1/mm."""

SPECTRUM = {"spectrum": 120.0}


def without_physics() -> None:
    for package in ("spekpy", "xraydb"):
        pytest.importorskip(package)


def volume_of(mu: Tensor, spacing: tuple[float, float]) -> Volume:
    values = (1000 * (mu / MU_WATER - 1)).numpy().astype(np.float32)
    column, row = spacing
    affine = np.diag([-column, -row, 3.0, 1.0])
    return Volume(values, affine, "CT", Source("array", "ab" * 32))


def body(side: int) -> Volume:
    """The body on a square grid of the field."""
    mu = rasterize(BODY, side, FIELD / side, samples=4)[0]
    return volume_of(mu, (FIELD / side, FIELD / side))


def cropped(rows: int, columns: int, coarser: int = 1) -> Volume:
    """The body in the middle of a field of 1.5 mm that is not square, perhaps in tall pixels."""
    mu = rasterize(BODY, 64, 1.5, samples=4)
    top, left = (64 - rows) // 2, (64 - columns) // 2
    part = mu[:, :, top : top + rows, left : left + columns]
    part = torch.nn.functional.avg_pool2d(part, (coarser, 1))
    return volume_of(part[0], (1.5, 1.5 * coarser))


def radon(m: Measurement) -> Radon:
    assert isinstance(m.operator, Radon)
    return m.operator


def measured(m: Measurement) -> np.ndarray:
    """The views that were measured."""
    return m.data[:, :, radon(m).measured.numpy()]


def of_means(m: Measurement, image: Volume) -> np.ndarray:
    """What the operator of the reconstruction makes of the area means, in the measured views."""
    means = reduce(image, m.size[0]) if image.values.shape[1:] != m.size else image
    y = m.operator.forward(hu_to_mu(torch.from_numpy(means.values)[:, None]))
    return y[:, :, radon(m).measured].numpy()


@pytest.mark.parametrize(("side", "size"), [(64, 32), (80, 32), (48, 32), (32, 32)])
def test_data_come_nearer_to_the_exact_ones_than_those_of_the_same_grid(
    side: int, size: int
) -> None:
    """Against exact line integrals, averaged as intensities over each detector."""
    image, views = body(side), 12
    honest = simulate(image, "sparse-ct", views=views, size=size, finer=2)
    crime = simulate(image, "sparse-ct", views=views, size=size, finer=1)
    geometry = replace(radon(honest).geometry, views=views)
    rays = exact_sinogram(BODY, thin(geometry, 15))
    exact = -torch.log(by_detector(torch.exp(-rays), 15).mean(-1)).numpy()
    error, of_crime = (float(np.square(measured(m) - exact).mean()) for m in (honest, crime))
    assert error < (0.25 if side > size else 0.7) * of_crime


CASES: dict[str, tuple[Volume, dict[str, Any]]] = {
    "its own matrix, twice as fine": (body(64), {"size": 32}),
    "its own matrix, 2.5 times": (body(80), {"size": 32}),
    "refined because 1.5 times": (body(48), {"size": 32}),
    "refined": (body(32), {}),
    "refined to a quarter": (body(32), {"finer": 4}),
    "landscape": (cropped(44, 64), {"size": 32}),
    "an odd difference": (cropped(51, 64), {"size": 32}),
    "an odd matrix": (cropped(51, 51), {"size": 25}),
    "tall pixels": (cropped(60, 64, 3), {"size": 20}),
}
"""An image, and how it is measured."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("task", "options"), [("sparse-ct", {"views": 12}), ("limited-angle", {"arc": 90})]
)
def test_the_operator_has_the_rays_of_the_data(
    case: str, task: str, options: dict[str, Any]
) -> None:
    """Its data of the area means differ by discretisation only, without bias and without a shift.

    The mean of intensities across a detector lowers the readings at edges, by up to 0.3 % on
    average in the largest of these pixels.
    """
    image, how = CASES[case]
    m = simulate(image, task, **{"finer": 2, **how}, **options)
    y, expected = measured(m), of_means(m, image)
    gap = y - expected
    assert 0 < np.square(gap).mean() ** 0.5 < 0.03 * expected.max()
    assert abs(gap.mean()) < 4e-3 * expected.mean()
    s = radon(m).geometry.offsets.numpy()
    centres = [(s * z).sum(-1) / z.sum(-1) for z in (y, expected)]
    assert np.abs(centres[0] - centres[1]).max() < 0.04 * radon(m).geometry.spacing
    assert not np.delete(m.data, radon(m).measured.numpy().nonzero()[0], axis=2).any()


def test_without_a_square_the_image_is_refined_on_its_own_grid() -> None:
    image = cropped(44, 64)
    m = simulate(image, "sparse-ct", views=12, finer=2)
    y = m.operator.forward(hu_to_mu(torch.from_numpy(image.values)[:, None])).numpy()
    assert m.size == (44, 64)
    assert 0 < np.square(m.data - y).mean() ** 0.5 < 0.01 * y.max()


@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize("given", [{}, {"finer": 1}])
@pytest.mark.parametrize("noise", ["none", "poisson:1e4"])
def test_the_same_grid_gives_the_operators_own_data(
    size: int | None, given: dict[str, Any], noise: str
) -> None:
    image = body(64)
    if noise != "none" and not given:
        assert not np.array_equal(
            simulate(image, "sparse-ct", views=9, noise=noise, seed=2, size=size).data,
            simulate(image, "sparse-ct", views=9, noise=noise, seed=2, size=size, finer=1).data,
        )
        return
    m = simulate(image, "sparse-ct", views=9, noise=noise, seed=2, size=size, **given)
    means = image if size is None else reduce(image, size)
    mu = hu_to_mu(torch.from_numpy(means.values)[:, None])
    model = choices(scan_spec("sparse-ct", noise, 0, {})).noise
    draw = torch.Generator().manual_seed(2 * 1_000_003)
    expected = model(m.operator.forward(mu), m.operator.mask(mu.new_zeros(1)), draw)
    assert np.array_equal(m.data, expected.numpy())
    np.testing.assert_array_equal(m.affine, means.affine)
    assert m.noise == noise


def test_a_reading_is_the_mean_intensity_across_the_detector() -> None:
    """Not the mean line integral: at an edge of bone the two differ."""
    image = body(64)
    m = simulate(image, "sparse-ct", views=8, size=16, finer=2)
    geometry = ParallelBeam(64, 1.5, 8, m.data.shape[-1], 6.0)
    assert rays_per_detector(geometry) == 4
    rays = project(
        hu_to_mu(torch.from_numpy(image.values).double())[None], thin(geometry, 4), backend="csr"
    )
    along = by_detector(rays, 4).numpy()
    intensity = -np.log(np.exp(-along).mean(-1))
    np.testing.assert_allclose(measured(m), intensity, atol=1e-5)
    assert np.abs(along.mean(-1) - intensity).max() > 1e-2


@pytest.mark.parametrize("pitch", [0.5, 1.0, 2.9, 3.0, 4.1, 16.0])
def test_thin_rays_are_at_least_three_and_at_most_a_pixel_apart(pitch: float) -> None:
    geometry = ParallelBeam(16, 1.0, 8, 32, pitch)
    count = rays_per_detector(geometry)
    assert count >= 3
    assert pitch / count <= 1 + 1e-9
    assert count == 3 or pitch / (count - 1) > 1
    fine = thin(geometry, count).offsets.reshape(32, count)
    torch.testing.assert_close(fine.mean(1), geometry.offsets)


@pytest.mark.parametrize(
    ("size", "matrix", "finer", "side"),
    [(32, 64, 2, 64), (32, 80, 2, 80), (32, 48, 2, 96), (32, 32, 2, 64), (32, 32, 3, 96),
     (32, 33, 2, 66), (32, 64, 3, 128), (20, 64, 3, 64), (32, None, 8, 256)],
)  # fmt: skip
def test_the_object_is_the_smallest_that_is_fine_enough(
    size: int, matrix: int | None, finer: int, side: int
) -> None:
    chosen = choices(scan_spec("sparse-ct", "none", 0, {"finer": finer}))
    grid = Grid(size, size, 2.0, "CT", matrix=matrix)
    found = object_scan(sparse_view(size, 2.0, 9), grid, chosen).geometry
    assert found.size == side
    assert found.size * found.spacing == pytest.approx(size * 2.0)
    assert found.detector_spacing == 2.0


def test_a_view_has_the_same_data_in_every_scan() -> None:
    """Views are computed alone, as an even grid, or with all others, by the symmetries."""
    image, angle = body(32), 15
    few = simulate(image, "limited-angle", arc=30, finer=2)
    many = simulate(image, "limited-angle", arc=120, finer=2)
    even = simulate(image, "sparse-ct", views=12, finer=2)
    np.testing.assert_allclose(few.data[:, :, :30], many.data[:, :, :30], atol=1e-5)
    every = len(even.data[0, 0]) // 12
    assert every == angle
    np.testing.assert_allclose(even.data[:, :, : 8 * every : every], many.data[:, :, :120:angle],
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    ("task", "options", "recorded"),
    [
        ("sparse-ct", {}, "none"),
        ("sparse-ct", {"finer": 2}, "unknown"),
        ("limited-angle", {"finer": 3}, "unknown"),
        ("sparse-ct", {"noise": "poisson:1e5"}, "estimate:uniform+poisson:100000"),
        ("sparse-ct", {"noise": "poisson:1e5,12"}, "estimate:uniform+poisson:100000,12"),
        ("limited-angle", {"noise": "gaussian:0.01"}, "estimate:uniform+gaussian:0.01"),
        ("sparse-ct", {"noise": "poisson:1e5", "finer": 1}, "poisson:1e5"),
        ("sparse-ct", {"noise": "gaussian:0.01", "finer": 1}, "gaussian:0.01"),
        pytest.param("sparse-ct", {**SPECTRUM}, "unknown", marks=pytest.mark.slow),
        pytest.param(
            "sparse-ct", {**SPECTRUM, "noise": "poisson:1e5"}, "unknown", marks=pytest.mark.slow
        ),
        pytest.param("sparse-mar", {"finer": 2}, "estimate:uniform", marks=pytest.mark.slow),
        pytest.param(
            "mar",
            {"noise": "poisson:1e5"},
            "estimate:uniform+poisson:100000",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_data_that_the_operator_does_not_explain_are_not_recorded_as_noise_free(
    task: str, options: dict[str, Any], recorded: str
) -> None:
    if "spectrum" in options or "mar" in task:
        without_physics()
    assert simulate(body(32), task, **options).noise == recorded


def test_noise_free_data_of_a_finer_object_are_reconstructed_with_their_estimated_error() -> None:
    """More than half of the rays read exactly zero; they say nothing about the error."""
    y, x = np.mgrid[-63.5:64, -63.5:64]
    values = np.where(np.hypot(x, y - 9) < 26, 40.0, -1000.0) + 500 * (np.hypot(x - 6, y) < 7)
    image = Volume(values[None].astype(np.float32), body(128).affine, "CT", Source("array", ""))
    m = simulate(image, "sparse-ct", views=30, size=32, finer=2)
    std = noise_std_of("recorded", m, "m.h5")
    assert std is not None
    error = np.square(measured(m) - of_means(m, image)).mean() ** 0.5
    level = float(std[:, :, radon(m).measured].square().mean().sqrt())
    assert 0.5 < level / error < 3
    found = reconstruct(m, method="fista-tv", parameters={"iterations": 60})
    rms = np.square(found.mean - reduce(image, 32).values).mean() ** 0.5
    assert rms < 60


@pytest.mark.parametrize("noise", ["poisson:1e4", "poisson:1e4,20", "gaussian:0.05"])
def test_a_seed_repeats_and_a_slice_has_noise_of_its_own(noise: str) -> None:
    one = body(32)
    pair = replace(one, values=np.concatenate([one.values] * 2))
    first, again, other = (
        simulate(pair, "sparse-ct", views=8, noise=noise, seed=seed).data for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])
    alone = simulate(one, "sparse-ct", views=8, noise=noise, seed=1).data
    assert np.array_equal(first[:1], alone)


@pytest.mark.statistical
@pytest.mark.parametrize("noise", ["poisson:1e3", "poisson:1e3,25"])
def test_photons_and_electronics_have_their_variance(noise: str) -> None:
    """Whitened by the standard deviation of the noise-free data, 16,000 numbers have the variance
    1 + O(1 / N). Bound: 6 standard errors of 1.1 % (false-alarm rate below 1e-8), and 4 % for the
    next order, at N > 120 photons and sqrt(N + s^2) / N < 0.23.
    """
    image = body(32)
    rows = replace(image, values=np.repeat(image.values, 30, 0))
    ideal = simulate(image, "sparse-ct", views=12, finer=2)
    noisy = simulate(rows, "sparse-ct", views=12, finer=2, noise=noise)
    photons, electronic = 1e3, 25.0 if "," in noise else 0.0
    n = photons * np.exp(-measured(ideal))
    assert n.min() > 120
    z = (measured(noisy) - measured(ideal)) / np.sqrt((n + electronic**2) / n**2)
    assert z.size >= 16_000
    assert abs(z.var() - 1) < 6 * (2 / z.size) ** 0.5 + 0.06


@pytest.mark.slow
def test_a_spectrum_hardens_bone_but_not_water() -> None:
    without_physics()
    water = volume_of(rasterize(BODY[:1], 32, 3.0, samples=4)[0], (3.0, 3.0))
    bone = body(32)
    bone.values[bone.values > 300] = 1500

    def hardening(image: Volume, **options: Any) -> float:
        plain = simulate(image, "sparse-ct", views=8, finer=2)
        m = simulate(image, "sparse-ct", views=8, **{"finer": 2, **SPECTRUM, **options})
        return float(np.abs(m.data - plain.data).max() / plain.data.max())

    assert hardening(water) < 3e-3
    assert hardening(bone) > 2e-2
    assert hardening(bone, spectrum=80.0) > 1.2 * hardening(bone)


@pytest.mark.slow
def test_a_scan_with_metal_on_the_same_grid_is_the_metal_simulation() -> None:
    without_physics()
    image, discs = body(32), ((10.0, 0.0, 6.0),)
    m = simulate(image, "sparse-mar", views=8, implants=discs, noise="poisson:1e4", finer=1, seed=1)
    from medscore.measurements.metal import implants

    chosen = choices(scan_spec("sparse-mar", "none", 0, {"implants": discs}))
    made = simulate_metal(
        torch.from_numpy(image.values)[None], implants(32, 3.0, chosen), radon(m).geometry,
        tube_spectrum(120.0), photons=1e4, generator=torch.Generator().manual_seed(1_000_003),
    )  # fmt: skip
    kept = radon(m).diagonal.bool()
    assert np.array_equal(m.data, (kept * made.sinogram).numpy())
    assert bool((kept == (radon(m).measured[:, None] & ~made.trace[0, 0])).all())


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 64])
def test_metal_on_a_finer_grid_is_left_out_of_the_rays(side: int) -> None:
    """The rays that remain are those of the body without the implants, and most remain."""
    without_physics()
    image, discs = body(side), ((10.0, 0.0, 6.0), (-12.0, 9.0, 2.0))
    how: dict[str, Any] = {"views": 8, "size": 32, "finer": 2}
    m = simulate(image, "sparse-mar", implants=discs, noise="poisson:1e9", **how)
    clean = simulate(image, "sparse-ct", **SPECTRUM, noise="poisson:1e9", **how)
    kept = radon(m).diagonal.bool().numpy()
    assert np.abs(m.data - clean.data)[0, 0][kept].max() < 5e-3
    assert 0.6 < kept.sum() / (8 * m.data.shape[-1]) < 0.95
    assert m.metal is not None
    assert m.metal.shape == (1, 32, 32)


@pytest.mark.slow
@pytest.mark.parametrize("photons", ["1e3", "1e4", "1e5", "1e3,20"])
def test_the_recorded_noise_of_a_scan_with_metal_is_what_its_rays_have(photons: str) -> None:
    """The rays through thick parts too, against the same scan with a billion photons, which shares
    its partial volume; with 1e5 photons this is recorded as several times the photon noise.
    """
    without_physics()
    image, discs = body(64), ((10.0, 0.0, 6.0),)
    how: dict[str, Any] = {"implants": discs, "size": 32}
    m = simulate(image, "mar", noise=f"poisson:{photons}", **how)
    ideal = simulate(image, "mar", noise="poisson:1e9", **how)
    assert m.noise.startswith("estimate:uniform+poisson:1")
    std = noise_std_of("recorded", m, "m")
    assert std is not None
    kept = radon(m).diagonal.bool().numpy() & (m.data[0, 0] != 0)
    white = ((m.data - ideal.data) / std.numpy())[0, 0][kept]
    thick = ideal.data[0, 0][kept] > np.quantile(ideal.data[0, 0][kept], 0.9)
    for part in (white, white[thick]):
        assert 0.2 < np.sqrt(np.square(part).mean()) < 1.15  # a sum exceeds its parts


@pytest.mark.parametrize(
    ("task", "options", "why"),
    [
        ("sparse-ct", {"finer": 0}, "`finer` is 0 - use 1 to 8"),
        ("sparse-ct", {"finer": 9}, "`finer` is 9 - use 1 to 8"),
        ("limited-angle", {"finer": 1.5}, "`finer` is 1.5 - use a whole number"),
        ("mar", {"finer": "two"}, "`finer` is 'two' - use a whole number"),
        ("sparse-ct", {"spectrum": 5}, "`spectrum` is 5 - use 40 to 150"),
        ("mar", {"spectrum": 500}, "`spectrum` is 500 - use 40 to 150"),
        ("sparse-ct", {"spectrum": "hot"}, "`spectrum` is 'hot' - use a tube voltage"),
        ("sparse-ct", {"spectrum": 120, "noise": "gaussian:0.1"}, "simulated with photons"),
        ("mri", {"spectrum": 120}, "`spectrum` is not an option of task mri"),
        ("inpaint", {"finer": 2}, "`finer` is not an option of task inpaint"),
        ("sparse-ct", {"size": 4}, "`size` is 4 - use a whole number from 8"),
        ("sparse-ct", {"size": 8.5}, "`size` is 8.5"),
        ("sparse-ct", {"size": 64}, "`size` is 64, the slices are 32x32 - use at most 32"),
        *(
            ("sparse-ct", {"noise": noise}, f"`noise` is '{noise}' - use none, gaussian:0.01")
            for noise in ("poisson:1e5,x", "poisson:1e5,-1", "poisson:1e5,nan", "poisson:1e5,inf",
                          "poisson:1e5,", "poisson:,5", "poisson:1e5,1,1", "poisson:1e5:5",
                          "gaussian:0.1,5", "poisson:0,5")
        ),
    ],
)  # fmt: skip
def test_refuses_in_one_line(task: str, options: dict[str, Any], why: str) -> None:
    image = replace(body(32), modality="CT")
    if task == "mri":
        image = replace(image, values=image.values + 1000, modality="MR")
    with pytest.raises(MedscoreError) as error:
        simulate(image, task, **options)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_an_object_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSCORE_MEMORY", "1MiB")
    with pytest.raises(MedscoreError, match="`finer` is 8, which makes an object of 256 x 256"):
        simulate(body(32), "sparse-ct", finer=8)
