"""The measurement file: complete, checked when read, without identity."""

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from editing import editing
from numpy.typing import NDArray

import medscore
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.fit import reduce
from medscore.datasets.volume import AIR, Source, Volume
from medscore.errors import MedscoreError
from medscore.measurements.contents import check_measurement
from medscore.measurements.measurement import Measurement, read_measurement, write_measurement
from medscore.measurements.simulation import simulate
from medscore.operators.ct.radon import Radon
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.real_images import Phased
from medscore.operators.wrappers.whitened import Whitened

Refused = Callable[..., str]
FIELDS = [
    "data", "operator", "operator/mask", "operator/geometry", "geometry", "geometry/affine",
    "geometry/uids", "geometry/instances", "@format", "@task", "@modality", "@image_unit",
    "@mu_water_per_mm", "@noise", "@source_sha256", "operator@kind", "operator/geometry@kind",
    "operator/geometry@size", "operator/geometry@spacing", "operator/geometry@views",
    "geometry@kind",
]  # fmt: skip


def _simulate(volume: Volume) -> Measurement:
    return simulate(volume, "sparse-ct", views=5)


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    values = np.random.default_rng(0).uniform(-1000, 1000, (2, 16, 16)).astype(np.float32)
    affine = np.array([[-2.0, 0, 0, 9], [0, -2, 0.5, -7], [0, 0, 3, 40], [0, 0, 0, 1]])
    source = Source("dicom", "ab" * 32, {"StudyInstanceUID": "1.2.3"}, ("1.2.3.1", "1.2.3.2"))
    return _simulate(Volume(values, affine, "CT", source))


@pytest.fixture
def stored(measurement: Measurement, tmp_path: Path) -> Path:
    write_measurement(tmp_path / "m.h5", measurement)
    return tmp_path / "m.h5"


def test_what_is_written_reads_back(stored: Path, measurement: Measurement) -> None:
    found, expected = asdict(read_measurement(stored)), asdict(measurement)
    for field in ("data", "affine"):
        array = expected.pop(field)
        np.testing.assert_array_equal(found[field], array)
        assert found.pop(field).dtype == array.dtype
    expected.pop("file_sha256")
    assert found.pop("file_sha256") == hashlib.sha256(stored.read_bytes()).hexdigest()
    one, other = found.pop("operator"), expected.pop("operator")
    assert repr(one) == repr(other)
    assert torch.equal(one.diagonal, other.diagonal)
    assert found == expected


def test_the_file_is_opened_once(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read once, so the hash is that of the bytes that were parsed."""
    opened: list[str] = []

    def spied(plain: Callable[..., Any]) -> Callable[..., Any]:
        def spy(file: object, *args: Any, **options: Any) -> Any:
            opened.append(str(file))
            return plain(file, *args, **options)

        return spy

    for module in (io, os):
        monkeypatch.setattr(module, "open", spied(module.open))
    read_measurement(stored)
    assert [name for name in opened if not name.isdigit()] == [str(stored)]


def test_paths_may_be_text(stored: Path, measurement: Measurement) -> None:
    write_measurement(str(stored.with_name("2.h5")), measurement)
    one, other = (read_measurement(str(stored.with_name(name))) for name in ("m.h5", "2.h5"))
    assert one.file_sha256 == other.file_sha256 != ""


def test_the_version_that_wrote_the_file_is_recorded(stored: Path) -> None:
    with h5py.File(stored) as file:
        assert file.attrs["medscore"] == medscore.__version__


def test_equal_content_gives_equal_bytes(stored: Path, measurement: Measurement) -> None:
    first = stored.read_bytes()
    write_measurement(stored, measurement)
    assert stored.read_bytes() == first


def test_unmeasured_views_are_zero(measurement: Measurement) -> None:
    assert isinstance(measurement.operator, Radon)
    measured = measurement.operator.measured.numpy()
    assert not measurement.data[:, :, ~measured].any()
    assert measured.sum() == 5


@pytest.mark.parametrize("field", FIELDS)
def test_refuses_a_file_without(stored: Path, refused: Refused, field: str) -> None:
    group, _, attribute = field.partition("@")
    with editing(stored) as file:
        if attribute:
            del file[group or "/"].attrs[attribute]
        else:
            del file[group]
    last = (attribute or group).rpartition("/")[2]
    assert last in refused(read_measurement, stored)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("@format", "medscore-measurement-0", "format"),
        ("@format", 3, "format"),
        ("@image_unit", "1/cm", "image_unit is '1/cm'"),
        ("@image_unit", "HU", "does not measure"),
        ("@image_unit", "magnitude", "of modality 'CT'"),
        ("@modality", "PET", "of modality 'PET'"),
        ("@mu_water_per_mm", 0.193, "mu_water_per_mm is 0.193"),
        ("@mu_water_per_mm", np.nan, "mu_water_per_mm is nan"),
        ("@mu_water_per_mm", "much", "cannot be read"),
        ("operator@kind", "Sudoku", "kind is 'Sudoku'"),
        ("operator@kind", "ParallelBeam", "cannot be read"),
        ("operator/geometry@kind", "Noiseless", "cannot be read"),
        ("operator/geometry@views", 0, "cannot be read"),
        ("operator/geometry@views", 184, "cannot be read"),
        ("operator/geometry@size", 16.5, "cannot be read"),
        ("operator/geometry@size", 2**40, "cannot be read"),
        ("operator/geometry@spacing", -1.0, "cannot be read"),
        ("operator/geometry@spacing", np.inf, "cannot be read"),
        ("operator/geometry@spacing", 2.1, "geometry/affine"),
        ("operator@colour", "red", "cannot be read"),
        ("geometry/affine", np.zeros((4, 4)), "geometry/affine"),
        ("geometry/affine", np.eye(3), "geometry/affine"),
        ("geometry/affine", np.diag([-2.0, -2, 1e7, 1]), "geometry/affine: the voxels are"),
        ("geometry/affine", np.diag([-2.0, -2, 1e-7, 1]), "geometry/affine: the voxels are"),
        ("geometry/affine", np.diag([-1e300, -2, 3, 1]), "beyond 10 km"),
        (
            "geometry/affine",
            np.array([[-2.0, 0, 4, 0], [0, -2, 0, 0], [0, 0, 1e-3, 0], [0, 0, 0, 1]]),
            "do not span the space",
        ),
        ("geometry/affine", np.full((4, 4), np.nan), "geometry/affine"),
        ("geometry/instances", np.arange(2), "cannot be read"),
        ("data", "text", "cannot be read"),
        ("data", np.float32(1), "shape ()"),
        ("data", np.ones((2, 180, 24), np.float32), "shape (2, 180, 24)"),
        ("data", np.ones((0, 1, 180, 24), np.float32), "shape (0, 1, 180, 24)"),
        ("data", np.ones((2, 1, 90, 24), np.float32), "shape (1, 1, 90, 24)"),
        ("data", np.zeros((2, 1, 180, 24), np.float32), "zero everywhere"),
        ("operator/mask", np.ones((90, 1)), "mask"),
        ("operator/mask", np.full((180, 1), 2), "mask"),
        ("operator/mask", np.full((180, 1), 257), "mask"),
        ("operator/mask", np.full((180, 1), 0.5), "mask"),
        ("operator/mask", np.zeros((180, 1)), "nothing"),
        ("operator/mask", np.ones((3, 1, 180, 1)), "masks of 3 slices do not fit"),
        ("data", np.full((2, 1, 180, 24), 1e35), "not zero where"),
        ("data", np.full((2, 1, 180, 24), 1e300), "infinity"),
        ("geometry/affine", np.diag([-2.0, -2, 3, 2]), "not in 0, 0, 0, 1"),
        ("geometry/uids@StudyInstanceUID", "none", "not a DICOM UID"),
    ],
)
def test_refuses_a_file_with(
    stored: Path, refused: Refused, field: str, value: Any, why: str
) -> None:
    group, _, attribute = field.partition("@")
    with editing(stored) as file:
        if attribute:
            file[group or "/"].attrs[attribute] = value
        else:
            del file[group]
            file[group] = value
    assert why in refused(read_measurement, stored)


def put_data(stored: Path, data: NDArray[Any]) -> None:
    with editing(stored) as file:
        del file["data"]
        file["data"] = data


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data": np.zeros((2, 1, 180, 24), np.float32)}, "data are zero everywhere"),
        ({"data": np.ones((2, 1, 180, 23), np.float32)}, "the data have shape"),
        ({"image_unit": "HU"}, "does not measure"),
        ({"affine": np.eye(4)}, "does not have pixels of 2 mm"),
        ({"affine": np.eye(3)}, "is not a finite 4x4 matrix"),
    ],
)
def test_what_the_reader_refuses_is_not_written(
    measurement: Measurement, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(MedscoreError, match=why):
        write_measurement(tmp_path / "m.h5", replace(measurement, **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [None, 3, "text", np.zeros(3)])
def test_arguments_of_other_types_are_refused(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match=r"`m` is a .*, expected a measurement - make one"):
        write_measurement(tmp_path / "m.h5", wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [None, 3, ["m.h5"]])
def test_a_path_of_another_type_is_refused(measurement: Measurement, wrong: Any) -> None:
    with pytest.raises(MedscoreError, match=r"`path` is .*, expected the path"):
        read_measurement(wrong)
    with pytest.raises(MedscoreError, match=r"`path` is .*, expected the path"):
        write_measurement(wrong, measurement)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_data_that_are_not_finite(
    stored: Path, refused: Refused, measurement: Measurement, bad: float
) -> None:
    data = measurement.data.copy()
    data[1, 0, 0, 3] = bad
    put_data(stored, data)
    assert "data contain NaN" in refused(read_measurement, stored)


def test_refuses_what_no_line_integral_reaches(
    stored: Path, refused: Refused, measurement: Measurement
) -> None:
    put_data(stored, 1e35 * measurement.data)
    assert "no line integral" in refused(read_measurement, stored)


def test_refuses_complex_line_integrals(
    stored: Path, refused: Refused, measurement: Measurement
) -> None:
    put_data(stored, measurement.data.astype(np.complex64))
    assert "data are complex64" in refused(read_measurement, stored)


def test_refuses_a_group_in_place_of_data(stored: Path, refused: Refused) -> None:
    with editing(stored) as file:
        del file["data"]
        file.create_group("data")
    assert "cannot be read" in refused(read_measurement, stored)


def test_refuses_a_file_that_declares_more_than_memory(stored: Path, refused: Refused) -> None:
    with editing(stored) as file:
        del file["data"]
        file.create_dataset("data", (2**20, 1, 180, 24), "f4", chunks=True)
    assert "GiB" in refused(read_measurement, stored)


def test_refuses_a_mask_that_is_larger_than_memory(stored: Path, refused: Refused) -> None:
    with editing(stored) as file:
        del file["operator/mask"]
        file.create_dataset("operator/mask", (10**10, 1), "u1", chunks=(1000, 1))
    assert "GiB" in refused(read_measurement, stored)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_refuses_a_file_cut_short(stored: Path, refused: Refused, kept: float) -> None:
    content = stored.read_bytes()
    stored.write_bytes(content[: int(kept * len(content))])
    assert "cannot be read" in refused(read_measurement, stored)


@pytest.mark.parametrize("place", [600, 2000, -1])
def test_refuses_a_file_with_one_bit_flipped(stored: Path, refused: Refused, place: int) -> None:
    content = bytearray(stored.read_bytes())
    content[place] ^= 1
    stored.write_bytes(bytes(content))
    assert "checksum" in refused(read_measurement, stored)


def test_a_file_without_a_seal_is_read(stored: Path) -> None:
    content = stored.read_bytes()
    stored.write_bytes(b"\0" * 512 + content[512:])
    assert read_measurement(stored).task == "sparse-ct"


def test_refuses_a_missing_file(tmp_path: Path, refused: Refused) -> None:
    assert "no such measurement" in refused(read_measurement, tmp_path / "none.h5")


def test_refuses_what_is_not_hdf5(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "x.h5").write_text("not HDF5")
    assert "cannot be read" in refused(read_measurement, tmp_path / "x.h5")


def test_a_write_into_no_folder_leaves_nothing(
    stored: Path, refused: Refused, measurement: Measurement
) -> None:
    inside = stored / "m.h5"  # a file for a folder: refused to root too
    assert "cannot be written" in refused(write_measurement, inside, measurement)
    assert list(stored.parent.iterdir()) == [stored]


def test_a_write_that_fails_leaves_the_old_file(
    stored: Path, measurement: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    before = stored.read_bytes()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(MedscoreError, match="No space left"):
        write_measurement(stored, replace(measurement, noise="poisson:9"))
    assert (stored.read_bytes(), list(stored.parent.iterdir())) == (before, [stored])


def test_no_patient_identity_gets_in(write_slice: Callable[..., Path], tmp_path: Path) -> None:
    hu = np.arange(256).reshape(16, 16) * 4 - 1000
    source = write_slice(
        "a.dcm", hu, PixelSpacing=[2, 2], PatientBirthDate="19510203", AccessionNumber="Qponml-8",
        InstitutionName="Zyxwvut Clinic", PatientComments="Zyxwvut", StudyDate="19990203",
    )  # fmt: skip
    path = tmp_path / "m.h5"
    volume = reduce(read_dicom(source), 8, source)
    write_measurement(path, _simulate(volume))
    text = _everything_in(path)
    assert "1.2.3.4" in text  # the identifiers of the series are kept
    for secret in ("Zyxwvut", "Qponml", "19510203", "19990203"):
        assert secret not in text
        assert secret.encode() not in path.read_bytes()


def _everything_in(path: Path) -> str:
    found: list[str] = []
    with h5py.File(path) as file:

        def collect(name: str, item: Any) -> None:
            found.append(f"{name} {dict(item.attrs)}")
            if isinstance(item, h5py.Dataset):
                found.append(str(item[()].tolist() if item.dtype != object else item[()]))

        collect("/", file)
        file.visititems(collect)
    return "\n".join(found)


def test_air_outside_adds_nothing_to_a_line_integral() -> None:
    values = np.full((1, 16, 16), AIR, np.float32)
    values[0, 7:9, 7:9] = 0
    volume = Volume(values, np.diag([-2.0, -2, 3, 1]), "CT", Source("array", ""))
    data: NDArray[np.float32] = _simulate(volume).data
    # four pixels of water, 2 mm wide, summed over detectors 2 mm apart
    np.testing.assert_allclose(data[0, 0, 0].sum(), 4 * 2 * 0.01929, rtol=1e-4)


@pytest.mark.parametrize("slices", [3, 5])
def test_maps_and_phases_of_other_slices_than_the_data_are_refused(
    measurement: Measurement, slices: int
) -> None:
    k = torch.ones(2, 3, 8, 8, dtype=torch.complex64)
    maps = torch.ones(slices, 3, 8, 8, dtype=torch.complex64)
    shared = MulticoilFourier(maps[:1], torch.ones(8, 8))
    own = {"modality": "MR", "image_unit": "magnitude", "task": "mri-multicoil", "mu_water": None}
    sound = replace(measurement, data=k.numpy(), operator=shared, **own)
    check_measurement(sound, MedscoreError)  # maps of one slice are those of all
    operators = {
        "coil sensitivities": MulticoilFourier(maps, torch.ones(8, 8)),
        "phases": Phased(shared, torch.ones(slices, 1, 8, 8, dtype=torch.complex64)),
        "standard deviations": Whitened(shared, torch.ones(slices, 3, 8, 8)),
    }
    for what, operator in operators.items():
        with pytest.raises(MedscoreError, match=f"{what} of {slices} slices do not fit"):
            check_measurement(replace(sound, operator=operator), MedscoreError)
