"""``medscore denoise``: an image with noise in, its posterior mean and uncertainty out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, work_bar
from medscore.errors import MedscoreError


def denoise(
    image: Annotated[
        Path, typer.Argument(help="CT or MR image: DICOM file or folder, NIfTI, NRRD, arrays.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    noise_std: Annotated[
        str,
        typer.Option(
            help="Standard deviation of the noise in the unit of the image, HU for CT; or estimate."
        ),
    ] = "estimate",
    prior: Annotated[
        str | None,
        typer.Option(help="Name of a prior, or a path. Default: by modality."),
    ] = None,
    probes: Annotated[
        int, typer.Option(help="Random probes of the standard deviation of each slice.")
    ] = 16,
    eigenvectors: Annotated[
        int, typer.Option(help="Number of eigenvectors of each slice; 0 for none, which is faster.")
    ] = 3,
    contrast: Annotated[
        str | None,
        typer.Option(help="MR contrast of the image, for priors that know contrasts, as T1."),
    ] = None,
    slices: Annotated[
        str | None, typer.Option(help="Range of slices START:STOP; STOP is excluded.")
    ] = None,
    series: options.Series = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Interpolate uneven or tilted DICOM slices.")
    ] = False,
    channel: options.Channel = None,
    array: options.Array = None,
    spacing: options.ImageSpacing = None,
    accept: options.Accept = None,
    window: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH shown black and white in denoised.png. Default: by modality."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the probes.")] = 0,
    device: options.Device = "auto",
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch",
            help="Use the prior on the grid of the image, even outside its domain. By default the "
            "image is fitted to the prior's grid.",
        ),
    ] = False,
) -> None:
    """Denoise a CT or MR image, and show what remains uncertain.

    Writes mean.nii.gz (posterior mean), std.nii.gz (its standard deviation), eigenvectors.nii.gz
    (4-D: for each slice the directions of the largest posterior variance) with eigenvalues.json,
    denoised.png and provenance.json. The noise is taken as white. After Ctrl-C the same command
    resumes with the next slice.

    Example: medscore denoise scan.dcm -o out --noise-std 40

    Example: medscore denoise t1.nii.gz -o out --prior mri-128 --noise-std estimate --slices 60:64
    """
    from medscore.datasets.load import load_image
    from medscore.engine.items import state_path
    from medscore.io.files import check_absent
    from medscore.reconstruction.denoised_files import denoise_file

    shown = None if window is None else options.window_of(window)
    level = _level(noise_std)
    check_absent(output, (state_path(output),))
    volume = load_image(
        image, series=series, resample=resample, channel=channel, accept=tuple(accept or ()),
        slices=slices, array=array, spacing=options.spacing_of(spacing),
    )  # fmt: skip
    with work_bar(output.name) as show:
        result = denoise_file(
            volume, output, prior, noise_std=level, probes=probes, eigenvectors=eigenvectors,
            seed=seed, contrast=contrast, device=device, allow_mismatch=allow_mismatch,
            window=shown, on_part=show,
        )  # fmt: skip
    for note in result.notes:
        console.print(f"note: {escape(note)}")
    unit = f" {result.unit}" if result.unit else ""
    console.print(
        f"{escape(str(output))}: {len(result.mean)} slice(s), noise {result.noise_std:.4g}{unit}, "
        f"mean standard deviation {float(result.std.mean()):.4g}{unit}"
    )


def _level(text: str) -> float | str:
    if text == "estimate":
        return text
    try:
        return float(text)
    except ValueError:
        raise MedscoreError(
            f"`noise_std` is {text!r:.60}", hint="use a positive number, or estimate"
        ) from None
