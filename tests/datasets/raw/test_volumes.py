"""ISMRMRD scans with noise scans, partitions and several slices: prewhitening, 3-D, averages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.raw.prewhitening import NoiseScan, whitening
from medscore.errors import MedscoreError
from medscore.measurements.kspace_grid import to_grid

ismrmrd = pytest.importorskip("ismrmrd")

READOUT, PHASE, COILS = 16, 8, 3
MIXING = np.array([[3.0, 0, 0], [1 + 1j, 2, 0], [-1j, 0.5, 1]])
"""Noise of the coils is this matrix times independent noise."""


@pytest.fixture(autouse=True)
def no_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial read takes a second for each file; test_hdf5.py has tests of it."""
    monkeypatch.setattr("medscore.io.hdf5.look", lambda *paths, **kind: None)


def header(partitions: int = 1, kept: int = 0, bandwidth: float | None = None) -> str:
    system = ""
    if bandwidth is not None:
        system = (
            "<acquisitionSystemInformation><relativeReceiverNoiseBandwidth>"
            f"{bandwidth}</relativeReceiverNoiseBandwidth></acquisitionSystemInformation>"
        )
    kept = kept or partitions
    return f"""<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">{system}
 <experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz>
 </experimentalConditions>
 <encoding><encodedSpace><matrixSize><x>{READOUT}</x><y>{PHASE}</y><z>{partitions}</z></matrixSize>
  <fieldOfView_mm><x>32</x><y>16</y><z>{2.0 * partitions}</z></fieldOfView_mm></encodedSpace>
 <reconSpace><matrixSize><x>8</x><y>8</y><z>{kept}</z></matrixSize>
  <fieldOfView_mm><x>16</x><y>16</y><z>{2.0 * kept}</z></fieldOfView_mm></reconSpace>
 <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum>
  <center>4</center></kspace_encoding_step_1>
  <kspace_encoding_step_2><minimum>0</minimum><maximum>{partitions - 1}</maximum>
  <center>{partitions // 2}</center></kspace_encoding_step_2></encodingLimits>
 <trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def drawn(*shape: int, seed: int = 0) -> NDArray[np.complex128]:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
    return real + 1j * imaginary


def scan(
    path: Path,
    volume: NDArray[Any],
    noise: NDArray[Any] | None = None,
    *,
    averages: int = 1,
    dwell: tuple[float, float] = (5.0, 5.0),
    partitions: bool = False,
    skip: tuple[int, int] | None = None,
    **head: Any,
) -> RawKspace:
    """Write lines of k-space (slice or partition, coil, readout, phase), and read them."""
    with ismrmrd.Dataset(str(path)) as file:
        file.write_xml_header(header(len(volume) if partitions else 1, **head).encode())
        if noise is not None:
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(noise, np.complex64))
            line.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            line.sample_time_us = dwell[1]
            file.append_acquisition(line)
        for average in range(averages):
            for deep, plane in enumerate(volume):
                for step in range(PHASE):
                    if (deep, step) == skip:
                        continue
                    data = np.ascontiguousarray(plane[:, :, step], np.complex64)
                    line = ismrmrd.Acquisition.from_array(data)
                    line.center_sample, line.sample_time_us = READOUT // 2, dwell[0]
                    line.idx.kspace_encode_step_1, line.idx.average = step, average
                    if partitions:
                        line.idx.kspace_encode_step_2 = deep
                    else:
                        line.idx.slice = deep
                    file.append_acquisition(line)
    return read_kspace(path)


def test_partitions_become_slices_at_their_place(tmp_path: Path) -> None:
    volume = drawn(6, COILS, READOUT, PHASE)
    spectrum = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(volume, axes=0), axis=0, norm="ortho"), axes=0
    )
    found = scan(tmp_path / "v.h5", spectrum, partitions=True)
    np.testing.assert_allclose(found.kspace, volume, atol=1e-5)
    assert found.spacing == pytest.approx((2.0, 2.0, 2.0))
    assert "6 partitions became slices" in found.source.notes


def test_slices_of_oversampling_are_left_out(tmp_path: Path) -> None:
    volume = drawn(6, COILS, READOUT, PHASE)
    spectrum = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(volume, axes=0), axis=0, norm="ortho"), axes=0
    )
    found = scan(tmp_path / "v.h5", spectrum, partitions=True, kept=4)
    np.testing.assert_allclose(found.kspace, volume[1:5], atol=1e-5)
    assert "2 slices of oversampling are left out" in found.source.notes
    assert found.spacing == pytest.approx((2.0, 2.0, 2.0))


def test_partitions_that_are_not_sampled_alike_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match="4 partitions are not sampled alike: an undersampled"):
        scan(tmp_path / "v.h5", drawn(4, COILS, READOUT, PHASE), partitions=True, skip=(1, 3))


def test_several_slices_are_slices(tmp_path: Path) -> None:
    volume = drawn(3, COILS, READOUT, PHASE)
    found = scan(tmp_path / "v.h5", volume)
    np.testing.assert_allclose(found.kspace, volume, atol=1e-6)
    assert found.noise_std is None


@pytest.mark.parametrize("averages", [1, 2])
@pytest.mark.parametrize(("bandwidth", "dwell"), [(None, (5.0, 5.0)), (0.5, (2.0, 5.0))])
def test_prewhitened_noise_is_white_and_of_the_recorded_deviation(
    tmp_path: Path, averages: int, bandwidth: float | None, dwell: tuple[float, float]
) -> None:
    """The lines hold noise alone, whose variance is that of the noise scan over r."""
    noise = MIXING @ drawn(COILS, 8000)
    ratio = (0.793 if bandwidth is None else bandwidth) * dwell[0] / dwell[1]
    lines = np.tensordot(MIXING, drawn(COILS, 4, READOUT, PHASE, seed=1), (1, 0)) / ratio**0.5
    found = scan(
        tmp_path / "n.h5", lines.transpose(1, 0, 2, 3), noise, averages=averages, dwell=dwell,
        bandwidth=bandwidth,
    )  # fmt: skip
    samples = found.kspace.transpose(1, 0, 2, 3).reshape(COILS, -1)
    covariance = samples @ samples.conj().T / samples.shape[1]
    expected = 2 * np.eye(COILS) * found.noise_std**2 * averages  # the averages are equal here
    np.testing.assert_allclose(covariance, expected, atol=0.25 * expected[0, 0])
    power = np.trace(MIXING @ MIXING.conj().T).real / COILS  # the mean over the coils is kept
    assert found.noise_std == pytest.approx((power / ratio / averages) ** 0.5, rel=0.02)
    assert "the coils are prewhitened by 1 noise line(s)" in found.source.notes


def test_the_noise_of_the_noise_scan_is_recorded_in_the_measurement(tmp_path: Path) -> None:
    noise = MIXING @ drawn(COILS, 4000)
    signal = 1e3 * np.ones((1, COILS, READOUT, PHASE))
    found = scan(tmp_path / "n.h5", signal, noise, bandwidth=1.0)
    grid = to_grid(found, None, tmp_path)
    assert grid.noise_std == found.noise_std


def test_a_noise_scan_that_contradicts_kspace_is_not_believed(tmp_path: Path) -> None:
    noise = 100 * MIXING @ drawn(COILS, 4000)
    found = scan(tmp_path / "n.h5", drawn(4, COILS, READOUT, PHASE), noise, bandwidth=1.0)
    grid = to_grid(found, None, tmp_path)
    assert found.noise_std is not None
    assert grid.noise_std is not None
    assert grid.noise_std < 0.1 * found.noise_std
    assert "the noise scan states a noise of" in grid.notes[0]


@pytest.mark.parametrize(
    ("noise", "why"),
    [
        (np.ones((COILS, 64)), "coils that are not independent"),
        (drawn(COILS, 8), "only 8 samples"),
        (drawn(COILS - 1, 64), "of other coils"),
        (np.nan * drawn(COILS, 64), "values that are not valid"),
    ],
)
def test_noise_scans_that_cannot_whiten_are_left_out(
    tmp_path: Path, noise: NDArray[Any], why: str
) -> None:
    assert whitening(NoiseScan([noise], 1.0), COILS) == (None, why)
    volume = drawn(1, COILS, READOUT, PHASE)
    found = scan(tmp_path / "n.h5", volume, noise)
    np.testing.assert_allclose(found.kspace, volume, atol=1e-6)
    assert f"1 noise line(s) are left out: {why}" in found.source.notes
