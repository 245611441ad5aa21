"""Siemens raw data, written by hand: values, geometry, flags, noise scans, refusals."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scripts import script

from medscore.datasets.raw.kspace_files import read_kspace
from medscore.errors import MedscoreError
from medscore.io import probe

pytest.importorskip("twixtools")

make = script("attacks/twix_files")
BASE, PHASE, COILS = 8, 12, 2
FOV = (160.0, 120.0, 5.0)


@pytest.fixture(autouse=True)
def no_child_processes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The trial read takes a second for each file."""
    if "process" not in request.keywords:
        monkeypatch.setattr("medscore.datasets.raw.twix.look", lambda *paths, **kind: None)


def drawn(*shape: int, seed: int = 0) -> NDArray[np.complex64]:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
    return (real + 1j * imaginary).astype(np.complex64)


KSPACE = drawn(COILS, 2 * BASE, PHASE)
"""(coil, readout, phase)"""


def lines(
    kspace: NDArray[Any] = KSPACE, flags: tuple[str, ...] = (), steps: Sequence[int] = range(PHASE),
    **counters: int,
) -> list[Any]:  # fmt: skip
    centre = (kspace.shape[1] // 2, PHASE // 2, counters.pop("centre_partition", 0))
    return [
        make.TwixLine(kspace[:, :, step], {"Lin": step, **counters}, flags, centre)
        for step in steps
    ]


def protocol(**changes: Any) -> dict[str, str]:
    found: dict[str, str] = make.protocol(**{"base": BASE, "lines": PHASE, "fov": FOV, **changes})
    return found


def write(path: Path, content: list[Any], **changes: Any) -> Path:
    found: Path = make.twix_file(path / "t.dat", [(protocol(**changes), content)])
    return found


def test_values_field_of_view_and_oversampling(tmp_path: Path) -> None:
    found = read_kspace(write(tmp_path, lines()))
    np.testing.assert_array_equal(found.kspace[0], KSPACE)
    assert found.oversampling == 2
    # columns are phase encodings, 120 mm / 12; rows are readout samples, 2 x 160 mm / 16
    assert found.spacing == pytest.approx((10.0, 20.0, 5.0))
    assert found.sampled.all()


@pytest.mark.process
def test_a_file_passes_the_trial_read(tmp_path: Path) -> None:
    path = write(tmp_path, lines())
    assert probe.probe("twix", [path]) is None
    np.testing.assert_array_equal(read_kspace(path).kspace[0], KSPACE)


def test_slices_averages_and_reflected_lines(tmp_path: Path) -> None:
    other = drawn(COILS, 2 * BASE, PHASE, seed=1)
    turned = [
        make.TwixLine(KSPACE[:, ::-1, s], {"Lin": s}, ("REFLECT",), (BASE - 1, PHASE // 2, 0))
        for s in range(1, PHASE, 2)
    ]
    content = [*lines(steps=range(0, PHASE, 2)), *turned]
    content += [*lines(other + 1, Sli=1), *lines(other - 1, Sli=1, Ave=1)]
    found = read_kspace(write(tmp_path, content))
    np.testing.assert_allclose(found.kspace, np.stack([KSPACE, other]), atol=1e-6)


def test_partial_fourier_and_partial_echo_are_masks(tmp_path: Path) -> None:
    """The last 12 of 16 samples of the readout, and lines 3 to 11."""
    content = [
        make.TwixLine(KSPACE[:, 4:, s], {"Lin": s}, (), (BASE - 4, PHASE // 2, 0))
        for s in range(3, PHASE)
    ]
    found = read_kspace(write(tmp_path, content))
    assert not found.sampled[0, :4].any()
    assert not found.sampled[0, :, :3].any()
    assert found.sampled[0, 4:, 3:].all()
    np.testing.assert_array_equal(found.kspace[0, :, 4:, 3:], KSPACE[:, 4:, 3:])


def test_partitions_become_slices(tmp_path: Path) -> None:
    volume = drawn(4, COILS, 2 * BASE, PHASE)
    spectrum = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(volume, axes=0), axis=0, norm="ortho"), axes=0
    )
    content = [x for p in range(4) for x in lines(spectrum[p], Par=p, centre_partition=2)]
    found = read_kspace(write(tmp_path, content, partitions=4, fov=(160.0, 120.0, 20.0)))
    np.testing.assert_allclose(found.kspace, volume, atol=1e-5)
    assert found.spacing == pytest.approx((10.0, 20.0, 5.0))


def test_a_noise_measurement_before_the_scan_whitens_its_coils(tmp_path: Path) -> None:
    mixing = np.array([[2.0, 0], [1 + 1j, 1]])
    noise = np.tensordot(mixing, drawn(COILS, 4000), (1, 0))
    ratio = 0.793 * 2500 / 5000
    image = np.tensordot(mixing, drawn(COILS, 2 * BASE, PHASE, seed=1), (1, 0)) / ratio**0.5
    pre = [make.TwixLine(noise, {}, ("NOISEADJSCAN",))]
    path = make.twix_file(
        tmp_path / "t.dat", [(protocol(dwell=5000), pre), (protocol(dwell=2500), lines(image))]
    )
    found = read_kspace(path)
    samples = found.kspace[0].reshape(COILS, -1)
    covariance = samples @ samples.conj().T / samples.shape[1]
    assert found.noise_std is not None
    expected = 2 * found.noise_std**2 * np.eye(COILS)
    np.testing.assert_allclose(covariance, expected, atol=0.35 * expected[0, 0])
    assert "the coils are prewhitened by 1 noise line(s)" in found.source.notes


def test_other_data_are_left_out_and_images_are_selected(tmp_path: Path) -> None:
    other = drawn(COILS, 2 * BASE, PHASE, seed=1)
    feedback = lines(9 * KSPACE, ("RTFEEDBACK",))
    path = write(tmp_path, [*feedback, *lines(), *lines(other, Eco=1)])
    with pytest.raises(MedscoreError, match="2 contrasts"):
        read_kspace(path)
    np.testing.assert_array_equal(read_kspace(path, select={"contrast": 1}).kspace[0], other)
    assert "12 real-time feedback" in read_kspace(path, first=True).source.notes[0]


def test_reference_lines_fill_what_was_not_measured(tmp_path: Path) -> None:
    even = lines(steps=range(0, PHASE, 2))
    path = write(tmp_path, [*even, *lines(flags=("PATREFSCAN",), steps=range(4, 9))])
    found = read_kspace(path)
    measured = [s for s in range(PHASE) if s % 2 == 0 or 4 <= s < 9]
    np.testing.assert_array_equal(found.kspace[0][..., measured], KSPACE[..., measured])
    assert found.sampled[0].all(axis=0).tolist() == [s in measured for s in range(PHASE)]


REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "EPI": (
        [*lines(flags=("PHASCOR",)), *lines(flags=("REFLECT",), steps=range(6)),
         *lines(steps=range(6, PHASE))],
        {}, "phase correction is not implemented",
    ),
    "radial": (lines(), {"trajectory": 2}, "not Cartesian"),
    "several slices": (lines(flags=("SLICE_ACCEL_REFSCAN",)), {}, "several slices are excited"),
    "no field of view": (lines(), {"fov": (0.0, 1.0, 1.0)}, "the field of view is 0 x 1 x 1 mm"),
    "no image": (lines(flags=("PHASCOR",)), {}, "no image lines"),
    "no line": ([], {}, "no image lines"),
    "not finite": (lines(KSPACE * np.nan), {}, "NaN"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(tmp_path: Path, name: str) -> None:
    content, changes, why = REFUSED[name]
    with pytest.raises(MedscoreError, match=why):
        read_kspace(write(tmp_path, content, **changes))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, lines())
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:5000], whole[:10300], bytes(20000)):
        path.write_bytes(content)
        with pytest.raises(MedscoreError, match=r"t\.dat"):
            read_kspace(path)


@pytest.mark.process
@pytest.mark.slow
def test_files_on_which_twixtools_does_not_end_are_refused(tmp_path: Path) -> None:
    """An index of 10^11 in the protocol, for which it makes a list; a block of no length."""
    path = write(tmp_path, lines(), more="sWipMemBlock.alFree[99999999999] = 1")
    with pytest.raises(MedscoreError, match="damaged: the twix library"):
        read_kspace(path)


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, lines())
    monkeypatch.setitem(sys.modules, "twixtools", None)
    with pytest.raises(MedscoreError, match=r'pip install "medscore\[twix\]"'):
        read_kspace(path)
