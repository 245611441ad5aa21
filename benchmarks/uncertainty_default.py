"""The default against DiffPIR, the preset ``sharpest``, on real slices: quality, error bars, time.

In MRI the default is DiffPIR too, but its samples are pairs of opposite noise.

The slices are those on which benchmarks/uncertainty_coverage.py judges the intervals, and both
methods draw eight samples. The mean squared error is that of their mean over the pixels of the
body; the continuous ranked probability score (CRPS) judges the samples as a distribution. The time
of a slice is the median of three runs of each method, one after the other, after one run of each.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np
from number import Number
from pydicom.data import get_testdata_file
from uncertainty_coverage import COMPARISONS, are_there, errors
from uncertainty_settings import Settings

import medscore as ms
from medscore.evaluation.slice_errors import SliceErrors

TIMED = {
    "CT, 23 views": ("693_J2KI.dcm", "ct-128", "sparse-ct", {"views": 23, "noise": "poisson:1e5"}),
}
"""The file of pydicom, the prior, the task and its settings of each comparison of times."""

ROUNDS = 3


def numbers(settings: Settings) -> Iterator[Number]:
    """All numbers of this part; cohorts that are not in the data folder are left out.

    Args:
        settings: settings of the measurement.
    """
    for name, cohort in COMPARISONS.items():
        if not are_there(name, settings, cohort):
            continue
        ours, theirs = (errors(name, settings, cohort, each) for each in (None, "sharpest"))
        for family in ours:
            title = f"{name.removeprefix('calibrate-')}, {family}"
            yield from compared(title, ours[family], theirs[family])
    yield from times()


def compared(title: str, ours: list[SliceErrors], theirs: list[SliceErrors]) -> Iterator[Number]:
    """The errors of a family, slice by slice.

    Args:
        title: name of the family.
        ours: slices of the default.
        theirs: the same slices of DiffPIR.
    """
    pairs = list(zip(ours, theirs, strict=True))
    gain = np.mean([10 * np.log10(np.mean(b.error**2) / np.mean(a.error**2)) for a, b in pairs])
    score = np.mean([a.crps.mean() / b.crps.mean() for a, b in pairs])
    yield Number(f"{title}: PSNR of the mean over that of DiffPIR", float(gain), "dB", -0.1)
    yield Number(f"{title}: CRPS over that of DiffPIR", float(score), "", None, 1.0)


def times() -> Iterator[Number]:
    """The time of a slice of eight samples over that of DiffPIR, in float32."""
    for title, (file, prior, task, given) in TIMED.items():
        scan = ms.simulate(ms.load_image(get_testdata_file(file), size=128), task, **given)
        seconds: dict[str, list[float]] = {"fast": [], "sharpest": []}
        for _ in range(ROUNDS + 1):
            for preset, each in seconds.items():
                found = ms.reconstruct(scan, prior, samples=8, preset=preset, precision="float32")
                each.append(found.seconds)
        ratio = statistics.median(seconds["fast"][1:]) / statistics.median(seconds["sharpest"][1:])
        yield Number(f"{title}: time over that of DiffPIR", ratio, "x", None, 1.5)
