"""Derived series pass the independent validator of DICOM objects, dciodvfy (Debian's dicom3tools).

Sources are classic CT and MR files, enhanced multi-frame CT and MR, of any maker.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medscore.datasets.dicom.identity import read_identity
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.dicom.write import write_dicom_series

VALIDATOR = shutil.which("dciodvfy")
needs_validator = pytest.mark.skipif(VALIDATOR is None, reason="needs dciodvfy (dicom3tools)")

KNOWN = (
    "would be needed to build DICOMDIR",  # the patient and study details that are not copied
    "Rescale", "Standard Extended SOP Class",  # a rescale slope in MR, as viewers and makers use it
    "Retired Person Name form",  # of the source
    "<Laterality>",  # empty, as the body part is not copied
)  # fmt: skip
"""Warnings that are there for a reason."""


def complaints(path: Path) -> list[str]:
    """Errors and other warnings than the known ones."""
    done = subprocess.run(
        [str(VALIDATOR), str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    lines = (done.stdout + done.stderr).splitlines()
    return [
        line for line in lines
        if line.startswith("Error")
        or (line.startswith("Warning") and not any(word in line for word in KNOWN))
    ]  # fmt: skip


@pytest.fixture
def derive(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write the derived series of a source."""

    def write(source: Path, *, keep: bool = False) -> list[Path]:
        volume = read_dicom(source)
        folder = tmp_path / "derived"
        folder.mkdir()
        write_dicom_series(
            folder, volume.values, volume.affine, volume.source, modality=volume.modality,
            description="medscore sparse-ct reconstruction", version="0.1.0",
            identity=read_identity(source, volume.source) if keep else None,
        )  # fmt: skip
        again = read_dicom(folder)
        np.testing.assert_allclose(again.affine, volume.affine, atol=1e-6)
        step = float(pydicom.dcmread(folder / "0001.dcm").RescaleSlope)
        np.testing.assert_allclose(again.values, volume.values, atol=0.51 * step)
        return sorted(folder.iterdir())

    return write


@needs_validator
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm"])
def test_series_from_classic_files_are_valid(
    name: str, keep: bool, bundled: Callable[[str], Path], derive: Callable[..., list[Path]]
) -> None:
    (path,) = derive(bundled(name), keep=keep)
    assert complaints(path) == []


@needs_validator
@pytest.mark.parametrize(
    ("modality", "position"), [("CT", "FFP"), ("MR", "HFS"), ("CT", ""), ("CT", "WRONG")]
)
def test_series_from_enhanced_objects_are_valid(
    modality: str, position: str, enhanced: Callable[..., Path], derive: Callable[..., list[Path]]
) -> None:
    source = enhanced([4, 0, 2])
    ds = pydicom.dcmread(source)
    ds.Modality, ds.PatientPosition = modality, position
    ds.SOPClassUID = {"CT": pydicom.uid.EnhancedCTImageStorage,
                      "MR": pydicom.uid.EnhancedMRImageStorage}[modality]  # fmt: skip
    if modality == "MR":
        for item in ds.PerFrameFunctionalGroupsSequence:
            item.PixelValueTransformationSequence[0].RescaleIntercept = 0
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.save_as(source, enforce_file_format=True)
    files = derive(source)
    assert [complaints(path) for path in files] == [[], [], []]
    headers = [pydicom.dcmread(path) for path in files]
    assert [float(one.ImagePositionPatient[2]) for one in headers] == [0, 2, 4]
    assert {one.PatientPosition for one in headers} == {"" if position == "WRONG" else position}
    reference = headers[0].SourceImageSequence[0]
    assert reference.ReferencedSOPClassUID == ds.SOPClassUID
    assert reference.ReferencedSOPInstanceUID == ds.SOPInstanceUID


@needs_validator
def test_the_validator_would_complain(
    bundled: Callable[[str], Path], derive: Callable[..., list[Path]]
) -> None:
    """As it did before the series had a patient position."""
    (path,) = derive(bundled("CT_small.dcm"))
    ds = pydicom.dcmread(path)
    del ds.PatientPosition
    ds.save_as(path)
    assert any("PatientPosition" in line for line in complaints(path))
