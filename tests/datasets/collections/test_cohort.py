"""Cohorts: slices, patients and grid, and invalid requests."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medscore.datasets.collections.cohort import read_cohort
from medscore.datasets.fit import reduce
from medscore.datasets.formats.write import write_image
from medscore.errors import MedscoreError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two CT volumes of three slices, the last of which is air only; an archive of MR slices."""
    y, x = np.mgrid[-31.5:32, -31.5:32]
    for patient in (1, 2):
        slices = [np.where(np.hypot(x, y) < 10 * k * patient, 40.0, -1000.0) for k in (2, 1, 0)]
        image = nib.Nifti1Image(np.float32(slices).transpose(2, 1, 0), np.diag([2, 2, 5, 1.0]))
        nib.save(image, tmp_path / f"p{patient}.nii.gz")
    head = np.where(np.hypot(x, y) < 20, 200, 0).astype(np.uint8)
    np.savez(
        tmp_path / "mr.npz",
        image=np.stack([head, np.zeros_like(head), head // 2]),
        patient=["a", "a", "b"],
    )
    return tmp_path


def test_slices_with_content_come_with_name_and_patient(data: Path) -> None:
    cases = read_cohort(["*.nii.gz"], root=data, modality="CT", size=32)
    assert [(c.name, c.patient) for c in cases] == [
        ("p1.nii.gz#0", "p1"), ("p1.nii.gz#1", "p1"), ("p2.nii.gz#0", "p2"), ("p2.nii.gz#1", "p2"),
    ]  # fmt: skip
    assert {c.volume.values.shape for c in cases} == {(1, 32, 32)}
    assert cases[0].volume.spacing[0] == pytest.approx(4)


def test_a_limit_takes_equally_spaced_slices(data: Path) -> None:
    every = read_cohort(["*.nii.gz"], root=data, modality="CT", size=32)
    few = read_cohort(["*.nii.gz"], root=data, modality="CT", size=32, limit=2)
    assert [c.name for c in few] == [every[0].name, every[-1].name]


@pytest.mark.parametrize("limit", [None, 2])
def test_slices_come_in_the_matrix_of_their_files_too(data: Path, limit: int | None) -> None:
    cases = read_cohort(["*.nii.gz"], root=data, modality="CT", size=32, limit=limit, native=True)
    plain = read_cohort(["*.nii.gz"], root=data, modality="CT", size=32, limit=limit)
    for case, alone in zip(cases, plain, strict=True):
        assert case.native is not None
        assert case.native.values.shape == (1, 64, 64)
        assert alone.native is None
        np.testing.assert_array_equal(reduce(case.native, 32).values, case.volume.values)
        np.testing.assert_array_equal(alone.volume.values, case.volume.values)
        assert case.digest != alone.digest
    same = read_cohort(["*.nii.gz"], root=data, modality="CT", size=64, native=True)
    assert all(case.native is None for case in same)


def test_archives_keep_their_patients_and_skip_blank_slices(data: Path) -> None:
    cases = read_cohort(["mr.npz"], root=data, modality="MR", size=32, spacing_mm=1.0)
    assert [(c.name, c.patient) for c in cases] == [("mr.npz#0", "a"), ("mr.npz#2", "b")]
    assert cases[0].volume.spacing[0] == pytest.approx(2)


def test_blank_slices_of_a_volume_are_left_out(tmp_path: Path) -> None:
    values = np.zeros((32, 32, 3), np.float32)
    values[8:24, 8:24, 1] = 100
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2, 5, 1])), tmp_path / "head.nii.gz")
    cases = read_cohort(["head.nii.gz"], root=tmp_path, modality="MR", size=32)
    assert [c.name for c in cases] == ["head.nii.gz#1"]


def test_slices_that_are_not_square_get_air_around_them(tmp_path: Path) -> None:
    values = np.full((20, 32, 1), -1000, np.float32)
    values[5:15, 10:20] = 40
    affine = np.diag([2.0, 2, 5, 1])
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "wide.nii.gz")
    (case,) = read_cohort(["wide.nii.gz"], root=tmp_path, modality="CT", size=32)
    assert case.volume.values.shape == (1, 32, 32)
    assert (case.volume.values == 40).sum() == 100
    where = np.argwhere(case.volume.values[0] == 40).mean(0)[::-1]
    centre = case.volume.affine @ np.array([*where, 0, 1])
    assert centre[:2] == pytest.approx((affine @ [9.5, 14.5, 0, 1])[:2])


def test_images_that_ship_inside_packages_are_found_without_a_folder(tmp_path: Path) -> None:
    pattern = "package:pydicom/data/test_files/CT_small.dcm"
    (case,) = read_cohort([pattern], root=tmp_path, modality="CT", size=64)
    assert case.name == "test_files/CT_small.dcm#0"


def test_a_case_is_known_by_its_values(data: Path) -> None:
    a, b, *_ = read_cohort(["*.nii.gz"], root=data, modality="CT", size=32)
    (again, *_) = read_cohort(["p1.nii.gz"], root=data, modality="CT", size=32)
    assert a.digest == again.digest != b.digest


@pytest.mark.parametrize(
    ("pattern", "modality", "what"),
    [
        ("none*.nii", "CT", "no file matches"),
        ("mr.npz", "MR", "pixel_spacing_mm"),
        ("p1.nii.gz", "MR", "magnitudes are not negative"),
        ("package:no_such_package/x.nii", "CT", "no package no_such_package"),
        ("package:this.that/x.nii", "CT", "'this.that' is no package"),
    ],
)
def test_invalid_cohorts_are_refused(data: Path, pattern: str, modality: str, what: str) -> None:
    with pytest.raises(MedscoreError, match=what):
        read_cohort([pattern], root=data, modality=modality, size=32)


def test_a_cohort_without_content_is_refused(tmp_path: Path) -> None:
    values = np.full((3, 64, 64), 100, np.uint8)
    values[:, 0, 0] = 101
    np.savez(tmp_path / "mr.npz", image=values, patient=["a"] * 3)
    with pytest.raises(MedscoreError, match="no slice has content"):
        read_cohort(["mr.npz"], root=tmp_path, modality="MR", size=32, spacing_mm=1.0)


def test_single_images_of_arrays_and_volumes_are_scans(tmp_path: Path) -> None:
    hu = np.full((2, 16, 16), -1000.0, np.float32)
    hu[:, 4:12, 4:12] = 40
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    for name in ("a.nrrd", "b.mha", "c.npz", "d.npy"):
        write_image(tmp_path / name, hu, affine, "CT")
    known = read_cohort(["[abc].*"], root=tmp_path, modality="CT", size=8)
    assert [case.patient for case in known] == ["a", "a", "b", "b", "c", "c"]
    (one, _) = read_cohort(["d.npy"], root=tmp_path, modality="CT", size=8, spacing_mm=2.0)
    for case in (*known, one):
        assert case.volume.spacing[:2] == pytest.approx((4.0, 4.0))
    with pytest.raises(MedscoreError, match="does not state the spacing"):
        read_cohort(["d.npy"], root=tmp_path, modality="CT", size=8)


def test_archives_may_state_two_spacings_of_each_slice(tmp_path: Path) -> None:
    hu = np.linspace(-1000, 500, 2 * 256, dtype=np.float32).reshape(2, 16, 16)
    path = tmp_path / "a.npz"
    np.savez(path, hu=hu, patient=["a", "b"], pixel_spacing_mm=[[0.5, 0.5], [0.7, 0.7]])
    found = read_cohort(["a.npz"], root=tmp_path, modality="CT", size=8)
    assert [case.volume.spacing[0] for case in found] == pytest.approx([1.0, 1.4])
    np.savez(path, hu=hu, patient=["a", "b"], pixel_spacing_mm=[[0.5, 0.9], [0.7, 0.7]])
    with pytest.raises(MedscoreError, match="not square"):
        read_cohort(["a.npz"], root=tmp_path, modality="CT", size=8)
