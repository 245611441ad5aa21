"""``medscore simulate``: an image in, a measurement file out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medscore.datasets.load import load_image
from medscore.measurements.measurement import read_measurement
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


def _data(done: Command, scan: Path, path: Path, *options: object) -> np.ndarray:
    done("simulate", scan, *options, "-o", path)
    return read_measurement(path).data
