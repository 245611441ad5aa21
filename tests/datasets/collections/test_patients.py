"""One patient's slices are one patient, however they are named and wherever they lie."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medscore.datasets.collections.cohort import read_cohort
from medscore.datasets.collections.patients import merged, pseudonym
from medscore.datasets.collections.slices import load_slices
from medscore.datasets.collections.sources import find_images
from medscore.datasets.collections.subjects import subject_of
from medscore.errors import MedscoreError

WriteSlice = Callable[..., Path]


def _nifti(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).uniform(0, 100, (8, 8, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1])), path)


ONE = [
    ("sub-01_ses-1_T1w", "sub-01_ses-2_T1w"),
    ("sub-01/ses-1/anat/sub-01_ses-1_T1w", "sub-01/ses-2/anat/sub-01_ses-2_FLAIR"),
    ("sub-01/anat/T1w", "sub-01/func/bold"),
    ("p1/t1", "p1/flair"),
    ("p1/scan1", "p1/scan2"),
    ("p1/visit1/t1", "p1/visit2/t1"),
    ("p1/20200101/t1", "p1/20210101/t1"),
    ("p1_t1", "p1_t2w"),
    ("p1_t1ce", "p1-flair"),
    ("p1_visit1", "p1_visit_2"),
    ("p1", "p1_copy"),
    ("p1", "p1 (2)"),
    ("p1_20200101", "p1_2021-05-01"),
    ("p1", "P1"),
    ("P-01", "sub-P01"),
    ("train/p1", "test/p1"),
    ("imagesTr/case7_0000", "imagesTr/case7_0001"),
    ("p1/head", "p1/neck"),
    ("p1_CT1", "p1_MR2"),
]

TWO = [
    ("p1", "p2"),
    ("sub-01_T1w", "sub-02_T1w"),
    ("p1/t1", "p2/t1"),
    ("p1/scan", "p2/scan"),
    ("p1/visit1/t1", "p2/visit1/t1"),
    ("LIDC-IDRI-0001", "LIDC-IDRI-0002"),
    ("LUNG1_0001", "LUNG1_0002"),
    ("BraTS2021_00000/BraTS2021_00000_t1", "BraTS2021_00001/BraTS2021_00001_t1"),
    ("train/case_001", "train/case_002"),
    ("imagesTr/case7_0000", "imagesTr/case8_0000"),
    ("cohort/001", "cohort/002"),
    ("CRLM-CT-1004", "CRLM-CT-1006"),
    ("ACRIN-FLT-Breast_001", "ACRIN-FLT-Breast_013"),
]


@pytest.mark.parametrize("names", ONE)
def test_these_names_are_of_one_patient(tmp_path: Path, names: tuple[str, str]) -> None:
    _write(tmp_path, *names)
    assert len(_patients(tmp_path, "**/*.nii")) == 1


@pytest.mark.parametrize("names", TWO)
def test_these_names_are_of_two_patients(tmp_path: Path, names: tuple[str, str]) -> None:
    _write(tmp_path, *names)
    assert len(_patients(tmp_path, "**/*.nii")) == 2


@pytest.mark.parametrize("count", [5, 30])
def test_many_numbered_files_of_a_folder_are_a_collection(tmp_path: Path, count: int) -> None:
    for k in range(count):
        path = tmp_path / "lits" / f"volume-{k}.nii"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    found = {subject_of(path, tmp_path) for path in tmp_path.glob("*/*.nii")}
    assert len(found) == (1 if count < 10 else count)


def _write(root: Path, *names: str) -> None:
    for seed, name in enumerate((*names, "neighbour/other")):
        _nifti(root / f"{name}.nii", seed)
    shutil.rmtree(root / "neighbour" / "x", ignore_errors=True)


def _patients(root: Path, *patterns: str) -> set[str]:
    found = [i for i in find_images(patterns, root) if "neighbour" not in i.files[0].parts]
    return {pseudonym(images.patient) for images in found}


def test_links_and_copies_are_of_one_patient(tmp_path: Path) -> None:
    _nifti(tmp_path / "p1" / "scan7.nii", 0)
    _nifti(tmp_path / "p2" / "scan7.nii", 1)
    (tmp_path / "alias").symlink_to(tmp_path / "p1", target_is_directory=True)
    (tmp_path / "linked.nii").symlink_to(tmp_path / "p2" / "scan7.nii")
    shutil.copy(tmp_path / "p1" / "scan7.nii", tmp_path / "renamed.nii")
    found = find_images(["**/*.nii", "p1/*.nii"], tmp_path)
    assert len(found) == 3  # each file once, and the copy
    assert len({images.patient for images in found}) == 2


@pytest.mark.parametrize("other", ["P1", "p-1", "sub-P1"])
def test_archives_folders_and_dicom_name_the_same_patient(
    tmp_path: Path, write_slice: WriteSlice, other: str
) -> None:
    hu = np.random.default_rng(0).integers(-500, 750, (8, 8)) * 2
    hu[0, 0] = -1000
    (tmp_path / "dicom").mkdir()
    made = write_slice("x.dcm", hu, PixelSpacing=[1, 1], PatientID="P1")
    made.rename(tmp_path / "dicom" / "x.dcm")
    nib.save(
        nib.Nifti1Image((hu[..., None] + 1.0).astype(np.float32), np.eye(4)),
        tmp_path / f"{other}.nii",
    )
    np.savez(tmp_path / "a.npz", hu=hu[None] + 2.0, patient=[other], pixel_spacing_mm=[1.0])
    found = load_slices(
        ["dicom/*.dcm", "*.nii", "*.npz"], root=tmp_path, side=4, low=-1000.0, high=1500.0
    )
    assert len({pseudonym(patient) for patient in found.patients}) == 1
    cases = read_cohort(["dicom", "*.nii", "*.npz"], root=tmp_path, modality="CT", size=8)
    assert (len(cases), len({(c.patient, c.group) for c in cases})) == (3, 1)


@pytest.mark.parametrize("missing", ["PatientID", "PatientID StudyInstanceUID", "all"])
def test_without_identifiers_the_slices_of_a_folder_are_of_one_patient(
    tmp_path: Path, write_slice: WriteSlice, missing: str
) -> None:
    names = "PatientID StudyInstanceUID SeriesInstanceUID" if missing == "all" else missing
    for k in range(4):
        folder = tmp_path / f"p{k // 2}"
        folder.mkdir(exist_ok=True)
        hu = np.random.default_rng(k).integers(-500, 750, (8, 8)) * 2
        own = {"StudyInstanceUID": f"1.{k}", "SeriesInstanceUID": f"1.2.{k}"}
        made = write_slice("x.dcm", hu, **(own | dict.fromkeys(names.split())))
        made.rename(folder / f"{k}.dcm")
    found = find_images(["*/*.dcm"], tmp_path)
    assert len({images.patient for images in found}) == 2


def test_the_series_that_is_read_of_a_folder_tells_its_patient(
    tmp_path: Path, write_slice: WriteSlice
) -> None:
    hu = np.random.default_rng(0).integers(-500, 750, (8, 8)) * 2
    for k, patient in enumerate(("A", "B")):
        made = write_slice(
            "x.dcm", hu, PatientID=patient, SeriesInstanceUID=f"1.{k}", SeriesDescription=patient
        )
        made.rename(made.parent / f"{k}.dcm")
    (images,) = find_images(["series"], tmp_path, series="B")
    assert images.patient == pseudonym("B")


def test_the_working_folder_names_nobody(
    tmp_path: Path, write_slice: WriteSlice, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_slice("scan.dcm", np.random.default_rng(0).integers(-500, 750, (8, 8)) * 2)
    for here, name in ((made.parent, "scan"), (tmp_path, "series")):
        monkeypatch.chdir(here)
        (images,) = find_images([str(made)], here)
        assert images.name == name


def test_what_belongs_together_through_others_has_one_name() -> None:
    keys = [("c", "x"), ("b", "y"), ("d",), ("a", "x", "y"), ("d", "z")]
    assert merged(keys) == ["a", "a", "d", "a", "d"]


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("x/*.dcm", r"2 of '\*/\*.nii', 1 of '\*.npz' - set `pattern` to '\*/\*.nii'"),
        ("*.nrrd", r"2 of '\*/\*.nii'"),
    ],
)
def test_a_pattern_without_a_match_is_refused_with_those_that_would_match(
    tmp_path: Path, pattern: str, named: str
) -> None:
    for seed in (1, 2):
        _nifti(tmp_path / f"p [{seed}]" / "a.nii", seed)
    np.savez(tmp_path / "a.npz", hu=np.zeros((1, 8, 8)))
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(MedscoreError, match=named):
        find_images([pattern], tmp_path)
    shutil.rmtree(tmp_path / "p [1]")
    shutil.rmtree(tmp_path / "p [2]")
    (tmp_path / "a.npz").unlink()
    with pytest.raises(MedscoreError, match=r"no image, only notes.txt"):
        find_images([pattern], tmp_path)
