"""``medscore demo``: the main job on real CT slices that ship with pydicom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pydicom
import typer
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import medscore
from medscore.cli.progress import console
from medscore.cli.simulate import simulate
from medscore.errors import MedscoreError
from medscore.io.files import atomic_folder
from medscore.metrics.image_quality import CT_CONVENTION
from medscore.reconstruction.from_file import reconstruct_file
from medscore.registry.presets import DEFAULTS

IMAGES = ("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm")
"""Two head CT slices of 512 x 512 in pydicom's test files, made available with pydicom."""


def image_paths() -> list[Path]:
    """Where pydicom keeps the demo's images; nothing is downloaded.

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
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")] = Path(
        "medscore-demo"
    ),
    views: Annotated[int, typer.Option(help="Views of the sparse scan.")] = 23,
    steps: Annotated[int, typer.Option(help="Steps of the time grid.")] = DEFAULTS.steps,
    samples: Annotated[int, typer.Option(help="Posterior samples per slice.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
) -> None:
    """Reconstruct two real CT slices from a simulated 23-view scan, and print the quality.

    The images are heads; the shipped prior has learnt mostly chests and abdomens.

    Example: medscore demo -o /tmp/demo
    """
    settings = replace(DEFAULTS, steps=steps, samples=samples, seed=seed)
    settings.check()
    table = Table("image", "method", "PSNR (dB)", "SSIM", "NFE", "seconds")
    previews = []
    with atomic_folder(output) as folder:
        for path in image_paths():
            target = folder / path.stem
            measurement = folder / f"{path.stem}.h5"
            simulate(path, measurement, views=views, size=128)
            outcome = reconstruct_file(
                measurement, target, settings, reference=path, keep_state=False
            )
            for row in outcome.rows():
                seconds = f"{row.seconds:.1f}" if row.nfe else "-"
                table.add_row(
                    path.stem, row.method, f"{row.psnr:.2f}", f"{row.ssim:.4f}",
                    str(row.nfe), seconds,
                )  # fmt: skip
            previews.append(np.asarray(Image.open(target / "preview.png")))
        Image.fromarray(np.concatenate(previews)).save(folder / "comparison.png")
    Console().print(table)
    console.print(
        f"medscore {medscore.__version__}; {CT_CONVENTION}\n"
        f"{escape(str(output))}/: comparison.png, and for each image recon.nii.gz, std.nii.gz, "
        "dicom/, provenance.json",
        highlight=False,
    )
