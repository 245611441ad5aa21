"""Nested folders with several series: the list of series, and the choice of one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.dicom.files import list_series
from medscore.datasets.dicom.read import read_dicom

Bundled = Callable[[str], Path]
Refused = Callable[..., str]
WriteSlice = Callable[..., Path]
LUNG, BONE = "1.2.3.70", "1.2.3.71"


@pytest.fixture
def export(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> Path:
    """Two series in folders of their own, a report, and a text."""
    for k in range(3):
        for uid, description, number in ((LUNG, "Lung 1.25", 3), (BONE, "Bone plus", 2)):
            path = write_slice(
                f"{number}-{k}.dcm", ramp + 100 * number, SeriesInstanceUID=uid,
                SeriesDescription=description, SeriesNumber=number,
                ImagePositionPatient=[0, 0, 2 * k],
            )  # fmt: skip
            folder = path.parent / "study" / description
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
    top = path.parent
    (top / "readme.txt").write_text("an export")
    report = write_slice(
        "report.dcm", ramp, SeriesInstanceUID="1.2.3.72", Modality="SR", Rows=None,
        SeriesDescription="Bone report",
    )  # fmt: skip
    assert report.parent == top
    return top


def test_every_series_is_listed_by_number(export: Path) -> None:
    found = list_series(export)
    assert [(s.description, s.modality, len(s.files), s.image) for s in found] == [
        ("Bone report", "SR", 1, False), ("Bone plus", "CT", 3, True), ("Lung 1.25", "CT", 3, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "first"),
    [(LUNG, -700), (BONE, -800), ("Lung 1.25", -700), ("lung", -700), ("PLUS", -800),
     ("bone", -800)],
)  # fmt: skip
def test_a_series_is_chosen_by_uid_or_description(export: Path, wanted: str, first: int) -> None:
    volume = read_dicom(export, series=wanted)
    assert volume.values.shape == (3, 8, 6)
    assert volume.values[0, 0, 0] == first


@pytest.mark.parametrize(
    ("wanted", "words"),
    [(None, ["2 series", "Lung 1.25", "Bone plus"]), ("knee", ["0 series", "knee"]),
     ("n", ["2 series", "'n'"])],
)  # fmt: skip
def test_no_series_is_guessed(
    export: Path, refused: Refused, wanted: str | None, words: list[str]
) -> None:
    message = refused(read_dicom, export, series=wanted)
    assert all(word in message for word in words)


def test_reports_alone_are_no_image(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64]
) -> None:
    path = write_slice("report.dcm", ramp, Modality="SR", Rows=None)
    assert "no image" in refused(read_dicom, path.parent)


def test_the_index_of_an_export_is_passed_over(bundled: Bundled) -> None:
    found = list_series(bundled("dicomdirtests"))
    assert sum(len(s.files) for s in found) >= 81
    assert all("DICOMDIR" not in path.name for s in found for path in s.files)
    assert {s.modality for s in found} >= {"CT", "MR"}
