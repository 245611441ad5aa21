"""Every CT and MR file that pydicom ships is read with pydicom's rescaled values, or rejected."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_rescale

from medscore.datasets.dicom.files import list_series
from medscore.datasets.dicom.form import is_dicom
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.volume import AIR
from medscore.errors import MedscoreError

Refused = Callable[..., str]
FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"
REFUSED = {"MR_truncated.dcm": "less than expected"}


def _files() -> list[Path]:
    found = []
    for path in sorted(p for p in FOLDER.iterdir() if p.is_file() and is_dicom(p)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:  # broken on purpose, of no modality
            continue
        if header.get("Modality") in ("CT", "MR"):
            found.append(path)
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.name)
def test_a_file_is_read_as_pydicom_rescales_it(path: Path, refused: Refused) -> None:
    if path.name in REFUSED:
        assert REFUSED[path.name] in refused(read_dicom, path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        expected = np.asarray(apply_rescale(ds.pixel_array, ds), dtype=float)
    if ds.Modality == "CT" and "PixelPaddingValue" in ds:
        expected[ds.pixel_array == ds.PixelPaddingValue] = AIR
    np.testing.assert_allclose(read_dicom(path).values.squeeze(), expected, rtol=1e-6)


def _series() -> list[tuple[Path, str]]:
    folders = sorted(p for p in (FOLDER / "dicomdirtests").iterdir() if p.is_dir())
    return [
        (folder, s.uid) for folder in folders for s in list_series(folder)
        if s.modality in ("CT", "MR")
    ]  # fmt: skip


@pytest.mark.parametrize(("folder", "uid"), _series())
def test_a_series_of_an_export_is_read_whole_or_refused(
    folder: Path, uid: str, refused: Refused
) -> None:
    (series,) = [s for s in list_series(folder) if s.uid == uid]
    try:
        volume = read_dicom(folder, series=uid)
    except MedscoreError:
        assert refused(read_dicom, folder, series=uid)  # one line, the file, a hint
        return
    assert len(volume.values) == len(series.files)
    found = {str(pydicom.dcmread(f).SOPInstanceUID) for f in series.files}
    assert set(volume.source.instances) == found
