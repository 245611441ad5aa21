"""Unpacked collections: selected images, their patients, the split by patient, the cache."""

import time
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch

from medscore.datasets.collections import slices as slices_module
from medscore.datasets.collections.public import collected, share
from medscore.datasets.collections.slice_cache import Slices
from medscore.datasets.collections.slices import load_slices

Refused = Callable[..., str]
WriteSlice = Callable[..., Path]
HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><fieldOfView_mm><x>32</x><y>16</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>
<fieldOfView_mm><x>16</x><y>16</y><z>5</z></fieldOfView_mm></reconSpace>
</encoding></ismrmrdHeader>"""


def series(write_slice: WriteSlice, folder: Path, count: int, patient: str) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(str(folder)))
    for index in range(count):
        hu = rng.integers(-1000, 1500, (8, 8))
        path = write_slice(f"{index}.dcm", hu, PatientID=patient)
        path.rename(folder / f"{index}.dcm")


@pytest.fixture
def unpacked(tmp_path: Path, write_slice: WriteSlice) -> Path:
    """A few files of every collection."""
    for number in (1, 2, 3):
        patient = tmp_path / "LIDC-IDRI" / f"LIDC-IDRI-000{number}"
        series(write_slice, patient / "1.3.6" / "ct", 12, patient.name)
        series(write_slice, patient / "1.3.7" / "radiograph", 2, patient.name)
    for name, kind in (("C001", "Full Dose Images"), ("C001", "Low Dose Images")):
        folder = tmp_path / "LDCT" / name / "12-23-2021" / f"1.000000-{kind}-71581"
        series(write_slice, folder, 11, name)
    for case in ("BraTS2021_00000", "BraTS2021_00002"):
        folder = tmp_path / "BraTS" / case
        folder.mkdir(parents=True)
        for contrast in ("t1", "t1ce", "t2", "flair", "seg"):
            values = np.random.default_rng(0).uniform(0, 900, (8, 8, 3)).astype(np.float32)
            image = nib.Nifti1Image(values, np.diag([-1.0, -1, 1, 1]))
            nib.save(image, folder / f"{case}_{contrast}.nii.gz")
    folder = tmp_path / "singlecoil_train"
    folder.mkdir()
    for number, patient in (("1", "a"), ("2", "a"), ("3", "b")):
        with h5py.File(folder / f"file100000{number}.h5", "w") as file:
            file["reconstruction_esc"] = np.random.default_rng(0).uniform(0, 1e-3, (2, 8, 8))
            file["ismrmrd_header"] = HEADER
            file.attrs["patient_id"] = patient
    return tmp_path


def load(root: Path, pattern: str, cache: Path | None = None) -> Slices:
    magnitude = not pattern.startswith("l")
    low, high = (0.0, 1.0) if magnitude else (-1000.0, 1500.0)
    return load_slices(
        [pattern], root=root, side=4, low=low, high=high,
        quantity="magnitude" if magnitude else "HU", cache=cache,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "slices", "patients", "mm"),
    [
        ("lidc:LIDC-IDRI", 36, 3, None),
        ("ldct:LDCT", 11, 1, None),
        ("brats2021:BraTS", 24, 2, 2.0),
        ("fastmri:singlecoil_train", 6, 2, 4.0),
    ],
)
def test_a_collections_images_and_patients(
    unpacked: Path, pattern: str, slices: int, patients: int, mm: float | None
) -> None:
    """No radiographs, low-dose images or segmentations; spacing after reduction by 2."""
    found = load(unpacked, pattern)
    assert (len(found.images), len(set(found.patients))) == (slices, patients)
    if mm is not None:
        assert found.spacing_mm == pytest.approx(mm)


def test_shares_split_the_patients_and_nothing_else(unpacked: Path) -> None:
    whole = {images.patient for images in collected("lidc:LIDC-IDRI", unpacked)}
    cut = sorted(map(share, whole))[1]
    parts = [
        {images.patient for images in collected(f"lidc:LIDC-IDRI@{part}", unpacked)}
        for part in (f"0-{cut:.12f}", f"{cut:.12f}-1")
    ]
    assert parts[0] | parts[1] == whole
    assert not parts[0] & parts[1]


def test_several_fastmri_files_of_a_patient_stay_together(unpacked: Path) -> None:
    found = collected("fastmri:singlecoil_train", unpacked)
    assert found[0].patient == found[1].patient != found[2].patient
    assert found[0].patient != "a"


def test_shares_are_spread_evenly() -> None:
    """2,000 names: the share below 0.9 is binomial with standard deviation 0.0067 (bound: 6)."""
    below = sum(share(f"LIDC-IDRI-{i:04d}") < 0.9 for i in range(2000)) / 2000
    assert below == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("lidc:nowhere", "0 scans"),
        ("lidc:LIDC-IDRI@0.5", "NAME:FOLDER@LOW-HIGH"),
        ("lidc:LIDC-IDRI@0.9-0.5", "from 0.9 to 0.5"),
        ("lidc:LIDC-IDRI@0-0.0000001", "none in the share"),
        ("mnist:digits", "no file matches"),
    ],
)
def test_refuses(unpacked: Path, refused: Refused, pattern: str, why: str) -> None:
    assert why in refused(lambda where: load(where, pattern), unpacked)


def test_a_test_sets_file_has_no_image(unpacked: Path, refused: Refused) -> None:
    path = unpacked / "singlecoil_train" / "file1000001.h5"
    with h5py.File(path, "r+") as file:
        del file["reconstruction_esc"]
    refused(lambda where: load(unpacked, "fastmri:singlecoil_train"), path)


class TestCache:
    def test_a_second_start_reads_nothing(
        self, unpacked: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = load(unpacked, "lidc:LIDC-IDRI", unpacked / "cache")
        monkeypatch.setattr(slices_module, "read_scan", None)  # a call would fail
        start = time.perf_counter()
        second = load(unpacked, "lidc:LIDC-IDRI", unpacked / "cache")
        assert time.perf_counter() - start < 5
        assert torch.equal(first.images, second.images)
        np.testing.assert_array_equal(first.spacing_mm, second.spacing_mm)
        assert first.patients == second.patients

    def test_touched_files_are_not_read_again(
        self, unpacked: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(unpacked, "ldct:LDCT", unpacked / "cache")
        for path in (unpacked / "LDCT").rglob("*.dcm"):
            path.touch()
        monkeypatch.setattr(slices_module, "read_scan", None)
        assert len(load(unpacked, "ldct:LDCT", unpacked / "cache").images) == 11

    def test_changed_files_and_other_preprocessing_are_read(
        self, unpacked: Path, write_slice: WriteSlice
    ) -> None:
        cache = unpacked / "cache"
        before = load(unpacked, "ldct:LDCT", cache)
        path = sorted((unpacked / "LDCT").rglob("*Full*/*.dcm"))[0]
        hu = np.random.default_rng(9).integers(-1000, 1500, (8, 8))
        write_slice("new.dcm", hu).rename(path)
        after = load(unpacked, "ldct:LDCT", cache)
        assert not torch.equal(before.images[0], after.images[0])
        assert torch.equal(before.images[1:], after.images[1:])
        half = load_slices(
            ["ldct:LDCT"], root=unpacked, side=4, low=-1000.0, high=4000.0, cache=cache
        )
        assert not torch.equal(half.images, after.images)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
    def test_a_broken_cache_is_made_again(self, unpacked: Path, content: bytes) -> None:
        cache = unpacked / "cache"
        first = load(unpacked, "ldct:LDCT", cache)
        for path in cache.iterdir():
            path.write_bytes(content)
        assert torch.equal(load(unpacked, "ldct:LDCT", cache).images, first.images)
