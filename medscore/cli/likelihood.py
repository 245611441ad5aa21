"""``medscore likelihood``: log-likelihoods of images under a prior, one line per image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, sampling_bar
from medscore.likelihood.settings import DIVERGENCES, EXACT_UP_TO
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR


def likelihood(
    images: Annotated[
        list[Path], typer.Argument(help="DICOM files or folders, NIfTI, PNG, JPEG, NumPy archives.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    prior: Annotated[str, typer.Option(help="Name of a prior, or a path.")] = WHOLE_IMAGE_PRIOR,
    method: Annotated[
        str,
        typer.Option(
            help="flow (probability flow), bound (of the noisy image), clean-bound (of the image)."
        ),
    ] = "flow",
    divergence: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(DIVERGENCES)}; auto is exact up to {EXACT_UP_TO} pixels, "
            "rademacher beyond."
        ),
    ] = "auto",
    probes: Annotated[int, typer.Option(help="Number of random probes of the divergence.")] = 1,
    draws: Annotated[
        int, typer.Option(help="Number of (time, noise) pairs that a bound averages.")
    ] = 128,
    bits: Annotated[
        int | None,
        typer.Option(help="Grey levels 2^BITS over the prior's range, uniformly dequantized."),
    ] = None,
    dequantizer: Annotated[
        Path | None,
        typer.Option(help="Trained dequantizer (from `medscore train`), with bits of its own."),
    ] = None,
    rtol: Annotated[float, typer.Option(help="Relative tolerance of the flow's solver.")] = 1e-5,
    atol: Annotated[float, typer.Option(help="Absolute tolerance of the flow's solver.")] = 1e-5,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of images, equally spaced among all.")
    ] = None,
    spacing_mm: options.Spacing = None,
    accept: options.Accept = None,
    typical: Annotated[
        bool,
        typer.Option(
            "--typical", help="Write the statistics of these images beside the prior, as typical."
        ),
    ] = False,
    device: options.Device = "auto",
    keep_identity: options.Identity = False,
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch",
            help="Use the prior on the grid of the images, even outside its domain. By default "
            "they are fitted to the prior's grid.",
        ),
    ] = False,
) -> None:
    """Log-likelihood of images under a prior, and how typical they are of its training data.

    Writes likelihood.csv, one line per image: log p / D in nats (D pixels, times three in colour;
    the prior's range counts from 0 to 1), its standard error where there are several probes or
    draws, bits/dim with --bits, and z, in standard deviations from the mean of the prior's
    validation images. likelihood.json records what was computed.

    Example: medscore likelihood scan.dcm --prior ct-128 -o out --bits 12

    Example: medscore likelihood t1.nii.gz --prior mri-128 --method bound -o out
    """
    from medscore.likelihood import assess_images

    with sampling_bar("images") as show:
        result = assess_images(
            images, prior, method=method, divergence=divergence, probes=probes, draws=draws,
            bits=bits, dequantizer=dequantizer, rtol=rtol, atol=atol, seed=seed, limit=limit,
            spacing_mm=spacing_mm, accept=tuple(accept or ()), typical=typical, device=device,
            output=output, keep_identity=keep_identity,
            allow_mismatch=allow_mismatch, on_step=show,
        )  # fmt: skip
    for note in result.notes:
        console.print(f"note: {escape(note)}")
    text = f"{escape(str(output))}: {len(result.images)} slice(s), "
    text += f"log p / D {result.nats_per_dim:.4f} nats"
    if result.bits_per_dim is not None:
        text += f", {result.bits_per_dim:.3f} bits/dim"
    console.print(text)
    if result.warning is not None:
        console.print(f"warning: {result.warning}")
    for warning in result.unusual:
        console.print(f"warning: {escape(warning)}")
    if result.typical is not None:
        where = escape(str(result.typical_file))
        console.print(f"{where}: statistics of {result.typical.count} typical images")
