"""``medscore inspect``: the content of a file, notes about it, and the priors that fit."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medscore.cli import main
from medscore.measurements.measurement import read_measurement

Command = Callable[..., Any]


def _bundled(name: str) -> Path:
    return Path(pydicom.__file__).parent / "data" / "test_files" / name


@pytest.fixture
def look(done: Command) -> Callable[..., dict[str, Any]]:
    """The report as JSON."""

    def call(*args: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(done("inspect", *args, "--json").out)
        return found

    return call


def test_a_file_whose_name_is_no_text_is_described(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(scan, tmp_path / "a\udcff.nii.gz")
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["medscore", "inspect", str(path)])
    main()
    out.seek(0)
    assert r"a\udcff.nii.gz: nifti image" in out.read()


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder with two series, one of which lacks the third of its four slices."""
    source = pydicom.dcmread(_bundled("CT_small.dcm"))
    for uid, description, heights in (
        ("1.2.3.1", "Soft 2.0", (0, 2, 4)),
        ("1.2.3.2", "Sharp 2.0", (0, 2, 6, 8)),
    ):
        source.SeriesInstanceUID, source.SeriesDescription = uid, description
        for z in heights:
            source.ImagePositionPatient = [0, 0, z]
            source.save_as(tmp_path / f"{uid}-{z}.dcm")
    return tmp_path


def test_a_ct_file_is_described_as_its_header_says(look: Command) -> None:
    ds = pydicom.dcmread(_bundled("693_J2KI.dcm"))
    found = look(_bundled("693_J2KI.dcm"))
    assert found["what"] == "dicom image"
    assert found["facts"]["modality"] == "CT"
    assert found["facts"]["slices"] == f"1 of {ds.Columns} x {ds.Rows}"
    assert found["facts"]["voxel"].startswith(
        f"{ds.PixelSpacing[1]:.4g} x {ds.PixelSpacing[0]:.4g}"
    )
    assert "HU" in found["facts"]["values"]
    verdict = found["priors"]["ct-128"]
    assert verdict.startswith("fits on its grid of 128 x 128 pixels of 1.914 mm: ")
    assert verdict.endswith(" dB remain after resampling and back")
    assert "modality CT, not MR" in found["priors"]["mri-128"]


def test_a_prior_that_fits_is_one_that_recon_takes(
    done: Command, refused: Command, look: Command, tmp_path: Path
) -> None:
    done("simulate", _bundled("693_J2KI.dcm"), "--size", 128, "-o", tmp_path / "m.h5")
    priors = look(tmp_path / "m.h5")["priors"]
    assert priors["ct-128"] == "fits"
    assert "modality CT, not MR" in priors["mri-128"]
    message = refused("recon", tmp_path / "m.h5", "--prior", "mri-128", "-o", tmp_path / "out")
    assert "modality is CT" in message


def test_a_measurement_file_is_described(look: Command, measurement: Path) -> None:
    found, kept = look(measurement), read_measurement(measurement)
    assert found["what"] == "measurement file"
    assert found["facts"]["operator"] == repr(kept.operator)
    assert "45 of 180 views" in repr(kept.operator)
    assert found["facts"]["noise"] == kept.noise
    assert found["priors"]["ct-128"] == "fits, on its grid of 128 x 128 pixels of 1.367 mm"


def test_a_nifti_file_without_a_modality_is_guessed_and_said(look: Command, scan: Path) -> None:
    found = look(scan)
    assert found["facts"]["modality"] == "unknown"
    assert any("suggest CT" in text for text in found["noticed"])


def test_slices_that_are_not_square_fit_on_the_grid_of_a_prior(
    look: Command, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (6, 8, 3)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "mr.nii")
    found = look(tmp_path / "mr.nii")
    assert found["facts"]["slices"] == "3 of 6 x 8"
    assert found["priors"]["mri-128"] == (
        "fits on its grid of 128 x 128 pixels of 1.6 mm: nothing is lost"
    )


def test_several_series_are_listed(done: Command, look: Command, export: Path) -> None:
    assert [(s["uid"], s["files"]) for s in look(export)] == [("1.2.3.2", 4), ("1.2.3.1", 3)]
    text = done("inspect", export).out
    assert "Soft 2.0" in text
    assert "Sharp 2.0" in text


def test_a_chosen_series_is_measured_alone(
    done: Command, refused: Command, export: Path, tmp_path: Path
) -> None:
    out = ("--size", 32, "-o", tmp_path / "m.h5")
    assert "2 series" in refused("simulate", export, *out)
    done("simulate", export, "--series", "soft", *out)
    assert len(read_measurement(tmp_path / "m.h5").data) == 3


def test_a_series_with_a_gap_is_told_refused_and_resampled_when_asked(
    done: Command, refused: Command, look: Command, export: Path, tmp_path: Path
) -> None:
    noticed = " ".join(look(export, "--series", "sharp")["noticed"])
    assert "missing slices: 1, after 2 mm" in noticed
    assert "--resample" in noticed
    out = ("--series", "sharp", "--size", 32, "-o", tmp_path / "m.h5")
    assert "--resample" in refused("simulate", export, *out)
    done("simulate", export, "--resample", *out)
    assert len(read_measurement(tmp_path / "m.h5").data) == 5


def test_what_is_no_image_is_refused(refused: Command, tmp_path: Path) -> None:
    assert "no such file" in refused("inspect", tmp_path / "absent")
    shutil.copy(_bundled("rtplan.dcm"), tmp_path)
    assert "no image" in refused("inspect", tmp_path / "rtplan.dcm")


def test_the_text_names_every_fact(done: Command) -> None:
    text = done("inspect", _bundled("MR_small.dcm")).out
    assert all(f"  {name}: " in text for name in ("modality", "slices", "voxel", "prior ct-128"))
