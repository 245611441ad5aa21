"""Error bars of a reconstruction: what is asked for, its checks, and the files that hold them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.nifti import write_nifti
from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.measurements.measurement import Measurement
from medscore.numeric import is_number
from medscore.reconstruction.result import Reconstruction, body_of_image, ends_of
from medscore.reconstruction.roi import Mask, read_labels
from medscore.reconstruction.widths import Width, width_of
from medscore.uncertainty.intervals import LEVEL, check_level
from medscore.uncertainty.regions import Region
from medscore.uncertainty.table import CalibrationTable, read_table

INTERVAL: str = "interval.nii.gz"
"""Name of the file with the ends of the intervals."""

ROI_JSON, ROI_CSV = "roi.json", "roi.csv"
"""Names of the files with the regions."""

FEW = "error bars need two `samples` or more"


@dataclass(frozen=True)
class ErrorBars:
    """The error bars that are asked for.

    Attributes:
        interval: share of the pixels that intervals hold; by default 0.9, with two samples or more.
        calibration: calibration table; by default the one beside the prior.
        roi: label image of the regions whose means are stated.
        roi_above: value above which the volume of the regions is measured.
    """

    interval: float | None = None
    calibration: str | Path | None = None
    roi: Mask | None = None
    roi_above: float | None = None

    def check(self) -> None:
        """Reject values that no reconstruction could have, without reading a file.

        Raises:
            MedscoreError: an invalid value; the message names it.
        """
        if self.interval is not None:
            check_level(self.interval)
        given = self.calibration
        if given is not None and not isinstance(given, str | Path):
            raise MedscoreError(
                f"`calibration` is {given!r:.60}", hint="use the path of a calibration table"
            )
        if self.roi_above is None:
            return
        if not is_number(self.roi_above) or not np.isfinite(self.roi_above):
            raise MedscoreError(
                f"`roi_above` is {self.roi_above!r:.60}", hint="use a value of the image, as 150"
            )
        if self.roi is None:
            raise MedscoreError(
                f"`roi_above` is {self.roi_above:g}, which applies to the regions of `roi`",
                hint="set `roi`, or leave it out",
            )

    def plan(self, m: Measurement, samples: int, sha256: str) -> ErrorPlan:
        """Read and check everything before the reconstruction begins.

        Args:
            m: the measurement.
            samples: number of samples that will be drawn.
            sha256: hash of the weights of the prior; empty without one.

        Raises:
            MedscoreError: an invalid value, one sample only, a table of another prior, or a mask
                that does not fit.
        """
        self.check()
        if samples < 2:
            for name in ("interval", "calibration", "roi"):
                if getattr(self, name) is not None:
                    raise MedscoreError(f"`{name}`: {FEW}, not {samples}", hint="draw more")
            return ErrorPlan()
        table = None if self.calibration is None else read_table(Path(self.calibration), sha256)
        labels = None if self.roi is None else read_labels(self.roi, m)
        return ErrorPlan(self.interval or LEVEL, table, labels, self.roi_above)


PLAIN: ErrorBars = ErrorBars()


@dataclass(frozen=True)
class ErrorPlan:
    """The error bars that are made, checked.

    Attributes:
        level: share of the pixels that intervals hold; None without intervals.
        table: calibration table, instead of the one of the reconstruction.
        labels: labels (slices, H, W) of the regions.
        roi_above: value above which the volume of the regions is measured.
    """

    level: float | None = None
    table: CalibrationTable | None = None
    labels: NDArray[np.int64] | None = None
    roi_above: float | None = None

    def width(self, r: Reconstruction) -> Width | None:
        """The width of the intervals; None without intervals.

        Args:
            r: the reconstruction.
        """
        if self.level is None:
            return None
        return width_of(r.record, r.samples.shape[1], self.level, self.table or r.calibration)

    def regions(self, r: Reconstruction, width: Width | None) -> tuple[Region, ...]:
        """The regions with their intervals.

        Args:
            r: the reconstruction.
            width: width of the intervals, :meth:`width`.
        """
        if self.labels is None:
            return ()
        assert width is not None
        return r.regions_of_labels(self.labels, width.region_multiple, self.roi_above)


def coverage(
    r: Reconstruction, width: Width, reference: NDArray[np.float32]
) -> dict[str, float | bool]:
    """How many pixels of the body of a known image the intervals hold, for metrics.json.

    Args:
        r: the reconstruction.
        width: width of the intervals.
        reference: ground truth (slices, H, W).
    """
    low, high = ends_of(r, width)
    counted = body_of_image(r)
    inside = (low <= reference) & (reference <= high)
    return {
        "level": width.level, "calibrated": width.calibrated,
        "inside": float(inside[counted].mean()), "mean_width": float((high - low)[counted].mean()),
    }  # fmt: skip


def write_error_bars(
    folder: Path, r: Reconstruction, width: Width | None, regions: Sequence[Region],
    above: float | None = None,
) -> Mapping[str, Any]:  # fmt: skip
    """Write the intervals and the regions into an existing folder.

    Args:
        folder: folder to write into.
        r: the reconstruction.
        width: width of the intervals; None for no intervals.
        regions: the regions; none for no files of them.
        above: value above which the volume of the regions was measured.

    Returns:
        Entries of provenance.json.
    """
    if width is None:
        return {}
    m = r.measurement
    ends = np.stack(ends_of(r, width), axis=-1)
    write_nifti(folder / INTERVAL, ends, m.affine, m.source.axes, width.description)
    if regions:
        rows = [region.row() for region in regions]
        content = {
            "unit": "HU" if m.modality == "CT" else "magnitude", "level": width.level,
            "calibrated": width.calibrated, "reason": width.reason or None,
            "factor": round(width.region_factor, 5), "above": above, "regions": rows,
        }  # fmt: skip
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        atomic_write(folder / ROI_JSON, text.encode())
        out = io.StringIO()
        table = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        atomic_write(folder / ROI_CSV, out.getvalue().encode())
    return {"interval": width.record()}


def words_of(regions: Sequence[Region], width: Width, unit: str) -> list[str]:
    """One line for each region.

    Args:
        regions: the regions.
        width: width of the intervals.
        unit: unit of the image, such as "HU"; empty for none.
    """
    unit = f" {unit}" if unit else ""
    lines = []
    for region in regions:
        mean = region.mean
        text = (
            f"region {region.label}: {region.volume_ml:.4g} ml, mean {mean.mean:.5g}{unit} "
            f"[{mean.low:.5g}, {mean.high:.5g}]"
        )
        if (above := region.above) is not None:
            text += f", above {above.mean:.4g} ml [{above.low:.4g}, {above.high:.4g}]"
        lines.append(text + ("" if width.calibrated else ", uncalibrated"))
    return lines
