"""Cone-beam scans of volumes: what they cover, honest data, storage, and refused input."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError, MedscoreWarning
from medscore.hounsfield import MU_WATER
from medscore.measurements.custom import make_measurement
from medscore.measurements.measurement import (
    Measurement,
    check_measurement,
    read_measurement,
    write_measurement,
)
from medscore.measurements.simulation import simulate
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.ellipsoids import Ellipsoid, line_integrals
from medscore.operators.ct.phantoms import Ellipse

SPACING = (2.0, 2.0, 3.0)
"""Distance of columns, rows and slices in mm."""


def ball(side: int = 24, slices: int = 12, radius: float = 14.0) -> Volume:
    """A ball of water in air; its border voxels have their share of water, by 4^3 points each."""

    def points(n: int, step: float) -> np.ndarray[Any, Any]:
        return (np.arange(4 * n) - (4 * n - 1) / 2) * step / 4

    z, y, x = np.meshgrid(
        points(slices, SPACING[2]), points(side, SPACING[1]), points(side, SPACING[0]),
        indexing="ij",
    )  # fmt: skip
    inside = (x**2 + y**2 + z**2 < radius**2).astype(np.float32)
    share = inside.reshape(slices, 4, side, 4, side, 4).mean((1, 3, 5))
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    values = (1000 * share - 1000).astype(np.float32)
    return Volume(values, affine, "CT", Source("array", "ab" * 32))


def cone(m: Measurement) -> ConeBeam:
    assert isinstance(m.operator, ConeBeam)
    return m.operator


@pytest.mark.parametrize("finer", [1, 2])
def test_the_data_are_the_line_integrals_of_the_object(finer: int) -> None:
    """Of a ball, which are known; off its border the voxels differ from them by half a percent."""
    radius = 20.0
    m = simulate(ball(24, 16, radius), "cone-ct", views=5, finer=finer)
    solid = Ellipsoid(Ellipse(MU_WATER, 0.0, 0.0, radius, radius, 0.0), 0.0, radius)
    g = cone(m).geometry
    rows = torch.arange(g.rows, dtype=torch.float64)[None, :, None, None] - (g.rows - 1) / 2
    pixel, source = g.column_middles()[:, None] + rows * g.v[:, None, None], g.source[:, None, None]
    exact = line_integrals([solid], source.expand_as(pixel), pixel - source)
    deep = exact > 0.7 * exact.max()
    error = (torch.from_numpy(m.data)[0, 0] - exact)[deep] / exact.max()
    assert int(deep.sum()) > 50
    assert float(error.abs().mean()) < 0.01
    assert abs(float(error.mean())) < 0.005


def test_noisy_data_are_those_of_a_finer_object() -> None:
    """Without noise they differ from the operator's own line integrals, and little."""
    image = ball()
    own, honest = simulate(image, "cone-ct", views=5), simulate(image, "cone-ct", views=5, finer=2)
    difference = np.abs(own.data - honest.data).mean() / own.data.mean()
    assert 1e-3 < difference < 0.05
    assert (own.noise, honest.noise) == ("none", "unknown")
    noisy = simulate(image, "cone-ct", views=5, noise="poisson:1e5")
    assert noisy.noise == "estimate:uniform+poisson:100000"
    found = (noisy.data - honest.data).std()
    assert found == pytest.approx(float(np.exp(honest.data).mean() / 1e5) ** 0.5, rel=0.2)


def test_the_noise_follows_from_the_seed() -> None:
    scans = [simulate(ball(), "cone-ct", views=3, noise="poisson:1e4", seed=s) for s in (0, 0, 1)]
    assert np.array_equal(scans[0].data, scans[1].data)
    assert not np.array_equal(scans[0].data, scans[2].data)


@pytest.mark.parametrize("source", [60.0, 1000.0])
def test_the_detector_covers_the_volume_and_hardly_more(
    recwarn: pytest.WarningsRecorder, source: float
) -> None:
    m = simulate(ball(), "cone-ct", views=5, source_distance=source)
    assert not [w for w in recwarn if issubclass(w.category, MedscoreWarning)]
    geometry, all_views = cone(m).geometry, list(range(5))
    row, column, _ = geometry.select(all_views).locate(geometry.grid.corners)
    assert float(row.min()) < 1
    assert float(row.max()) > geometry.rows - 2
    assert float(column.min()) < 2
    assert float(column.max()) > geometry.columns - 3


def test_a_smaller_image_is_measured_from_the_own_matrix() -> None:
    image = ball(48)
    m = simulate(image, "cone-ct", views=3, size=24, noise="poisson:1e9")
    assert m.size == (24, 24)
    assert m.slices == 12
    coarse = simulate(image, "cone-ct", views=3, size=24)
    assert 1e-3 < np.abs(m.data - coarse.data).mean() / coarse.data.mean() < 0.05


def test_a_file_holds_the_scan(tmp_path: Path) -> None:
    m = simulate(ball(), "cone-ct", views=4, noise="poisson:1e4")
    assert m.whole
    assert (m.data.shape[:3], m.slices, m.size) == ((1, 1, 4), 12, (24, 24))
    write_measurement(tmp_path / "m.h5", m)
    again = read_measurement(tmp_path / "m.h5")
    assert np.array_equal(again.data, m.data)
    assert repr(again.operator) == repr(m.operator)
    assert np.array_equal(again.affine, m.affine)


FAULTS: dict[str, tuple[Any, str]] = {
    "two volumes": (lambda m: replace(m, data=m.data.repeat(2, 0)), "2 volumes, expected one"),
    "other voxels": (
        lambda m: replace(m, affine=np.diag([-2.0, -2.0, 4.0, 1.0])),
        "does not have voxels of 2 x 2 x 3 mm",
    ),
    "slices": (lambda m: replace(m, data=m.data[:, 0]), "does not measure|have shape"),
    "unit": (lambda m: replace(m, image_unit="HU"), "image_unit is 'HU'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_scan_that_does_not_fit_is_refused(name: str) -> None:
    change, message = FAULTS[name]
    m = change(simulate(ball(), "cone-ct", views=3))
    with pytest.raises(MedscoreError, match=message):
        check_measurement(m, MedscoreError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "`views` is 0"),
        ({"source_distance": 30.0}, "`source_distance` is 30 mm, and the volume reaches 33.94 mm"),
        ({"source_distance": math.nan}, "`source_distance` is nan"),
        ({"finer": 8}, "object of 192 x 192 x 96 voxels"),
    ],
)
def test_impossible_scans_are_refused(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("medscore.measurements.cone_scan.memory_budget", lambda: 10_000_000)
    with pytest.raises(MedscoreError, match=message):
        simulate(ball(), "cone-ct", **options)


@pytest.mark.parametrize("axes", [3, 4, 5])
def test_own_projections_of_any_poses_become_a_measurement(axes: int) -> None:
    m = simulate(ball(), "cone-ct", views=4)
    g = cone(m).geometry
    up = torch.linspace(-1, 1, 4).double()[:, None] * torch.tensor([0.0, 0.0, 1.0]).double()
    helix = ConeBeam(replace(g, source=g.source + up), cone(m).diagonal)
    made = make_measurement(m.data[(0,) * (5 - axes)], helix, image_unit="1/mm", noise="none")
    assert made.data.shape == m.data.shape
    assert (made.slices, made.size) == (12, (24, 24))
    np.testing.assert_allclose(np.linalg.norm(made.affine[:3, :3], axis=0), SPACING)


def test_counts_are_no_line_integrals() -> None:
    m = simulate(ball(), "cone-ct", views=4)
    with pytest.raises(MedscoreError, match="line integrals"):
        make_measurement(1e5 * np.exp(-m.data), cone(m), image_unit="1/mm", noise="none")
