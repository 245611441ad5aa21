"""What all parts of the benchmark of volumes share: settings, volumes and finished runs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from number import Number
from numpy.typing import NDArray

import medscore as ms
from medscore.datasets.fit import reduce
from medscore.datasets.volume import Volume
from medscore.io.files import atomic_write
from medscore.measurements.measurement import Measurement

VALIDATION = "ct/volumes-validation/RIDER-Pilot-0117.nii.gz"
"""The thin volume of the validation patients: 95 slices of 0.8 mm, 256 x 256."""

TRAINING = {
    "LungFCP-01-0001": 40,
    "LIDC-IDRI-0314": 60,
    "ACRIN-FLT-Breast_001": 40,
    "Lung_Dx-A0001": 24,
}
"""Volumes of the training patients with slices of 1, 2, 4.25 and 5 mm, and their first slice."""

NOISE = "poisson:1e5"

RULES = {"2.5d": "2.5d", "tv": "tv", "none": "independent slices"}
"""Rules across slices, and what tables call them."""


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement.

    Attributes:
        data: folder of the development data.
        runs: folder of finished runs.
        slices: largest number of slices of a volume; all by default.
        steps: steps of the sampler; the method's by default.
    """

    data: Path
    runs: Path
    slices: int | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished reconstruction.

    Attributes:
        values: the image in HU, (slices, H, W).
        seconds: wall time.
    """

    values: NDArray[np.float32]
    seconds: float

    def quality(self, reference: NDArray[np.float32]) -> tuple[float, float]:
        """PSNR in dB and SSIM, over the slices.

        Args:
            reference: ground truth, (slices, H, W).
        """
        found = ms.quality(self.values, reference)
        return found.psnr, found.ssim


def scanned(
    volume: Volume, task: str, views: int, size: int | None
) -> tuple[NDArray[np.float32], Measurement]:
    """The ground truth of a simulated scan, and its measurement.

    Args:
        volume: the object.
        task: name of the task.
        views: number of views.
        size: rows and columns that are reconstructed; by default the volume's.
    """
    truth = volume if size is None else reduce(volume, size)
    return truth.values, ms.simulate(volume, task, views=views, noise=NOISE, size=size)


def kept(settings: Settings, name: str, make: Callable[[], ms.Reconstruction]) -> Outcome:
    """The outcome of a reconstruction, which is made if it is not in the folder of runs.

    Args:
        settings: settings of the measurement.
        name: identifies the reconstruction among those with the same settings.
        make: computes it.
    """
    title = f"{name}-{settings.slices or 'all'}-{settings.steps or 'own'}"
    file = settings.runs / f"{title}.npz"
    if not file.exists():
        found = make()
        content = io.BytesIO()
        np.savez(content, values=found.mean, seconds=found.seconds)
        settings.runs.mkdir(parents=True, exist_ok=True)
        atomic_write(file, content.getvalue())
    with np.load(file) as archive:
        return Outcome(archive["values"], float(archive["seconds"]))


def jumps(values: NDArray[np.float32]) -> float:
    """The mean absolute difference of neighbouring slices.

    Args:
        values: (slices, H, W).
    """
    return float(np.abs(np.diff(values.astype(np.float64), axis=0)).mean())


def with_steps(settings: Settings) -> dict[str, int]:
    """The number of steps as a parameter of a reconstruction, if it is given.

    Args:
        settings: settings of the measurement.
    """
    return {} if settings.steps is None else {"steps": settings.steps}


def limited(settings: Settings, count: int) -> Settings:
    """The settings with at most a number of slices.

    Args:
        settings: settings of the measurement.
        count: largest number of slices.
    """
    return replace(settings, slices=min(count, settings.slices or count))


def rows(
    title: str, outcome: Outcome, truth: NDArray[np.float32], most: float | None = None
) -> Iterator[Number]:
    """The quality of a reconstruction, its jumps between slices, and its time.

    Args:
        title: name of the method.
        outcome: its reconstruction.
        truth: ground truth, (slices, H, W).
        most: largest ratio of the jumps to those of the truth, as a target.
    """
    psnr, ssim = outcome.quality(truth)
    yield Number(f"{title}: PSNR", psnr, "dB")
    yield Number(f"{title}: SSIM", ssim)
    ratio = jumps(outcome.values) / jumps(truth)
    yield Number(f"{title}: jumps between slices over the truth's", ratio, "", None, most)
    yield Number(f"{title}: time", outcome.seconds, "s")
