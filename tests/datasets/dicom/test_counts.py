"""A number of frames that is not that of the pixel data is refused before anything is decoded."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import JPEGLSLossless, RLELossless

from medscore.datasets.dicom.read import read_dicom

Bundled = Callable[[str], Path]
Refused = Callable[..., str]
WriteSlice = Callable[..., Path]
HELD = 3


@pytest.fixture
def lying(write_slice: WriteSlice, ramp: NDArray[np.int64], tmp_path: Path) -> Callable[..., Path]:
    """Three frames in one file that states another number."""

    def write(syntax: str, stated: int, table: str) -> Path:
        path = write_slice("a.dcm", np.concatenate([ramp] * HELD))
        ds = pydicom.dcmread(path)
        ds.Rows, ds.NumberOfFrames = len(ramp), HELD
        if syntax != "native":
            ds.compress({"RLE": RLELossless, "JPEG-LS": JPEGLSLossless}[syntax])
            frames = list(generate_frames(ds.PixelData, number_of_frames=HELD))
            if table == "extended":
                made = encapsulate_extended(frames)
                ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = made
            else:
                ds.PixelData = encapsulate(frames, has_bot=table == "basic")
        ds.NumberOfFrames = stated
        ds.save_as(path)
        return path

    return write


@pytest.mark.parametrize("stated", [HELD - 1, HELD + 1, 60_000, 2**31 - 1])
@pytest.mark.parametrize(
    ("syntax", "table"),
    [("native", ""), ("RLE", "none"), ("RLE", "basic"), ("JPEG-LS", "basic"),
     ("JPEG-LS", "extended")],
)  # fmt: skip
def test_a_false_number_of_frames_is_refused_at_once(
    lying: Callable[..., Path], refused: Refused, syntax: str, table: str, stated: int
) -> None:
    path = lying(syntax, stated, table)
    start = time.process_time()
    message = refused(read_dicom, path)
    assert f"NumberOfFrames is {stated}, but the pixel data hold {HELD}" in message
    assert time.process_time() - start < 1


def test_a_single_frame_may_not_leave_others_out(
    lying: Callable[..., Path], refused: Refused
) -> None:
    assert f"hold {HELD}" in refused(read_dicom, lying("native", 1, ""))


@pytest.mark.parametrize("stated", [HELD + 1, 60_000])
def test_more_frames_than_fragments_are_refused(
    lying: Callable[..., Path], refused: Refused, stated: int
) -> None:
    assert f"hold {HELD}" in refused(read_dicom, lying("JPEG-LS", stated, "none"))


@pytest.mark.parametrize("stated", ["-1", "99999999999999999999"])
def test_an_impossible_number_of_frames_is_refused(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64], stated: Any
) -> None:
    path = write_slice("a.dcm", ramp)
    ds = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        ds.NumberOfFrames = stated
        ds.save_as(path)
    assert refused(read_dicom, path)


def test_frames_and_their_descriptions_agree_in_number(
    lying: Callable[..., Path], refused: Refused
) -> None:
    path = lying("native", HELD, "")
    ds = pydicom.dcmread(path)
    ds.PerFrameFunctionalGroupsSequence = [pydicom.Dataset() for _ in range(HELD + 1)]
    ds.save_as(path)
    assert f"but {HELD + 1} frames are described" in refused(read_dicom, path)
