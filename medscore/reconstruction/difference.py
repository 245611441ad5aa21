"""Two reconstructions of one measurement, by two priors or contrasts, compared pixel by pixel.

What two priors agree on may still be wrong, but what they disagree on beyond their own intervals is
decided by neither the data nor the samples: at least one of them is wrong about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.nifti import read_nifti
from medscore.datasets.volume import Volume
from medscore.errors import MedscoreError
from medscore.io.json_files import read_object
from medscore.io.opening import is_there
from medscore.reconstruction.error_bars import INTERVAL
from medscore.reconstruction.result import Reconstruction, body_of_values
from medscore.uncertainty.intervals import LEVEL

RECON, RECORD = "recon.nii.gz", "provenance.json"
"""Files of a reconstruction."""

SAME = ("measurement_sha256", "source_sha256", "task", "noise")
"""Entries of provenance.json that reconstructions of one measurement share."""


@dataclass(frozen=True)
class Side:
    """One of two reconstructions.

    Attributes:
        mean: the reconstruction (slices, H, W), in HU or as magnitudes.
        low: lower ends of its intervals.
        high: upper ends.
    """

    mean: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True)
class Difference:
    """The difference of two reconstructions.

    Attributes:
        values: first minus second (slices, H, W).
        apart: pixels of the body whose intervals do not overlap.
        share: share of the pixels of the body whose intervals do not overlap.
        rms: root mean square difference in the body, in the unit of the images.
    """

    values: NDArray[np.float32]
    apart: NDArray[np.bool_]
    share: float
    rms: float

    @property
    def words(self) -> str:
        """The difference in one line."""
        return (
            f"the intervals of {100 * self.share:.3g} % of the body's pixels do not overlap; root "
            f"mean square difference {self.rms:.4g}"
        )

    def record(self) -> dict[str, Any]:
        """The difference for JSON."""
        return {"share_apart": round(self.share, 6), "rms": float(f"{self.rms:.6g}")}


def difference_of(first: Side, second: Side, body: NDArray[np.bool_]) -> Difference:
    """The difference of two reconstructions.

    Args:
        first: one reconstruction.
        second: the other one.
        body: pixels (slices, H, W) that count.
    """
    values = first.mean - second.mean
    apart = body & ((first.low > second.high) | (second.low > first.high))
    rms = float(np.sqrt((values[body].astype(np.float64) ** 2).mean()))
    return Difference(values, apart, float(apart.sum() / body.sum()), rms)


def difference(first: Reconstruction, second: Reconstruction, level: float = LEVEL) -> Difference:
    """The difference of two reconstructions of one measurement, by two priors or contrasts.

    Args:
        first: one reconstruction, of two samples or more.
        second: the other one.
        level: level of the intervals.

    Raises:
        MedscoreError: they are not of one measurement, or have one sample.
    """
    a, b = first.measurement, second.measurement
    same = a.data.shape == b.data.shape and np.array_equal(a.data, b.data)
    if not same or a.size != b.size or not np.allclose(a.affine, b.affine):
        raise MedscoreError(
            "the reconstructions are of different measurements",
            hint="reconstruct one measurement with two priors or contrasts",
        )
    one, other = (Side(each.mean, *each.interval(level)) for each in (first, second))
    body = body_of_values(first.mean, a.modality) | body_of_values(second.mean, a.modality)
    return difference_of(one, other, body)


def difference_of_folders(first: str | Path, second: str | Path) -> tuple[Difference, Volume]:
    """The difference of two reconstructions that were written into folders.

    Args:
        first: folder of one reconstruction, with two samples or more.
        second: folder of the other one.

    Returns:
        The difference, and the first reconstruction, whose grid it has.

    Raises:
        MedscoreError: a folder has no reconstruction or no intervals, or they are of different
            measurements or levels.
    """
    folders = [Path(first), Path(second)]
    records = [_record(folder) for folder in folders]
    for name in SAME:
        values = [record.get(name) for record in records]
        if values[0] != values[1]:
            raise MedscoreError(
                f"is of another measurement than {folders[0]}: its {name} differs",
                where=folders[1], hint="reconstruct one measurement with two priors or contrasts",
            )  # fmt: skip
    levels = [record["interval"]["level"] for record in records]
    if levels[0] != levels[1]:
        raise MedscoreError(
            f"has intervals of level {levels[1]:g}, and {folders[0]} of {levels[0]:g}",
            where=folders[1], hint="reconstruct both with the same `interval`",
        )  # fmt: skip
    volumes = [read_nifti(folder / RECON) for folder in folders]
    if volumes[0].values.shape != volumes[1].values.shape:
        raise MedscoreError(
            f"has shape {volumes[1].values.shape}, not {volumes[0].values.shape}",
            where=folders[1] / RECON, hint="reconstruct one measurement twice",
        )  # fmt: skip
    one, other = (
        Side(volume.values, *(read_nifti(folder / INTERVAL, channel=k).values for k in (0, 1)))
        for volume, folder in zip(volumes, folders, strict=True)
    )
    modality = "CT" if volumes[0].values.min() < 0 else "MR"
    body = body_of_values(volumes[0].values, modality)
    return difference_of(one, other, body | body_of_values(volumes[1].values, modality)), volumes[0]


def _record(folder: Path) -> dict[str, Any]:
    hint = "use the output of `medscore recon` with two samples or more"
    for name in (RECON, INTERVAL, RECORD):
        if not is_there(folder / name):
            raise MedscoreError(f"holds no {name}", where=folder, hint=hint)
    record = read_object(folder / RECORD, hint=hint)
    if not isinstance(record.get("interval"), dict) or "level" not in record["interval"]:
        raise MedscoreError("states no interval", where=folder / RECORD, hint=hint)
    return record
