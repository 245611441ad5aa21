"""The demonstration: sparse-view scans of two real CT slices, reconstructed at 512 x 512."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pydicom
from PIL import Image

from medscore.datasets.load import load_image
from medscore.engine.loop import StepInfo
from medscore.errors import MedscoreError
from medscore.io.files import atomic_folder
from medscore.measurements.measurement import Measurement, write_measurement
from medscore.measurements.simulation import simulate
from medscore.metrics.image_quality import quality
from medscore.reconstruction.method import Run
from medscore.reconstruction.outcome import BOUND, Outcome, Row
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.saving import reconstruct_file
from medscore.registry.presets import choose
from medscore.registry.settings import DEFAULTS

IMAGES = ("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm")
"""Two head CT slices of 512 x 512 pixels from pydicom's test files."""

NOISE = "poisson:1e5"
"""Noise of the scan: photons per ray."""

TV_WEIGHT, TV_ITERATIONS = 3e-5, 100
"""Total variation that the reconstruction is compared with; the weight is good for these images."""

SECONDS, FEWEST = 30.0, 14
"""Time that the steps of a sample may take, and the least number of steps, on a slow machine."""


Progress = Callable[[str], AbstractContextManager[Callable[[StepInfo], None] | None]]
"""Context that yields a function to be called after every sampling step, by the image's name."""


@dataclass(frozen=True)
class Demo:
    """The result of the demonstration.

    Attributes:
        rows: rows of the results table, by image.
        fewer: number of steps, if it is smaller than the preset's because the machine is slow.
    """

    rows: dict[str, list[Row]]
    fewer: int | None = None

    def gains(self) -> dict[str, float]:
        """Mean gain in PSNR (dB) of the last method over every other, by its name."""
        found = [
            {row.method: row.psnr for row in rows if row.method != BOUND}
            for rows in self.rows.values()
        ]
        *others, ours = found[0]
        return {name: float(np.mean([f[ours] - f[name] for f in found])) for name in others}


def image_paths() -> list[Path]:
    """Paths of the demonstration's images, which are part of pydicom; nothing is downloaded.

    Raises:
        MedscoreError: the installed pydicom does not contain them.
    """
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    paths = [folder / name for name in IMAGES]
    for path in paths:
        if not path.is_file():
            raise MedscoreError(
                "the installed pydicom does not contain this image",
                where=path,
                hint="install pydicom from PyPI",
            )
    return paths


def demo(
    output: str | Path,
    *,
    views: int = 90,
    size: int | None = None,
    steps: int | None = None,
    samples: int = 1,
    seed: int = 0,
    progress: Progress = lambda name: nullcontext(),
) -> Demo:
    """Simulate, reconstruct and assess each image, and write the results into a new folder.

    Args:
        output: folder to create.
        views: number of views of the sparse scan.
        size: rows and columns of the reconstruction; by default those of the image, 512.
        steps: number of steps of the time grid; by default the preset's, or fewer if these would
            take longer than ``SECONDS`` for a sample.
        samples: number of posterior samples per slice.
        seed: seed of all random draws.
        progress: shows the progress of an image, given its name.

    Raises:
        MedscoreError: an invalid parameter, or the folder exists.
    """
    choose(steps=steps, samples=samples, seed=seed).check()  # before anything slow
    rows, previews, fewer = {}, [], None
    with atomic_folder(Path(output)) as folder:
        for path in image_paths():
            target, measurement = folder / path.stem, folder / f"{path.stem}.h5"
            image = load_image(path, modality="CT")
            made = simulate(image, "sparse-ct", views=views, noise=NOISE, seed=seed, size=size)
            write_measurement(measurement, made)
            if steps is None:
                steps = affordable_steps(made)
                fewer = steps if steps < DEFAULTS.steps else None
            method = choose_method(steps=steps, samples=samples, seed=seed)
            with progress(path.stem) as on_step:
                outcome = reconstruct_file(
                    measurement, target, method, reference=path, keep_state=False, on_step=on_step
                )
            first, *others = outcome.rows()
            rows[path.stem] = [first, total_variation(outcome), *others]
            previews.append(np.asarray(Image.open(target / "preview.png")))
        Image.fromarray(np.concatenate(previews)).save(folder / "comparison.png")
    return Demo(rows, fewer)


def affordable_steps(measurement: Measurement, clock: Callable[[], float] = perf_counter) -> int:
    """The preset's number of steps, or fewer on a machine on which these take too long.

    Args:
        measurement: the scan; two steps of its reconstruction are made, of which one is timed.
        clock: seconds.
    """
    ends: list[float] = []
    run = Run(on_step=lambda info: ends.append(clock()))
    choose_method(steps=2).reconstruct(measurement, run)
    first, second = ends
    return max(FEWEST, min(DEFAULTS.steps, int(SECONDS / max(second - first, 1e-6))))


def total_variation(outcome: Outcome) -> Row:
    """The quality of total variation on the same measurement; it needs no training.

    Args:
        outcome: another reconstruction of it, with the ground truth.
    """
    assert outcome.reference is not None
    parameters = {"weight": TV_WEIGHT, "iterations": TV_ITERATIONS}
    method = choose_method(method="fista-tv", parameters=parameters)
    found = method.reconstruct(outcome.measurement)
    q = quality(found.mean, outcome.reference, outcome.convention)
    return Row("total variation", q.psnr, q.ssim, 0, found.seconds)
