"""The demonstration: a simulated sparse-view scan of two real CT slices, reconstructed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

from medscore.datasets.load import load_image
from medscore.errors import MedscoreError
from medscore.io.files import atomic_folder
from medscore.measurements.measurement import write_measurement
from medscore.measurements.simulation import simulate
from medscore.reconstruction.outputs import Row
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.saving import reconstruct_file

IMAGES = ("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm")
"""Two head CT slices of 512 x 512 in pydicom's test files, made available with pydicom."""

SIZE = 128
"""Rows and columns that the slices are reduced to."""


@dataclass(frozen=True)
class Demo:
    """Quality of the demonstration.

    Attributes:
        rows: lines of the results table, by name of the image.
    """

    rows: dict[str, list[Row]]


def image_paths() -> list[Path]:
    """Paths of the demonstration's images, which pydicom carries; nothing is downloaded.

    Raises:
        MedscoreError: this pydicom does not carry them.
    """
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    paths = [folder / name for name in IMAGES]
    for path in paths:
        if not path.is_file():
            raise MedscoreError(
                "this pydicom lacks the demo image", where=path, hint="install pydicom from PyPI"
            )
    return paths


def demo(
    output: str | Path,
    *,
    views: int = 23,
    steps: int | None = None,
    samples: int = 8,
    seed: int = 0,
) -> Demo:
    """Simulate, reconstruct and judge each image; everything is written into one new folder.

    Args:
        output: folder to make.
        views: number of views of the sparse scan.
        steps: number of steps of the time grid; by default the preset's.
        samples: number of posterior samples per slice.
        seed: seed of all random draws.

    Raises:
        MedscoreError: an invalid parameter, or a folder that exists.
    """
    method = choose_method(steps=steps, samples=samples, seed=seed)
    rows, previews = {}, []
    with atomic_folder(Path(output)) as folder:
        for path in image_paths():
            target, measurement = folder / path.stem, folder / f"{path.stem}.h5"
            image = load_image(path, modality="CT", size=SIZE)
            made = simulate(image, "sparse-ct", views=views)
            write_measurement(measurement, made)
            outcome = reconstruct_file(
                measurement, target, method, reference=path, keep_state=False
            )
            rows[path.stem] = outcome.rows()
            previews.append(np.asarray(Image.open(target / "preview.png")))
        Image.fromarray(np.concatenate(previews)).save(folder / "comparison.png")
    return Demo(rows)
