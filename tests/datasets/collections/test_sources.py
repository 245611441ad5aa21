"""The scans that patterns name, and their patients: folders, series, glob characters."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from medscore.datasets.collections.cohort import read_cohort
from medscore.datasets.collections.pictures import load_pictures
from medscore.datasets.collections.slice_cache import Slices
from medscore.datasets.collections.slices import load_slices
from medscore.datasets.collections.sources import find_images
from medscore.errors import MedscoreError

WriteSlice = Callable[..., Path]


@pytest.fixture
def hospital(tmp_path: Path, write_slice: WriteSlice) -> Path:
    """Folders a, b of one patient, c of another; two series in a flat folder, of both patients."""
    rng = np.random.default_rng(0)
    places = {"a": ("P1", "1.1"), "b": ("P1", "1.2"), "c": ("P2", "1.3")}
    for folder, (patient, series) in places.items():
        (tmp_path / folder).mkdir()
        for k in range(4):
            _slice(write_slice, rng, k, patient, series).rename(tmp_path / folder / f"{k}.dcm")
    (tmp_path / "flat").mkdir()
    for k in range(6):
        patient, series = (("P1", "1.4"), ("P2", "1.5"))[k % 2]
        _slice(write_slice, rng, k, patient, series).rename(tmp_path / "flat" / f"{k}.dcm")
    return tmp_path


def _slice(
    write: WriteSlice, rng: np.random.Generator, k: int, patient: str | None, series: str
) -> Path:
    hu = rng.integers(-500, 750, (8, 8)) * 2
    hu[0, 0] = -1000
    return write(
        "slice.dcm", hu, PixelSpacing=[1, 1], PatientID=patient, SeriesInstanceUID=series,
        StudyInstanceUID=f"9.{series}", ImagePositionPatient=["0", "0", f"{k}"],
    )  # fmt: skip


def load(root: Path, *patterns: str, cache: Path | None = None) -> Slices:
    return load_slices(patterns, root=root, side=4, low=-1000.0, high=1500.0, cache=cache)


def test_a_pattern_that_matches_folders_reads_each_as_a_series(hospital: Path) -> None:
    found = load(hospital, "[abc]")
    assert len(found.images) == len(found.patients) == len(found.spacing_mm) == 12
    assert found.scans == ("a",) * 4 + ("b",) * 4 + ("c",) * 4
    again = load(hospital, "a/*.dcm", "b/*.dcm", "c/*.dcm")
    assert bool((found.images == again.images).all())


def test_folders_are_cached(hospital: Path, write_slice: WriteSlice) -> None:
    cache = hospital / "cache"
    first = load(hospital, "[abc]", cache=cache)
    assert bool((load(hospital, "[abc]", cache=cache).images == first.images).all())
    for k in range(4):
        made = _slice(write_slice, np.random.default_rng(9 + k), k, "P1", "1.1")
        made.rename(hospital / "a" / f"{k}.dcm")
        again = load(hospital, "[abc]", cache=cache)
        changed = (again.images != first.images).flatten(1).any(1)
        assert changed.tolist() == [i == k for i in range(12)]
        first = again


@pytest.mark.parametrize(
    ("patterns", "slices", "patients"),
    [
        (["a/*.dcm"], 4, 1),
        (["a/*.dcm", "b/*.dcm"], 8, 1),
        (["a", "b/*.dcm"], 8, 1),
        (["a", "c"], 8, 2),
        (["flat/*.dcm"], 6, 2),
        (["flat/0.dcm", "flat/2.dcm"], 2, 1),
        (["*/*.dcm"], 18, 2),
    ],
)
def test_patients_are_identified_by_the_dicom_patient_id(
    hospital: Path, patterns: list[str], slices: int, patients: int
) -> None:
    found = load(hospital, *patterns)
    assert (len(found.patients), len(set(found.patients))) == (slices, patients)
    cases = read_cohort(patterns, root=hospital, modality="CT", size=8)
    assert (len(cases), len({case.patient for case in cases})) == (slices, patients)


def test_training_and_validation_share_a_patient_in_other_folders(hospital: Path) -> None:
    training, validation = load(hospital, "a"), load(hospital, "flat/*.dcm")
    assert set(training.patients) & set(validation.patients)
    assert not set(training.patients) & set(load(hospital, "c", "flat/1.dcm").patients)


@pytest.mark.parametrize("missing", [None, "", "  "])
def test_without_an_identifier_the_study_stands_in(
    tmp_path: Path, write_slice: WriteSlice, missing: str | None
) -> None:
    rng = np.random.default_rng(0)
    for name, series in (("x", "1.1"), ("y", "1.1"), ("z", "1.2")):
        _slice(write_slice, rng, 0, missing, series).rename(tmp_path / f"{name}.dcm")
    x, y, z = (load(tmp_path, f"{name}.dcm").patients for name in "xyz")
    assert x == y != z


def test_no_identifier_is_kept(hospital: Path) -> None:
    """Neither in clear text nor hashed, neither in the cache nor in the names of an evaluation."""
    cache = hospital / "cache"
    found = load(hospital, "[abc]", "flat/*.dcm", cache=cache)
    cases = read_cohort(["[abc]", "flat/*.dcm"], root=hospital, modality="CT", size=8)
    names = {case.patient for case in cases}
    assert names == {"a", "c"}
    stored = b"".join(path.read_bytes() for path in cache.iterdir())
    for patient in ("P1", "P2", *found.patients):
        assert f'"{patient}'.encode() not in stored
        assert patient not in names
    again = load(hospital, "[abc]", "flat/*.dcm", cache=cache)
    assert again.patients == found.patients


def test_two_patients_of_one_folder_have_different_names(hospital: Path) -> None:
    cases = read_cohort(["flat/*.dcm"], root=hospital, modality="CT", size=8)
    assert [case.patient for case in cases] == ["flat"] * 3 + ["flat (2)"] * 3
    assert [case.name for case in cases[:2]] == ["flat/0.dcm#0", "flat/2.dcm#0"]


def test_a_collections_patient_is_the_same_under_another_name(
    tmp_path: Path, write_slice: WriteSlice
) -> None:
    rng = np.random.default_rng(0)
    series = tmp_path / "LIDC" / "LIDC-IDRI-0001" / "study" / "series"
    series.mkdir(parents=True)
    for k in range(12):
        made = _slice(write_slice, rng, k, "LIDC-IDRI-0001", "1.1")
        made.rename(series / f"{k:02d}.dcm")
    (tmp_path / "copy").mkdir()
    _slice(write_slice, rng, 0, "LIDC-IDRI-0001", "1.9").rename(tmp_path / "copy" / "0.dcm")
    one, two = (load(tmp_path, pattern).patients for pattern in ("lidc:LIDC", "copy/*.dcm"))
    assert set(one) == set(two)


def test_fastmri_files_of_a_patient_are_one_patient_by_any_pattern(tmp_path: Path) -> None:
    for name, patient in (("1", "a"), ("2", "a"), ("3", "b")):
        with h5py.File(tmp_path / f"file{name}.h5", "w") as file:
            file.attrs["patient_id"] = patient
    for pattern in ("*.h5", "fastmri:."):
        one, two, three = (images.patient for images in find_images([pattern], tmp_path))
        assert one == two != three


@pytest.mark.parametrize("name", ["data [1]", "what?", "a*b"])
def test_glob_characters_in_the_data_folder_have_no_meaning(
    tmp_path: Path, write_slice: WriteSlice, name: str
) -> None:
    root = tmp_path / name
    (root / "p1").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(3):
        _slice(write_slice, rng, k, "P1", "1.1").rename(root / "p1" / f"{k}.dcm")
    np.save(root / "grey.npy", np.zeros((1, 8, 8), np.uint8))
    assert len(load(root, "p*").images) == len(load(root, "p1/*.dcm").images) == 3
    assert len(read_cohort(["p*1"], root=root, modality="CT", size=8)) == 3
    assert len(load_pictures(["*.npy"], root=root, size=8, colour=False).images) == 1


def test_data_folders_may_be_text(hospital: Path) -> None:
    found = load_slices(["a"], root=str(hospital), side=4, low=-1000.0, high=1500.0)
    cases = read_cohort(["a"], root=str(hospital), modality="CT", size=8)
    assert len(found.images) == len(cases) == 4


def test_slices_of_a_collections_series_must_have_one_size(
    tmp_path: Path, write_slice: WriteSlice
) -> None:
    series = tmp_path / "LIDC" / "LIDC-IDRI-0001" / "study" / "series"
    series.mkdir(parents=True)
    for k in range(12):
        hu = np.random.default_rng(k).integers(-500, 750, (8 + k // 11, 8)) * 2 - 0
        hu[0, 0] = -1000
        write_slice("slice.dcm", hu, PixelSpacing=[1, 1]).rename(series / f"{k:02d}.dcm")
    with pytest.raises(MedscoreError, match="slices differ in size"):
        load(tmp_path, "lidc:LIDC")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    with pytest.raises(MedscoreError, match="no DICOM file"):
        load(tmp_path, "p*")
