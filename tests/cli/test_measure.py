"""``medscore measure``: synthetic raw k-space files to measurements and reconstructions."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medscore.datasets.nifti import read_nifti
from medscore.datasets.raw.fastmri import read_fastmri
from medscore.datasets.raw.ismrmrd import read_ismrmrd
from medscore.errors import MedscoreError
from medscore.measurements.kspace_grid import to_grid
from medscore.measurements.measurement import read_measurement
from medscore.operators.mri.fourier import fft2c, ifft2c
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage
from medscore.reconstruction.baselines.classical import classical

Command = Callable[..., Any]
READOUT, PHASE, COILS = 64, 32, 4
HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>64</x><y>32</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>192</x><y>96</y><z>5</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>32</x><y>32</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>96</x><y>96</y><z>5</z></fieldOfView_mm></reconSpace>
  <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>31</maximum>
   <center>16</center></kspace_encoding_step_1></encodingLimits>
  <trajectory>cartesian</trajectory>
 </encoding>
</ismrmrdHeader>"""


@dataclass(frozen=True)
class Scan:
    """Two slices: magnitudes (2, 32, 32), and k-space (2, coil, 64, 32) with the readout twice as
    long as the object.
    """

    image: NDArray[np.float32]
    kspace: NDArray[np.complex64]


def scanned(coils: int, noise: float = 0.0) -> Scan:
    """A disc with details and a smooth phase."""
    y, x = np.mgrid[-15.5:16, -15.5:16]
    head = 100.0 * (np.hypot(x, y) < 12) + 80 * np.exp(-0.1 * ((x - 3) ** 2 + (y + 4) ** 2))
    image = np.stack([head, head * (np.hypot(x + 4, y) > 3)]).astype(np.float32)
    wide = np.zeros((2, READOUT, PHASE), np.complex64)
    wide[:, 16:48] = image * np.exp(0.05j * (x + 2 * y))
    maps = torch.ones(1, READOUT, PHASE, dtype=torch.complex64)
    if coils > 1:
        maps = birdcage(coils, READOUT, PHASE)
    kspace = fft2c(torch.from_numpy(wide)[:, None] * maps)
    drawn = torch.randn(*kspace.shape, 2, generator=torch.Generator().manual_seed(0))
    return Scan(image, (kspace + noise * torch.view_as_complex(drawn)).numpy())


def fastmri(path: Path, scan: Scan, header: str | None = HEADER, **more: Any) -> Path:
    single = scan.kspace.shape[1] == 1
    with h5py.File(path, "w") as file:
        file["kspace"] = scan.kspace[:, 0] if single else scan.kspace
        if header is not None:
            file["ismrmrd_header"] = header
        file.attrs["patient_id"] = "somebody"
        for name, value in more.items():
            file[name] = value
    return path


def ismrmrd_file(path: Path, scan: Scan, header: str = HEADER, **changes: Any) -> Path:
    """All lines twice and in random order, preceded by a noise acquisition."""
    ismrmrd = pytest.importorskip("ismrmrd")
    rng = np.random.default_rng(0)
    with ismrmrd.Dataset(str(path)) as file:
        file.write_xml_header(header.encode())
        coils = scan.kspace.shape[1]
        noise = ismrmrd.Acquisition.from_array(np.ones((coils, 16), np.complex64))
        noise.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        file.append_acquisition(noise)
        for index in rng.permutation(2 * 2 * PHASE):
            slice_, average, step = index // (2 * PHASE), index // PHASE % 2, index % PHASE
            data = scan.kspace[slice_, :, :, step]
            if average:
                data = data + 2.0
            elif step % 2:
                data = data - 2.0
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data))
            line.center_sample = READOUT // 2
            line.idx.slice, line.idx.average = slice_, average
            line.idx.kspace_encode_step_1 = step
            for name, value in changes.items():
                setattr(line, name, value)
            file.append_acquisition(line)
    return path


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (np.arange(PHASE) % 2 == 0, None),
        ((np.arange(PHASE) % 2 == 0)[None, None, :, None], None),
        ((np.arange(PHASE) % 2 == 0).astype(np.float32), None),
        ((np.arange(PHASE) % 2 == 0) | (np.arange(PHASE) < 4), None),  # interpolated with zeros
        (np.arange(PHASE) % 4 == 0, "mask marks column 6 as not measured, and k-space has values"),
        (np.ones(PHASE, bool), "mask marks column 5 as measured, and k-space is zero there"),
        (np.ones(PHASE - 1), "mask has shape"),
        (np.ones((PHASE, 2)), "not a line of 0 and 1"),
        (np.array(["a"] * PHASE, dtype="S1"), "not a line of 0 and 1"),
    ],
)
def test_a_mask_that_kspace_contradicts_is_refused(
    tmp_path: Path, mask: NDArray[Any], why: str | None
) -> None:
    scan = scanned(2)
    scan.kspace[..., 1::2] = 0
    scan.kspace[..., :4] = 0
    path = fastmri(tmp_path / "f.h5", scan, mask=mask)
    if why is None:
        assert int(read_fastmri(path).sampled.sum(-1).max()) == PHASE // 2 - 2
        return
    with pytest.raises(MedscoreError, match=why) as error:
        read_fastmri(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_swapped_axes_are_refused(tmp_path: Path) -> None:
    scan = scanned(8)
    scan = replace(scan, kspace=scan.kspace.swapaxes(1, 2))
    with pytest.raises(MedscoreError, match="largest in the middle of the coil axis, and not of"):
        read_fastmri(fastmri(tmp_path / "f.h5", scan))


def test_one_coils_full_scan_gives_the_image(tmp_path: Path) -> None:
    scan = scanned(1)
    raw = read_fastmri(fastmri(tmp_path / "f.h5", scan))
    assert raw.spacing == (3.0, 3.0, 5.0)
    assert raw.oversampling == 2
    found = to_grid(raw, None, tmp_path)
    np.testing.assert_allclose(ifft2c(found.kspace)[:, 0].abs(), scan.image, atol=1e-3)
    assert found.spacing == (3.0, 3.0, 5.0)


def test_lower_resolution_keeps_brightness_and_field_of_view(tmp_path: Path) -> None:
    scan = scanned(1)
    found = to_grid(read_fastmri(fastmri(tmp_path / "f.h5", scan)), 16, tmp_path)
    assert found.spacing == (6.0, 6.0, 5.0)
    image = ifft2c(found.kspace)[0, 0].abs()
    assert float(image[6:10, 5:8].mean()) == pytest.approx(scan.image[0, 12:20, 10:16].mean(), 0.05)


def test_noise_is_told_from_the_corners(tmp_path: Path) -> None:
    """The median of about 800 values in the corners has a standard error of 3.5 %.

    The bound is 6 standard errors plus the rest of the image there.
    """
    raw = read_fastmri(fastmri(tmp_path / "f.h5", scanned(COILS, noise=20.0)))
    for size in (None, 16):
        found = to_grid(raw, size, tmp_path)
        scale = 1.0 if size is None else 0.5
        assert found.noise_std == pytest.approx(20.0 * scale, rel=0.25)


@pytest.mark.slow
def test_an_ismrmrd_file_holds_the_same_kspace(tmp_path: Path) -> None:
    """The mean of both averages is the k-space, with a known offset of 1 on even lines."""
    scan = scanned(COILS)
    raw = read_ismrmrd(ismrmrd_file(tmp_path / "i.h5", scan))
    expected = scan.kspace.copy()
    expected[..., ::2] += 1.0
    np.testing.assert_allclose(raw.kspace, expected, atol=1e-4)
    assert raw.spacing == (3.0, 3.0, 5.0)
    assert raw.oversampling == 2


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rss", "mvue"])
def test_from_a_scanners_file_to_a_reconstruction(
    done: Command, mr_prior: Path, tmp_path: Path, target: str
) -> None:
    scan = scanned(COILS)
    path, meas, truth = fastmri(tmp_path / "f.h5", scan), tmp_path / "m.h5", tmp_path / "t.nii.gz"
    done(
        "measure", path, "--acceleration", 2, "--target", target, "--target-output", truth,
        "-o", meas,
    )  # fmt: skip
    np.testing.assert_allclose(read_nifti(truth).values, scan.image, atol=2.0)
    measurement = read_measurement(meas)
    assert isinstance(measurement.operator, MulticoilFourier)
    assert measurement.spacing == (3.0, 3.0)
    args = ("--prior", mr_prior, "--steps", 6, "--device", "cpu", "--reference", truth)
    done("recon", meas, *args, "--noise", "none", "-o", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["source_sha256"] == measurement.source.sha256
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["zero-filled", "one sample"]


def test_a_masked_scan_is_taken_as_it_is(done: Command, tmp_path: Path) -> None:
    scan = scanned(1)
    kept = np.arange(PHASE) % 4 == 0
    kept[13:19] = True
    fastmri(tmp_path / "f.h5", Scan(scan.image, scan.kspace * kept), mask=kept)
    done("measure", tmp_path / "f.h5", "-o", tmp_path / "m.h5")
    operator = read_measurement(tmp_path / "m.h5").operator
    assert torch.equal(operator.diagonal, torch.from_numpy(kept).expand(32, 32))


def test_numpy_kspace_needs_its_pixels_size(
    done: Command, refused: Command, tmp_path: Path
) -> None:
    np.save(tmp_path / "k.npy", scanned(COILS).kspace[0])
    assert "--spacing" in refused("measure", tmp_path / "k.npy", "-o", tmp_path / "m.h5")
    done("measure", tmp_path / "k.npy", "--spacing", 2, "--slices", "0:1", "-o", tmp_path / "m.h5")
    assert read_measurement(tmp_path / "m.h5").data.shape == (1, COILS, 32, 32)


def test_single_samples_taken_in_two_phase_encodings(done: Command, tmp_path: Path) -> None:
    """There is no readout direction in the plane, so nothing is cropped and the mask is kept."""
    kspace = scanned(COILS).kspace[0, :, 16:48].copy()
    taken = np.random.default_rng(0).random((32, 32)) < 0.4
    taken[12:20, 12:20] = True
    np.save(tmp_path / "k.npy", kspace * taken)
    done("measure", tmp_path / "k.npy", "--spacing", 2, "-o", tmp_path / "m.h5")
    operator = read_measurement(tmp_path / "m.h5").operator
    assert torch.equal(operator.diagonal, torch.from_numpy(taken))


def test_no_identity_gets_in(done: Command, tmp_path: Path) -> None:
    done("measure", fastmri(tmp_path / "f.h5", scanned(1)), "-o", tmp_path / "m.h5")
    assert b"somebody" not in (tmp_path / "m.h5").read_bytes()


@pytest.mark.parametrize(
    ("make", "options", "why"),
    [
        (lambda p: fastmri(p, scanned(1)), ("--size", 64), "at most 32"),
        (lambda p: fastmri(p, scanned(1)), ("--size", 4), "--size is 4"),
        (lambda p: fastmri(p, scanned(1)), ("--maps", "guess"), "--maps is 'guess'"),
        (lambda p: fastmri(p, scanned(1)), ("--mask", "star"), "--mask is 'star'"),
        (lambda p: fastmri(p, scanned(1)), ("--slices", "0:9"), "--slices is '0:9'"),
        (lambda p: fastmri(p, scanned(1)), ("--acceleration", 0.2), "--acceleration is 0.2"),
        (lambda p: fastmri(p, scanned(1)), ("--target", "rss"), "--target-output"),
        (
            lambda p: fastmri(p, scanned(1)),
            ("--target", "rss", "--target-output", "no.png"), ".nii.gz",
        ),
        (lambda p: fastmri(p, scanned(1), header=None), (), "--spacing"),
        (lambda p: fastmri(p, scanned(1), header="<a/>"), (), "no encoding"),
        (lambda p: fastmri(p, scanned(1), header="<a"), (), "no geometry"),
        (lambda p: fastmri(p, scanned(1), header=HEADER.replace("192", "-1")), (), "field of view"),
        (lambda p: fastmri(p, Scan(np.ones(1), 0 * scanned(1).kspace)), (), "zero everywhere"),
        (lambda p: fastmri(p, Scan(np.ones(1), np.nan * scanned(1).kspace)), (), "NaN"),
        (lambda p: fastmri(p, Scan(np.ones(1), scanned(1).kspace.real)), (), "fastMRI"),
        (lambda p: p.write_text("text"), (), "HDF5"),
        (lambda p: h5py.File(p, "w").close(), (), "neither"),
        (
            lambda p: ismrmrd_file(p, scanned(1), HEADER.replace("cartesian", "spiral")),
            (), "trajectory is spiral",
        ),
        (lambda p: ismrmrd_file(p, scanned(1), "<a/>"), (), "no encoding"),
        (lambda p: ismrmrd_file(p, scanned(1), center_sample=0), (), "outside the encoded"),
    ],
)  # fmt: skip
def test_refuses(
    refused: Command,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    make: Callable[[Path], Any],
    options: tuple[Any, ...],
    why: str,
) -> None:
    path = tmp_path_factory.mktemp("raw") / "f.h5"
    make(path)
    assert why in refused("measure", path, *options, "-o", tmp_path / "m.h5")


def test_pixels_that_are_not_square_become_so_at_lower_resolution(
    done: Command, tmp_path: Path
) -> None:
    """A square field of view of 96 mm in 48 x 32 samples, of which the central 24 x 24 are used."""
    y, x = np.mgrid[-23.5:24, -15.5:16]
    disc = (np.hypot(2 * y, 3 * x) < 40).astype(np.complex64)  # mm
    kspace = fft2c(torch.from_numpy(disc)[None, None]).numpy()
    np.save(tmp_path / "k.npy", kspace)
    args = ("--spacing", "3,2", "--size", 24, "-o", tmp_path / "m.h5")
    done("measure", tmp_path / "k.npy", *args)
    found = read_measurement(tmp_path / "m.h5")
    assert found.spacing == pytest.approx((4, 4))
    image = classical(found)[1][0] > 0.5
    assert image.sum() * 16 == pytest.approx(np.pi * 40**2, rel=0.05)
    assert image.any(0).sum() == image.any(1).sum()


def test_a_target_that_cannot_be_written_leaves_no_measurement(
    refused: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = fastmri(tmp_path_factory.mktemp("raw") / "f.h5", scanned(1))
    args = ("--target", "rss", "--target-output", tmp_path / "missing" / "t.nii.gz")
    assert "its folder does not exist" in refused("measure", path, *args, "-o", tmp_path / "m.h5")


@pytest.mark.parametrize("spacing", ["0", "a", "1,2,3", "1,", "nan"])
def test_refuses_a_spacing(refused: Command, tmp_path: Path, spacing: str) -> None:
    args = ("measure", tmp_path / "k.npy", "--spacing", spacing, "-o", tmp_path / "m.h5")
    assert "--spacing" in refused(*args)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (np.ones((32, 32)), "float64"),
        (np.ones(32, complex), "shape (32,)"),
        (np.ones((1, 1, 1, 32, 32), complex), "shape"),
        (np.ones((4, 4), complex), "8 x 8"),
    ],
)
def test_refuses_numpy(refused: Command, tmp_path: Path, content: Any, why: str) -> None:
    np.save(tmp_path / "k.npy", content)
    args = ("measure", tmp_path / "k.npy", "--spacing", 1, "-o", tmp_path / "m.h5")
    assert why in refused(*args)


def test_refuses_pickled_objects(refused: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "NumPy" in refused("measure", tmp_path / "k.npy", "-o", tmp_path / "m.h5")


def test_a_target_of_an_undersampled_scan_is_refused(refused: Command, tmp_path: Path) -> None:
    scan = scanned(1)
    kept = np.arange(PHASE) % 2 == 0
    path = fastmri(tmp_path / "f.h5", Scan(scan.image, scan.kspace * kept))
    args = ("--target", "magnitude", "--target-output", tmp_path / "t.nii.gz")
    assert "50 % of k-space" in refused("measure", path, *args, "-o", tmp_path / "m.h5")


def test_raw_files_are_looked_at(done: Command, tmp_path: Path) -> None:
    path = fastmri(tmp_path / "f.h5", scanned(COILS))
    found = json.loads(done("inspect", path, "--json").out)
    assert found["what"] == "raw k-space"
    assert "4 coil(s), 64 x 32" in found["facts"]["k-space"]
    assert "oversampled 2 times" in found["noticed"][0]
    assert found["priors"]["mri-128"].startswith("no, at 32 x 32")
    np.save(tmp_path / "k.npy", scanned(1).kspace[0])
    found = json.loads(done("inspect", tmp_path / "k.npy", "--json").out)
    assert "--spacing" in found["noticed"][0]


def two_contrasts(path: Path) -> Path:
    """A scan of one slice with a noise acquisition and a second contrast of inverse sign."""
    ismrmrd = pytest.importorskip("ismrmrd")
    kspace = scanned(1).kspace[0]
    with ismrmrd.Dataset(str(path)) as file:
        file.write_xml_header(HEADER.encode())
        for index in range(2 * PHASE + 1):
            contrast, step = divmod(index, PHASE)
            sign = -1.0 if contrast == 1 else 1.0
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(sign * kspace[..., step]))
            line.center_sample, line.idx.kspace_encode_step_1 = READOUT // 2, step
            line.idx.contrast = contrast
            if contrast == 2:
                line.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            file.append_acquisition(line)
    return path


@pytest.mark.slow
def test_the_image_of_a_file_with_several_is_selected(
    done: Command, refused: Command, tmp_path: Path
) -> None:
    path, meas = two_contrasts(tmp_path / "i.h5"), tmp_path / "m.h5"
    assert "set --select to one, such as contrast=0" in refused("measure", path, "-o", meas)
    noticed = json.loads(done("inspect", path, "--json").out)["noticed"]
    assert "2 contrasts (0, 1)" in noticed[0]
    assert noticed[1] == "the coils are prewhitened by 1 noise line(s)"
    expected = scanned(1)
    for contrast, sign in ((0, 1.0), (1, -1.0)):
        output = tmp_path / f"{contrast}.h5"
        done("measure", path, "--select", f"contrast={contrast}", "-o", output)
        image = ifft2c(torch.from_numpy(read_measurement(output).data))[0, 0]
        np.testing.assert_allclose((sign * image).abs(), expected.image[0], atol=1e-3)
    assert "contrast=7, the image lines have 0, 1" in refused(
        "measure", path, "--select", "contrast=7", "-o", meas
    )


@pytest.mark.parametrize(
    "select", ["contrast", "contrast=", "contrast=-1", "echo=1", "", "contrast=1,", "slice=0"]
)
def test_refuses_a_selection(refused: Command, tmp_path: Path, select: str) -> None:
    np.save(tmp_path / "k.npy", scanned(1).kspace[0])
    args = ("measure", tmp_path / "k.npy", "--spacing", 2, "--select", select)
    assert "such as contrast=0" in refused(*args, "-o", tmp_path / "m.h5")


@pytest.mark.parametrize("make", ["npy", "fastmri"])
def test_a_file_of_one_image_takes_no_selection(
    refused: Command, tmp_path: Path, make: str
) -> None:
    path = tmp_path / f"k.{'npy' if make == 'npy' else 'h5'}"
    if make == "npy":
        np.save(path, scanned(1).kspace[0])
    else:
        fastmri(path, scanned(1))
    args = ("measure", path, "--select", "contrast=0", "-o", tmp_path / "m.h5")
    assert "--select applies to ISMRMRD, twix and BART files only" in refused(*args)


@pytest.mark.slow
def test_a_partial_echo_keeps_the_grid_of_the_whole_one(done: Command, tmp_path: Path) -> None:
    """The header tells the oversampling, whatever is zero in the data."""
    scan = scanned(COILS)
    kspace = scan.kspace.copy()
    kspace[:, :, :20] = 0
    path = fastmri(tmp_path / "f.h5", Scan(scan.image, kspace))
    noticed = json.loads(done("inspect", path, "--json").out)["noticed"]
    assert "oversampled 2 times: the model of incomplete readouts keeps it" in noticed[0]
    for size in (32, 16):
        done("measure", path, "--size", size, "-o", tmp_path / f"{size}.h5")
        found = read_measurement(tmp_path / f"{size}.h5")
        assert found.size == (size, size)
        assert found.spacing == pytest.approx((96 / size, 96 / size))
    image = classical(read_measurement(tmp_path / "32.h5"))[1]
    assert np.linalg.norm(image - scan.image) < 0.25 * np.linalg.norm(scan.image)


@pytest.mark.parametrize("factor", [1e-40, 1e33])
def test_units_beyond_single_precision_are_refused(
    refused: Command, tmp_path: Path, factor: float
) -> None:
    """In either precision of the file, before values become zero or infinite."""
    kspace = scanned(1).kspace[0].astype(complex) * factor
    for dtype in (np.complex64, np.complex128):
        np.save(tmp_path / "k.npy", kspace.astype(dtype))
        args = ("measure", tmp_path / "k.npy", "--spacing", 2, "-o", tmp_path / "m.h5")
        assert "single precision" in refused(*args)


def test_a_trajectory_that_is_not_cartesian_is_refused(refused: Command, tmp_path: Path) -> None:
    path = fastmri(tmp_path / "f.h5", scanned(1), HEADER.replace("cartesian", "radial"))
    assert "trajectory is radial" in refused("measure", path, "-o", tmp_path / "m.h5")
