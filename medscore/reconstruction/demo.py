"""The demonstration: reconstruction of simulated sparse-view scans of two real CT slices."""

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
"""Two head CT slices of 512 x 512 pixels from pydicom's test files."""

SIZE = 128
"""Rows and columns that the slices are reduced to."""


@dataclass(frozen=True)
class Demo:
    """The result of the demonstration.

    Attributes:
        rows: rows of the results table, by image.
    """

    rows: dict[str, list[Row]]


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
    views: int = 23,
    steps: int | None = None,
    samples: int = 8,
    seed: int = 0,
) -> Demo:
    """Simulate, reconstruct and assess each image, and write the results into a new folder.

    Args:
        output: folder to create.
        views: number of views of the sparse scan.
        steps: number of steps of the time grid; by default the preset's.
        samples: number of posterior samples per slice.
        seed: seed of all random draws.

    Raises:
        MedscoreError: an invalid parameter, or the folder exists.
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
