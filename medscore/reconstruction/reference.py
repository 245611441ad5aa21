"""The ground truth of a measurement, read as the image was from which it was simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.dicom.files import list_series
from medscore.datasets.load import load_image
from medscore.datasets.recognise import count_of_channels, format_of, holds_series
from medscore.datasets.selection import WHOLE
from medscore.datasets.volume import Volume, align
from medscore.errors import MedscoreError
from medscore.io.opening import file_or_folder
from medscore.measurements.measurement import Measurement

Reference = Volume | NDArray[np.floating] | str | Path


@dataclass(frozen=True)
class ReferenceChoice:
    """What is read of a reference, where it shall differ from what the measurement was made of.

    Attributes:
        series: DICOM series of a folder with several, or patient of an archive of arrays.
        resample: whether uneven or tilted DICOM slices are interpolated.
        channel: volume of a 4-D file.
        accept: kinds of images that are used although they are no magnitudes or CT numbers.
    """

    series: str | None = None
    resample: bool | None = None
    channel: int | None = None
    accept: str | Sequence[str] = ()


RECORDED: ReferenceChoice = ReferenceChoice()
"""Everything as the measurement records it."""


def reference_values(
    reference: Reference | None, m: Measurement, choice: ReferenceChoice = RECORDED
) -> NDArray[np.float32] | None:
    """The ground truth of a measurement, (slices, H, W).

    Args:
        reference: a volume, an array (slices, H, W), or the path of an image, which is read,
            reduced to the measurement's image where that is square, and aligned with it.
        m: the measurement.
        choice: what is read of the file, where it differs from what the measurement records.

    Raises:
        MedscoreError: an image that does not match, an array of another shape, or a choice without
            a file.
    """
    check_choice(reference, choice)
    if reference is None:
        return None
    if isinstance(reference, str | Path):
        volume = _read(Path(reference), m, choice)
        return align(volume, m.affine, m.slices, Path(reference)).values
    if isinstance(reference, Volume):
        return align(reference, m.affine, m.slices, Path("reference")).values
    values = np.asarray(reference)
    if values.dtype.kind not in "iuf":
        raise MedscoreError(
            f"`reference` is {reference!r:.80}", hint="use a path, a Volume or an array of numbers"
        )
    values = values.astype(np.float32)
    expected = (m.slices, *m.size)
    if values.shape != expected:
        raise MedscoreError(
            f"`reference` has shape {values.shape}, the reconstruction {expected}",
            hint="use an array of slices x rows x columns on the grid of the measurement",
        )
    return values


def check_choice(reference: Reference | None, choice: ReferenceChoice) -> None:
    """Reject a choice without a file that it applies to.

    Args:
        reference: as for :func:`reference_values`.
        choice: what is read of the file.

    Raises:
        MedscoreError: something is chosen, but the reference is no file.
    """
    if not isinstance(reference, str | Path) and choice != RECORDED:
        (name,) = [n for n, v in vars(choice).items() if v != getattr(RECORDED, n)][:1]
        raise MedscoreError(
            f"`{name}` applies to the file of a `reference`",
            hint="set `reference`, or leave it out",
        )


def _read(path: Path, m: Measurement, choice: ReferenceChoice) -> Volume:
    """Read a file as chosen, else as the measurement records it where the file has that choice."""
    taken, series, channel, resample = (
        m.source.taken,
        choice.series,
        choice.channel,
        choice.resample,
    )
    kind = format_of(file_or_folder(path))
    if channel is None and count_of_channels(path) > (taken.channel or 0):
        channel = taken.channel
    if series is None and holds_series(path):
        own = m.source.uids.get("SeriesInstanceUID")
        series = own if any(s.uid == own for s in list_series(path)) else None
    if resample is None:
        resample = taken.resample and kind == "dicom"
    of_array = taken if kind == "array" else WHOLE
    rows, columns = m.size
    return load_image(
        path, modality=m.modality, size=columns if rows == columns else None, series=series,
        resample=resample, channel=channel, accept=choice.accept or taken.accept,
        array=of_array.array, spacing=of_array.spacing,
        slices=of_array.slices if series is None else None,
    )  # fmt: skip
