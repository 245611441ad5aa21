"""k-space in arrays and BART files: stated axes, references, partitions, values by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from array_writers import hdf5_file, matlab_73
from numpy.typing import NDArray

from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.raw.kspace_layout import checked_layout
from medscore.errors import MedscoreError
from medscore.measurements.read import measure

COILS, READOUT, PHASE = 3, 16, 12


@pytest.fixture(autouse=True)
def no_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial read takes a second for each file; test_mat_files.py has tests of it."""
    monkeypatch.setattr("medscore.io.mat_files.look", lambda *paths, **kind: None)
    monkeypatch.setattr("medscore.io.hdf5.look", lambda *paths, **kind: None)


def drawn(*shape: int, seed: int = 0) -> NDArray[np.complex64]:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
    return (real + 1j * imaginary).astype(np.complex64)


KSPACE = drawn(2, COILS, READOUT, PHASE)
"""(slice, coil, readout, phase)"""


def read(path: Path, **layout: Any) -> RawKspace:
    return read_kspace(path, layout=checked_layout(layout, path))


def npy(folder: Path, values: NDArray[Any]) -> Path:
    np.save(folder / "k.npy", values)
    return folder / "k.npy"


def npz(folder: Path, values: NDArray[Any]) -> Path:
    np.savez(folder / "k.npz", kspace=values, mask=np.ones((4, 4)))
    return folder / "k.npz"


def mat5(folder: Path, values: NDArray[Any]) -> Path:
    scipy.io.savemat(folder / "k.mat", {"kspace": values, "TE": 3.0})
    return folder / "k.mat"


def mat73(folder: Path, values: NDArray[Any]) -> Path:
    return matlab_73(folder / "k.mat", {"kspace": values})


def hdf5(folder: Path, values: NDArray[Any]) -> Path:
    return hdf5_file(folder / "k.h5", {"measured": values})


FORMATS = {f.__name__: f for f in (npy, npz, mat5, mat73, hdf5)}
Write = Callable[[Path, NDArray[Any]], Path]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("axes", [None, ("phase", "readout", "slice", "coil")])
def test_values_and_stated_axes(tmp_path: Path, name: str, axes: tuple[str, ...] | None) -> None:
    usual = ("slice", "coil", "readout", "phase")
    stored = KSPACE if axes is None else KSPACE.transpose([usual.index(a) for a in axes])
    found = read(FORMATS[name](tmp_path, stored), axes=axes, spacing=2.0, slice_spacing=5.0)
    np.testing.assert_array_equal(found.kspace, KSPACE)
    assert found.sampled.all()
    assert found.spacing == (2.0, 2.0, 5.0)


def test_kspace_in_matlab_4_is_read(tmp_path: Path) -> None:
    stored = KSPACE[0, 0].astype(np.complex128)
    scipy.io.savemat(tmp_path / "k.mat", {"kspace": stored, "mask": np.ones((4, 4))}, format="4")
    np.testing.assert_array_equal(read(tmp_path / "k.mat").kspace[0, 0], KSPACE[0, 0])


def test_averages_are_averaged_and_partitions_become_slices(tmp_path: Path) -> None:
    """A point in slice 3 of 5 has the phase of its place in every partition."""
    image = drawn(COILS, READOUT, PHASE)
    phases = np.exp(-2j * np.pi * (np.arange(5) - 2) * (3 - 2) / 5) / np.sqrt(5)
    partitions = phases[:, None, None, None] * image
    stored = np.stack([partitions + 1, partitions - 1, np.zeros_like(partitions)])
    axes = ("average", "partition", "coil", "readout", "phase")
    found = read(npy(tmp_path, stored.astype(np.complex64)), axes=axes)
    np.testing.assert_allclose(found.kspace[3], image, atol=1e-5)
    np.testing.assert_allclose(found.kspace[[0, 1, 2, 4]], 0, atol=1e-5)
    assert "5 partitions became slices" in found.source.notes


def test_an_undersampled_second_phase_encoding_is_refused(tmp_path: Path) -> None:
    stored = drawn(6, COILS, READOUT, PHASE)
    stored[1::2] = 0
    stored[0, :, :, 3] = 0
    path = npy(tmp_path, stored)
    with pytest.raises(MedscoreError, match="6 partitions are not sampled alike, and 3 are empty"):
        read(path, axes=("partition", "coil", "readout", "phase"))


@pytest.mark.parametrize("start", [2, 5])
def test_reference_lines_fill_what_was_not_measured(tmp_path: Path, start: int) -> None:
    full = drawn(COILS, READOUT, PHASE)
    few = full.copy()
    few[..., 1::2] = 0
    np.savez(tmp_path / "g.npz", kspace=few, calib=full[..., start : start + 5])
    found = read(tmp_path / "g.npz", array="kspace", reference="calib")
    expected = few.copy()
    expected[..., start : start + 5] = full[..., start : start + 5]
    np.testing.assert_array_equal(found.kspace[0], expected)
    assert f"phase encodings {start} to {start + 4}" in found.source.notes[0]
    assert found.sampled[0].all(axis=0).tolist() == [
        k % 2 == 0 or start <= k < start + 5 for k in range(PHASE)
    ]


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        ({"array": "kspace", "reference": "other"}, "differ by 1[0-9][0-9] %"),
        ({"array": "kspace", "reference": "small"}, "do not fit k-space"),
        ({"array": "kspace", "reference": "real"}, "holds float64, expected complex"),
        ({"array": "kspace", "reference": "none"}, "has no array 'none'"),
        ({}, "holds 3 arrays that may be the data"),
        ({"array": "real"}, "holds float64, expected complex"),
        ({"array": "kspace", "axes": ["coil", "kx", "ky"]}, "say which one is the readout"),
        ({"array": "kspace", "axes": ["coil", "readout"]}, "axes must name readout and phase"),
        ({"array": "kspace", "axes": ["coil", "echo", "readout"]}, "axes names echo: use some"),
        ({"array": "kspace", "axes": ["readout", "phase"]}, "and axes names 2"),
        (
            {"array": "kspace", "axis": ["readout"]},
            "axis: there is no such key, did you mean 'axes'?",
        ),
        ({"array": "kspace", "spacing": [0.0, 1.0]}, "spacing must be two numbers"),
        ({"array": "kspace", "spacing": "wide"}, "spacing"),
    ],
)
def test_refuses(tmp_path: Path, layout: dict[str, Any], why: str) -> None:
    full = drawn(COILS, READOUT, PHASE)
    np.savez(
        tmp_path / "g.npz", kspace=full, other=drawn(COILS, READOUT, 4, seed=1),
        small=drawn(COILS, 4, 4), real=np.ones((4, 4)),
    )  # fmt: skip
    with pytest.raises(MedscoreError, match=why):
        read(tmp_path / "g.npz", **layout)


@pytest.mark.parametrize("name", FORMATS)
def test_values_that_are_not_finite_are_refused(tmp_path: Path, name: str) -> None:
    stored = KSPACE.copy()
    stored[0, 1, 2, 3] = np.nan
    with pytest.raises(MedscoreError, match="NaN or infinity"):
        read(FORMATS[name](tmp_path, stored))


def test_measure_gives_the_advice_that_makes_the_image_square(tmp_path: Path) -> None:
    """Incomplete readouts cannot be cropped, so the spacing decides about the field of view."""
    stored = drawn(READOUT, PHASE)
    stored[np.random.default_rng(1).random((READOUT, PHASE)) < 0.4] = 0
    path = npy(tmp_path, stored)
    with pytest.raises(MedscoreError, match=r"set `spacing` 1.5,1.125 if the image is square"):
        measure(path, spacing=1.5, size=8)
    made, _ = measure(path, spacing=(1.5, 1.125), size=8)
    assert made.operator.image_shape == (8, 8)
    assert np.linalg.norm(made.affine[:3, :2], axis=0) == pytest.approx([2.25, 2.25], rel=0.02)
    wide, _ = measure(path, spacing=1.5)
    assert "if it is square, set `spacing` 1.5,1.125" in wide.source.notes[0]


def cfl(folder: Path, values: NDArray[Any], dims: str | None = None, name: str = "k") -> Path:
    """As the documentation of BART says: sizes in text, values by columns."""
    shown = " ".join(map(str, values.shape)) if dims is None else dims
    (folder / f"{name}.hdr").write_text(f"# Dimensions\n{shown}\n# Command\nphantom -k k\n")
    (folder / f"{name}.cfl").write_bytes(values.astype("<c8").tobytes(order="F"))
    return folder / f"{name}.cfl"


def dimensions(**sizes: int) -> list[int]:
    names = ["read", "phs1", "phs2", "coil", "maps", "te", "c1", "c2", "it", "cs", "time", "time2",
             "level", "slice", "avg", "batch"]  # fmt: skip
    return [sizes.get(name, 1) for name in names]


@pytest.mark.parametrize("suffix", [".cfl", ".hdr"])
def test_slices_coils_and_averages_of_a_bart_file(tmp_path: Path, suffix: str) -> None:
    shape = dimensions(read=READOUT, phs1=PHASE, coil=COILS, slice=2, avg=2)
    stored = np.zeros(shape, np.complex64)
    for s in range(2):
        for c in range(COILS):
            for average in (0, 1):
                at = (slice(None), slice(None), 0, c, *(0,) * 9, s, average, 0)
                stored[at] = KSPACE[s, c] + (2 * average - 1)
    found = read(cfl(tmp_path, stored).with_suffix(suffix), spacing=(2.0, 1.5), slice_spacing=4.0)
    np.testing.assert_allclose(found.kspace, KSPACE, atol=1e-6)
    assert found.spacing == (2.0, 1.5, 4.0)


def test_the_first_number_of_a_bart_file_is_the_fastest_along_the_readout(tmp_path: Path) -> None:
    numbers = (np.arange(8 * 9) + 1).astype("<c8")
    (tmp_path / "k.hdr").write_text("# Dimensions\n8 9\n")
    (tmp_path / "k.cfl").write_bytes(numbers.tobytes())
    found = read(tmp_path / "k.cfl").kspace[0, 0]
    assert (found[0, 0], found[1, 0], found[0, 1]) == (1, 2, 9)


def test_partitions_of_a_bart_file_become_slices(tmp_path: Path) -> None:
    volume = drawn(4, COILS, READOUT, PHASE)
    spectrum = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(volume, axes=0), axis=0, norm="ortho"), axes=0
    )
    stored = spectrum.transpose(2, 3, 0, 1)
    np.testing.assert_allclose(read(cfl(tmp_path, stored)).kspace, volume, atol=1e-5)


@pytest.mark.parametrize(("name", "key"), [("te", "contrast"), ("time", "repetition")])
def test_one_of_several_images_of_a_bart_file(tmp_path: Path, name: str, key: str) -> None:
    shape = dimensions(read=READOUT, phs1=PHASE, **{name: 3})
    stored = drawn(*shape)
    path = cfl(tmp_path, stored)
    with pytest.raises(MedscoreError, match=f"3 {key}s, .* such as {key}=0"):
        read(path)
    found = read_kspace(path, select={key: 2})
    expected = stored.reshape(READOUT, PHASE, 3)[..., 2]
    np.testing.assert_array_equal(found.kspace[0, 0], expected)
    with pytest.raises(MedscoreError, match=f"asks for {key}=3, and there are 3"):
        read_kspace(path, select={key: 3})


def test_coil_maps_of_a_second_file_are_those_of_the_measurement(tmp_path: Path) -> None:
    """Readout and phase encoding cover the same length, so the maps are taken as they are."""
    maps = drawn(READOUT, READOUT, 1, COILS, seed=2)
    path = cfl(tmp_path, drawn(READOUT, READOUT, 1, COILS))
    layout = {"sensitivities": str(cfl(tmp_path, maps, name="maps")), "spacing": 2.0}
    made, _ = measure(path, geometry=layout)
    found = made.operator.sensitivity.numpy()[0]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found, maps[:, :, 0].transpose(2, 0, 1))
    with pytest.raises(MedscoreError, match="the image has another"):
        measure(path, geometry=layout, size=8)


def test_rows_of_coil_maps_beyond_the_field_of_view_go(tmp_path: Path) -> None:
    maps = drawn(2 * READOUT, READOUT, 1, COILS, seed=2)
    path = cfl(tmp_path, drawn(2 * READOUT, READOUT, 1, COILS))
    layout = {"sensitivities": str(cfl(tmp_path, maps, name="maps")), "spacing": 2.0}
    made, _ = measure(path, geometry=layout)
    found = made.operator.sensitivity.numpy()[0]  # type: ignore[attr-defined]
    half = READOUT // 2
    np.testing.assert_array_equal(found, maps[half:-half, :, 0].transpose(2, 0, 1))


BAD: dict[str, tuple[str, str]] = {
    "too many": ("16 13", "its header declares 16 x 13"),
    "too few": ("16 11", "its header declares 16 x 11"),
    "huge": ("99999999999 99999999999", "its header declares"),
    "negative": ("-16 12", "the dimensions are '-16 12'"),
    "zero": ("16 0", "the dimensions are '16 0'"),
    "no number": ("16 x", "the dimensions are '16 x'"),
    "long": ("1 " * 17, "the dimensions are"),
    "none": ("", "the dimensions are ''"),
}


@pytest.mark.parametrize("name", BAD)
def test_headers_that_contradict_the_file_are_refused(tmp_path: Path, name: str) -> None:
    dims, why = BAD[name]
    with pytest.raises(MedscoreError, match=why):
        read(cfl(tmp_path, drawn(READOUT, PHASE), dims))


def test_bart_refusals(tmp_path: Path) -> None:
    path = cfl(tmp_path, drawn(READOUT, PHASE, 1, 1, 2))
    with pytest.raises(MedscoreError, match=r"2 entries along MAPS .* bart slice 4 0"):
        read(path)
    with pytest.raises(MedscoreError, match="axes, array and reference do not apply"):
        read(path, array="k")
    path.with_suffix(".hdr").write_text("16 12\n")
    with pytest.raises(MedscoreError, match="no line '# Dimensions'"):
        read(path)
    path.with_suffix(".hdr").unlink()
    with pytest.raises(MedscoreError, match="no such BART header"):
        read(path)
    bad = drawn(READOUT, PHASE)
    bad[3, 3] = np.inf
    with pytest.raises(MedscoreError, match="NaN or infinity"):
        read(cfl(tmp_path, bad))
