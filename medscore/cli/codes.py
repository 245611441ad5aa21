"""``medscore encode`` and ``medscore decode``: images to latent codes, and codes to images."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, sampling_bar
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR

Tolerance = Annotated[
    float, typer.Option(help="Relative and absolute tolerance of the flow's solver.")
]
Precision = Annotated[
    str, typer.Option(help="float64, or float32, which is faster and less accurate.")
]
PriorName = Annotated[str, typer.Option("--prior", help="Name of a prior, or a path.")]


def encode_(
    images: Annotated[
        list[Path], typer.Argument(help="DICOM files or folders, NIfTI, PNG, JPEG, NumPy archives.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Codes file to write (.npz).")],
    prior: PriorName = WHOLE_IMAGE_PRIOR,
    against: Annotated[
        str | None, typer.Option(help="Another prior on the same SDE, to compare its codes.")
    ] = None,
    tolerance: Tolerance = 1e-8,
    precision: Precision = "float64",
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of images, equally spaced among all.")
    ] = None,
    spacing_mm: options.Spacing = None,
    accept: options.Accept = None,
    device: options.Device = "auto",
    keep_identity: options.Identity = False,
) -> None:
    """Encode images as latent codes by the probability flow, for `medscore decode`.

    Writes `code` (n, channel, H, W), hashes of the images' files, the prior's hash and SDE, and the
    NFE. After Ctrl-C the same command resumes with the next image. With --against it prints how
    closely the codes of the same images under two priors agree.

    Example: medscore encode scan.dcm --prior ct-128-vp -o codes.npz
    """
    from medscore.generation import encode_images

    with sampling_bar("encode") as show:
        codes = encode_images(
            images, prior, against=against, tolerance=tolerance, precision=precision, limit=limit,
            spacing_mm=spacing_mm, accept=tuple(accept or ()), device=device, output=output,
            keep_identity=keep_identity, on_step=show,
        )  # fmt: skip
    console.print(f"{escape(str(output))}: {len(codes.code)} code(s), NFE {codes.nfe}")
    if codes.agreement is not None:
        typer.echo(json.dumps(asdict(codes.agreement)))


def decode_(
    codes: Annotated[Path, typer.Argument(help="File written by `medscore encode`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    prior: PriorName = WHOLE_IMAGE_PRIOR,
    temperature: Annotated[
        float,
        typer.Option(help="Factor on the codes: below 1 for lower, above 1 for higher diversity."),
    ] = 1.0,
    between: Annotated[
        int, typer.Option(help="Number of images from each code to the next, including both ends.")
    ] = 0,
    tolerance: Tolerance = 1e-8,
    precision: Precision = "float64",
    device: options.Device = "auto",
    keep_identity: options.Identity = False,
) -> None:
    """Decode latent codes to images by the probability flow.

    Writes sheet.png, images/, samples.npz and provenance.json, as `medscore generate` does. After
    Ctrl-C the same command resumes with the next image.

    Example: medscore decode codes.npz --prior ct-128-vp -o out

    Example: medscore decode codes.npz --prior ct-128-vp --between 8 --temperature 0.9 -o out
    """
    from medscore.generation import decode_codes

    with sampling_bar("decode") as show:
        result = decode_codes(
            codes, prior, temperature=temperature, between=between, tolerance=tolerance,
            precision=precision, device=device, output=output,
            keep_identity=keep_identity, on_step=show,
        )  # fmt: skip
    console.print(f"{escape(str(output))}: {len(result.images)} image(s), NFE {result.nfe}")
