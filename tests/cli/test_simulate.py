"""``medscore simulate``: an image in, a measurement file out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medscore.datasets.load import load_image
from medscore.datasets.nifti import read_nifti
from medscore.measurements.measurement import read_measurement
from medscore.measurements.simulation import simulate as medscore_simulate
from medscore.operators.ct.radon import Radon

Command = Callable[..., object]


def _radon(path: Path) -> Radon:
    operator = read_measurement(path).operator
    assert isinstance(operator, Radon)
    return operator


def test_the_measurement_has_the_views_asked_for(measurement: Path) -> None:
    assert _radon(measurement).measured.sum() == 45


def test_the_geometry_is_the_images(measurement: Path, scan: Path) -> None:
    np.testing.assert_allclose(read_measurement(measurement).affine, load_image(scan).affine)


def test_only_the_measurement_is_written(done: Command, scan: Path, tmp_path: Path) -> None:
    done("simulate", scan, "-o", tmp_path / "m.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]


def test_a_range_of_slices_moves_the_geometry(
    done: Command, scan: Path, measurement: Path, tmp_path: Path
) -> None:
    done("simulate", scan, "--views", 45, "--slices", "1:2", "-o", tmp_path / "m.h5")
    part, whole = read_measurement(tmp_path / "m.h5"), read_measurement(measurement)
    np.testing.assert_array_equal(part.data, whole.data[1:])
    np.testing.assert_allclose(part.affine[:3, 3], (whole.affine @ (0, 0, 1, 1))[:3])


def test_size_reduces_the_image(done: Command, dicom_scan: Path, tmp_path: Path) -> None:
    done("simulate", dicom_scan, "--size", 32, "-o", tmp_path / "m.h5")
    geometry = _radon(tmp_path / "m.h5").geometry
    assert geometry.size == 32
    assert geometry.spacing == pytest.approx(4 * 0.661468)


@pytest.mark.parametrize("noise", ["none", "gaussian:0.05", "poisson:1e4"])
def test_the_same_seed_gives_the_same_bytes(
    done: Command, scan: Path, tmp_path: Path, noise: str
) -> None:
    for name in ("a.h5", "b.h5"):
        done("simulate", scan, "--noise", noise, "--seed", 3, "-o", tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("noise", ["gaussian:0.05", "poisson:1e4"])
def test_noise_is_drawn_anew_for_every_seed_and_slice(
    done: Command, scan: Path, tmp_path: Path, noise: str
) -> None:
    ideal = _data(done, scan, tmp_path / "ideal.h5")
    one = _data(done, scan, tmp_path / "1.h5", "--noise", noise, "--seed", 1) - ideal
    two = _data(done, scan, tmp_path / "2.h5", "--noise", noise, "--seed", 2) - ideal
    assert not np.array_equal(one, two)
    assert not np.array_equal(one[0], one[1])


CRIME = "note: noise-free data on the grid of the reconstruction"


@pytest.mark.parametrize(
    ("options", "noise", "noted"),
    [
        ((), "none", True),
        (("--finer", 1), "none", True),
        (("--finer", 2), "unknown", False),
        (("--noise", "poisson:1e5"), "estimate:uniform+poisson:100000", False),
        (("--noise", "poisson:1e5,8"), "estimate:uniform+poisson:100000,8", False),
        (("--task", "limited-angle", "--finer", 3), "unknown", False),
        (("--task", "inpaint"), "none", False),
    ],
)
def test_an_inverse_crime_is_noted(
    done: Command, scan: Path, tmp_path: Path, options: tuple[object, ...], noise: str, noted: bool
) -> None:
    said: Any = done("simulate", scan, *options, "-o", tmp_path / "m.h5")
    assert (CRIME in said.err) == noted
    assert said.err.count("--noise poisson:1e5") == noted
    assert read_measurement(tmp_path / "m.h5").noise == noise


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--noise", "poisson:1e5,8"), ("--finer", 3)])
def test_a_smaller_grid_is_measured_from_the_images_own_matrix_and_compared_with_its_means(
    done: Command, dicom_scan: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    done("simulate", dicom_scan, "--size", 32, "--views", 45, *options, "-o", tmp_path / "m.h5")
    image = load_image(dicom_scan)
    own: dict[str, Any] = {str(options[0]).strip("-"): options[1]}
    expected = medscore_simulate(image, "sparse-ct", views=45, size=32, **own)
    np.testing.assert_array_equal(read_measurement(tmp_path / "m.h5").data, expected.data)
    out = tmp_path / "out"
    done("recon", tmp_path / "m.h5", "--baseline", "fista-tv", "--set", "iterations=50",
         "--reference", dicom_scan, "--device", "cpu", "-o", out)  # fmt: skip
    rows = json.loads((out / "metrics.json").read_text())["rows"]
    assert {row["method"]: row for row in rows}["fista-tv"]["psnr"] > 30
    reference = load_image(dicom_scan, size=32)
    np.testing.assert_allclose(read_nifti(out / "recon.nii.gz").affine, reference.affine)


@pytest.mark.slow
def test_a_spectrum_hardens_bone(done: Command, scan: Path, tmp_path: Path) -> None:
    for package in ("spekpy", "xraydb"):
        pytest.importorskip(package)
    plain = _data(done, scan, tmp_path / "1.h5", "--finer", 2)
    hard = _data(done, scan, tmp_path / "2.h5", "--finer", 2, "--spectrum", 120)
    gap = np.abs(hard - plain)
    assert 0.001 < gap.max() / plain.max() < 0.1


def _data(done: Command, scan: Path, path: Path, *options: object) -> np.ndarray:
    done("simulate", scan, *options, "-o", path)
    return read_measurement(path).data
