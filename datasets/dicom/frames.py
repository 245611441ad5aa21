"""Frames of DICOM files: the image of a file, or each frame of an enhanced multi-frame object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from medscore.datasets.dicom.counts import frame_count
from medscore.datasets.dicom.jpeg12 import decode_12_bit, is_12_bit
from medscore.datasets.dicom.uids import valid
from medscore.datasets.volume import AIR
from medscore.errors import MedscoreError, reason

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """Position of one image, and the meaning of its stored numbers.

    Attributes:
        path: its file.
        number: index of the frame in the file.
        position: centre of the first pixel in LPS mm; ``None`` where it is not recorded.
        cosines: (2, 3) unit vectors along a row and down a column, LPS.
        spacing: distance between rows and between columns in mm.
        step: distance to the next slice in mm, by the header.
        slope: factor from stored numbers to the scanner's unit.
        intercept: offset from stored numbers to the scanner's unit.
        instance: SOPInstanceUID.
    """

    path: Path
    number: int
    position: Vector | None
    cosines: Vector
    spacing: tuple[float, float]
    step: float
    slope: float
    intercept: float
    instance: str

    @property
    def normal(self) -> Vector:
        """Unit vector across the slice, LPS."""
        normal: Vector = np.cross(self.cosines[0], self.cosines[1])
        return normal


def frames(path: Path, dataset: Dataset) -> list[Frame]:
    """List the frames of a file.

    Args:
        path: the file.
        dataset: its content.

    Raises:
        MedscoreError: there is no image, a colour image, no pixel spacing, no valid orientation or
            rescaling, or there are several frames without positions.
    """
    if "PixelData" not in dataset:
        raise MedscoreError(
            "holds no image (no PixelData), or is truncated", where=path, hint="export it again"
        )
    photometric = str(dataset.get("PhotometricInterpretation", "") or "").strip(" \0")
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or photometric in COLOURS:
        raise MedscoreError(
            f"is a colour image ({photometric})",
            where=path,
            hint="use a greyscale CT or MR image",
        )
    count = frame_count(path, dataset)
    found = [_frame(path, dataset, number) for number in range(count)]
    if count > 1 and any(frame.position is None for frame in found):
        raise MedscoreError(
            f"is a multi-frame object whose {count} frames have no positions",
            where=path,
            hint="export it as enhanced CT or MR, or as one file per slice",
        )
    return found


COLOURS = ("PALETTE COLOR", "RGB", "ARGB", "HSV", "CMYK")
"""Photometric interpretations that are colours even with one sample per pixel."""

DECODERS = {
    JPEGBaseline8Bit: "pillow",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
}
"""Decoders by transfer syntax. Otherwise gdcm would be the first choice, which ends the interpreter
on some damaged JPEG 2000 files."""

GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
"""Sequences that describe the frames of enhanced objects; either may be missing."""

FRAGILE = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
"""Transfer syntaxes that only gdcm decodes; such files are decoded in a child process first."""


def decode(
    path: Path, dataset: Dataset, chosen: Sequence[Frame]
) -> tuple[NDArray[np.float32], list[str]]:
    """Decode the frames of a file.

    Padding becomes air in CT, and 0 in MR.

    Grey values that are displayed inverted (MONOCHROME1, DICOM PS3.3
    C.7.6.3.1.2) are inverted, except in CT, whose numbers are HU however they are displayed. The
    stored number v becomes 2^b - 1 - v, with b bits without that of the sign, whatever a slice
    holds, so that slices of a series stay comparable.

    Args:
        path: the file.
        dataset: its content.
        chosen: frames to decode.

    Returns:
        Values (frames, rows, columns) in the scanner's unit, in the order of ``chosen``, and notes
        on what was changed.

    Raises:
        MedscoreError: the pixels cannot be decoded.
    """
    try:
        syntax = dataset.file_meta.TransferSyntaxUID
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        if is_12_bit(dataset):
            stored: NDArray[Any] = decode_12_bit(dataset, count)
        else:
            stored = pixel_array(dataset, decoding_plugin=DECODERS.get(syntax, ""))
        raw = stored.reshape(count, *stored.shape[-2:])[[frame.number for frame in chosen]]
        ct = dataset.get("Modality") == "CT"
        padded = _padded(dataset, raw)
        inverted = str(dataset.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1"
        if inverted and not ct:
            bits = int(dataset.BitsStored) - int(dataset.PixelRepresentation)
            raw = 2**bits - 1 - raw.astype(np.int64)
        if "ModalityLUTSequence" in dataset:
            values = np.asarray(apply_modality_lut(raw, dataset), dtype=np.float32)
        else:
            values = np.empty(raw.shape, dtype=np.float32)
            for image, grey, frame in zip(values, raw, chosen, strict=True):
                np.multiply(grey, frame.slope, out=image, casting="unsafe")
                image += frame.intercept
    except Exception as error:  # decoders raise anything; it always means unreadable pixels
        raise MedscoreError(
            f"the pixels cannot be decoded ({reason(error)})",
            where=path,
            hint="the file is truncated or its compression is not supported: export it again",
        ) from error
    notes: list[str] = []
    if padded is not None and padded.any():
        values[padded] = AIR if ct else 0
        notes.append(f"pixels with the padding value were set to {'air' if ct else '0'}")
    if inverted:
        notes.append(
            "displayed inverted (MONOCHROME1): "
            + ("HU are kept" if ct else "the values were inverted")
        )
    return values, notes


def _frame(path: Path, dataset: Dataset, number: int) -> Frame:
    spacing: Any = _value(dataset, number, "PixelMeasuresSequence", "PixelSpacing") or ()
    if len(spacing) != 2 or not min(spacing) > 0 or not math.isfinite(sum(spacing)):
        raise MedscoreError(
            "has no PixelSpacing",
            where=path,
            hint="export it with the pixel spacing, which line integrals need",
        )
    direction = _value(dataset, number, "PlaneOrientationSequence", "ImageOrientationPatient")
    cosines = np.array(direction or (1, 0, 0, 0, 1, 0), dtype=float).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=1e-2):
        raise MedscoreError(
            "ImageOrientationPatient is not two perpendicular unit vectors",
            where=path,
            hint="export it again",
        )
    position = _value(dataset, number, "PlanePositionSequence", "ImagePositionPatient")
    slope = _number(dataset, number, "RescaleSlope", 1.0)
    intercept = _number(dataset, number, "RescaleIntercept", 0.0)
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        raise MedscoreError(
            f"RescaleSlope {slope:g} or RescaleIntercept {intercept:g} is invalid",
            where=path,
            hint="export it again",
        )
    measures = "PixelMeasuresSequence"
    step = _value(dataset, number, measures, "SpacingBetweenSlices") or _value(
        dataset, number, measures, "SliceThickness"
    )
    return Frame(
        path=path,
        number=number,
        position=None if position is None else np.array(position, dtype=float),
        cosines=cosines,
        spacing=(float(spacing[0]), float(spacing[1])),
        step=abs(float(step or 1)) or 1.0,
        slope=slope,
        intercept=intercept,
        instance=valid(dataset.get("SOPInstanceUID", "")),
    )


def _value(dataset: Dataset, number: int, group: str, keyword: str) -> Any:
    """Element of a frame: from its functional group, the shared one, or the whole file."""
    if not any(sequence in dataset for sequence in GROUPS):
        several = int(dataset.get("NumberOfFrames", 1) or 1) > 1
        return None if several and keyword == "ImagePositionPatient" else dataset.get(keyword)
    for sequence, index in zip(GROUPS, (number, 0), strict=True):
        items = dataset.get(sequence) or ()
        inner = items[index].get(group) if index < len(items) else None
        if inner and inner[0].get(keyword) is not None:
            return inner[0].get(keyword)
    return None if keyword == "ImagePositionPatient" else dataset.get(keyword)


def _number(dataset: Dataset, number: int, keyword: str, otherwise: float) -> float:
    found = _value(dataset, number, "PixelValueTransformationSequence", keyword)
    return otherwise if found is None or found == "" else float(found)


def _padded(dataset: Dataset, raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Mask of stored numbers that are padding: one value, or a range up to a limit."""
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    low, high = (int(value) for value in (padding, limit))
    if raw.dtype.kind == "i":  # some files state the bits of a negative number as unsigned
        bits = 2 ** (8 * raw.dtype.itemsize)
        low, high = (value - bits if value >= bits // 2 else value for value in (low, high))
    low, high = sorted((low, high))
    padded: NDArray[np.bool_] = (raw >= low) & (raw <= high)
    return padded
