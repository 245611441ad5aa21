"""``medscore demo``: sparse-view CT of real slices that ship with pydicom, at 512 x 512."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import medscore
from medscore.cli.progress import console, sampling_bar


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")] = Path(
        "medscore-demo"
    ),
    views: Annotated[int, typer.Option(help="Number of views of the sparse scan.")] = 90,
    size: Annotated[
        int | None,
        typer.Option(help="Rows and columns of the reconstruction. Default: the images', 512."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Number of steps of the time grid. Default: the preset's, or fewer on a slow "
            "machine."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Number of posterior samples per slice.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
) -> None:
    """Reconstruct two real CT slices of 512 x 512 from 90 views, and print the quality.

    The scans are simulated with photon noise on a finer grid than they are reconstructed on. The
    images are heads; the shipped prior was trained mostly on chests and abdomens.

    Example: medscore demo -o /tmp/demo
    """
    from rich.console import Console
    from rich.table import Table

    from medscore.metrics.image_quality import CT_CONVENTION
    from medscore.reconstruction.demo import demo as run

    found = run(
        output, views=views, size=size, steps=steps, samples=samples, seed=seed,
        progress=sampling_bar,
    )  # fmt: skip
    table = Table("image", "method", "PSNR (dB)", "SSIM", "NFE", "seconds")
    for image, rows in found.rows.items():
        for row in rows:
            seconds = f"{row.seconds:.1f}" if row.seconds else "-"
            table.add_row(
                image, row.method, f"{row.psnr:.2f}", f"{row.ssim:.4f}", str(row.nfe), seconds
            )
    Console().print(table)
    gains = ", ".join(f"{gain:+.1f} dB over {name}" for name, gain in found.gains().items())
    console.print(f"PSNR of the last method, mean of the images: {gains}", highlight=False)
    if found.fewer is not None:
        console.print(
            f"{found.fewer} steps, because a step takes long on this machine; --steps sets it",
            highlight=False,
        )
    console.print(
        f"medscore {medscore.__version__}; {CT_CONVENTION}\n"
        f"{escape(str(output))}/: comparison.png, and for each image recon.nii.gz, std.nii.gz, "
        "dicom/, provenance.json",
        highlight=False,
    )
