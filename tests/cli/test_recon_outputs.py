"""Optional outputs of ``recon``: samples, preview images and patient identity."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import pytest
from PIL import Image

from medscore.datasets.nifti import read_nifti
from medscore.metrics.image_quality import CT_CONVENTION, qualities
from medscore.reconstruction.preview import TITLE, bar_length, picture

Command = Callable[..., Any]
Args = list[object]
IDENTITY = {"PatientName": "Doe^Jane", "PatientID": "X-77", "StudyDate": "20200102"}


@pytest.fixture(scope="module")
def named(dicom_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM scan with patient attributes."""
    ds = pydicom.dcmread(dicom_scan)
    for tag, value in IDENTITY.items():
        setattr(ds, tag, value)
    path = tmp_path_factory.mktemp("named") / "scan.dcm"
    ds.save_as(path)
    return path


@pytest.fixture(scope="module")
def measured(done: Command, named: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("named") / "m.h5"
    done("simulate", named, "--size", 32, "--views", 36, "-o", path)
    return path


def test_samples_lie_in_one_file(done: Command, recon_args: Args, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(*recon_args, "--samples", 2, "--hdf5", "--seed", 5, "-o", out)
    with h5py.File(out / "samples.h5") as file:
        assert dict(file.attrs)["unit"] == "HU"
        assert file.attrs["seed"] == 5
        samples, mean, std = (file[name][()] for name in ("samples", "mean", "std"))
        affine = file["affine"][()]
    assert samples.shape == (2, 2, 32, 32)
    recon = read_nifti(out / "recon.nii.gz")
    np.testing.assert_allclose(mean, recon.values, atol=1e-2)
    np.testing.assert_allclose(affine, recon.affine, atol=1e-5)
    np.testing.assert_allclose(std, samples.std(1, ddof=1), atol=1e-2)


@pytest.mark.slow
def test_derived_dicom_says_whose_it_is_only_when_asked(
    done: Command, prior: Path, named: Path, measured: Path, tmp_path: Path
) -> None:
    args = ("recon", measured, "--prior", prior, "--steps", 4, "--hdf5")
    done(*args, "-o", tmp_path / "without")
    done(*args, "--keep-identity", named, "-o", tmp_path / "with")
    without = pydicom.dcmread(tmp_path / "without" / "dicom" / "0001.dcm")
    kept = pydicom.dcmread(tmp_path / "with" / "dicom" / "0001.dcm")
    assert (without.PatientName, without.PatientIdentityRemoved) == ("", "YES")
    assert kept.PatientIdentityRemoved == "NO"
    assert {tag: str(kept[tag].value) for tag in IDENTITY} == IDENTITY
    assert "DeidentificationMethod" not in kept
    for path in [measured, *tmp_path.rglob("*")]:
        if path.is_file() and path != tmp_path / "with" / "dicom" / "0001.dcm":
            content = path.read_bytes()
            assert not any(value.encode() in content for value in IDENTITY.values()), path


def test_identity_is_taken_from_the_study_alone(
    refused: Command, prior: Path, measured: Path, recon_args: Args, named: Path, tmp_path: Path
) -> None:
    other = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm"
    args = ("recon", measured, "--prior", prior, "--steps", 4, "-o", tmp_path / "out")
    assert "another study" in refused(*args, "--keep-identity", other)
    assert "no such file" in refused(*args, "--keep-identity", tmp_path / "none")
    assert "not made from DICOM" in refused(
        *recon_args, "--keep-identity", named, "-o", tmp_path / "out"
    )


def test_a_window_is_shown_as_asked(done: Command, recon_args: Args, tmp_path: Path) -> None:
    done(*recon_args, "--window=-100,300", "-o", tmp_path / "out")
    recon = read_nifti(tmp_path / "out" / "recon.nii.gz").values[0]
    shown = np.asarray(Image.open(tmp_path / "out" / "preview.png"), dtype=float)
    second = shown[TITLE : TITLE + 256, 256:512][4::8, 4::8]
    np.testing.assert_allclose(second, np.clip((recon + 100) / 400, 0, 1) * 255, atol=1)


@pytest.mark.parametrize("samples", [1, 2])
def test_a_card_stands_beside_every_row(
    done: Command, recon_args: Args, scan: Path, tmp_path: Path, samples: int
) -> None:
    out = tmp_path / "out"
    done(*recon_args, "--steps", 2, "--samples", samples, "--reference", scan, "-o", out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics) == ["convention", "rows", "cards"] + ["interval"] * (samples > 1)
    assert len(metrics["cards"]) == len(metrics["rows"]) == samples + 1
    reference, recon = read_nifti(scan).values, read_nifti(out / "recon.nii.gz").values
    each = qualities(recon, reference, CT_CONVENTION)
    for row, card in zip(metrics["rows"], metrics["cards"], strict=True):
        assert card["method"] == row["method"]
        assert card["psnr"]["mean"] == row["psnr"]
        assert card["ssim"]["mean"] == row["ssim"]
        assert card["convention"] == metrics["convention"] == str(CT_CONVENTION)
        assert (card["count"], card["groups"]) == (2, None)
        assert "reference" in card["target"]
    psnr = [q.psnr for q in each]
    assert card["psnr"]["std"] == pytest.approx(np.std(psnr, ddof=1), rel=1e-3)
    assert card["psnr"]["interval"] == pytest.approx(sorted(psnr), abs=1e-3)
    assert card["nmse"]["mean"] == pytest.approx(np.mean([q.nmse for q in each]), rel=1e-3)


@pytest.mark.parametrize("window", ["5", "1,1", "a,b", "3,2", "0,nan"])
def test_refuses_a_window(refused: Command, recon_args: Args, tmp_path: Path, window: str) -> None:
    assert "--window" in refused(*recon_args, f"--window={window}", "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("field_of_view", "mm"), [(256.0, 50), (350.0, 100), (90.0, 20), (30.0, 10), (2.0, 0.5)]
)
def test_the_bar_is_round_and_at_most_a_third(field_of_view: float, mm: float) -> None:
    assert bar_length(field_of_view) == pytest.approx(mm)


def test_the_bar_is_as_long_as_it_says() -> None:
    """For 64 pixels of 3 mm, enlarged four times, 50 mm are 66.7 pixels of the preview."""
    shown = np.asarray(picture({"one": np.zeros((1, 64, 64))}, (-1.0, 1.0), 3.0))
    row = shown[-8, :256] == 255
    assert row.sum() in (66, 67, 68)
