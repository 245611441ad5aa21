"""``medscore generate``: draw images from a prior, of a class or given a part of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, sampling_bar
from medscore.cli.words import OBSERVED
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR
from medscore.registry.methods import CONDITIONERS, GRIDS, SAMPLERS

CONDITIONER = "diffpir"


def generate(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    prior: Annotated[str, typer.Option(help="Name of a prior, or a path.")] = WHOLE_IMAGE_PRIOR,
    count: Annotated[
        int,
        typer.Option(
            "-n", "--count", help="Number of images to draw; with --known, per observed image."
        ),
    ] = 16,
    size: Annotated[
        int | None,
        typer.Option(help="Rows and columns, for priors for any matrix; 256 by default."),
    ] = None,
    spacing: Annotated[
        float | None,
        typer.Option(
            "--spacing", help="Pixel size in mm, for priors for any matrix; 1.5 by default."
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help=f"One of: {', '.join(SAMPLERS)}. dpm-solver++ by default, ddim with --known."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the time grid.")] = 50,
    grid: Annotated[
        str | None,
        typer.Option(
            help=f"Time grid, one of: {', '.join(GRIDS)}. angular by default, focused with --known."
        ),
    ] = None,
    set_: options.Set = None,
    snr: Annotated[
        float | None, typer.Option(help="Short for --set sampler.snr, of Langevin correctors.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Number of images drawn together.")] = 8,
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="Classifier of noisy images (from `medscore train`), for --label with priors that "
            "know no classes themselves."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="Class of all images, or with --classifier several to cycle through: 0,1,2."
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="Factor on the classifier's gradient; 1 is Bayes' rule.")
    ] = 1.0,
    known: Annotated[
        list[Path] | None,
        typer.Option("--known", help="Partly observed images to complete; repeatable."),
    ] = None,
    task: Annotated[
        str, typer.Option(help=f"Observed part of these images, one of: {', '.join(OBSERVED)}.")
    ] = "inpaint",
    mask: Annotated[
        Path | None,
        typer.Option(help="For inpaint: an image that is white where pixels are observed."),
    ] = None,
    hidden: Annotated[
        float,
        typer.Option(help="For inpaint without a mask: side of the hidden centre, as a fraction."),
    ] = 0.5,
    factor: Annotated[int, typer.Option(help="For sr: side of a block in pixels.")] = 2,
    conditioner: Annotated[
        str, typer.Option(help=f"With --known, one of: {', '.join(CONDITIONERS)}.")
    ] = CONDITIONER,
    spacing_mm: options.Spacing = None,
    accept: options.Accept = None,
    device: options.Device = "auto",
    keep_identity: options.Identity = False,
    precision: Annotated[
        str, typer.Option(help="Network precision: auto, float32 or bf16.")
    ] = "auto",
) -> None:
    """Draw images from a prior, optionally of chosen classes or given a part of an image.

    Writes sheet.png (with --known a row for each image, its observed part first), images/00000.png
    and so on (the prior's range from black to white), samples.npz (`hu` or `image`, float32) and
    provenance.json. After Ctrl-C the same command resumes where it stopped. Image i is the same
    for every number of images.

    Example: medscore generate --prior ct-128 -n 16 -o out

    Example: medscore generate --prior p.safetensors --classifier c.safetensors --label 7 -o out

    Example: medscore generate --prior p.safetensors --known face.png --task colorize -n 4 -o out

    Example: medscore generate --prior mri-128 -n 4 --sampler pc --grid uniform --steps 500 -o out

    Example: medscore generate --prior ct-128 --sampler ddim --set sampler.eta=1 -o out
    """
    from medscore import generation

    with sampling_bar(output.name) as show:
        result = generation.generate(
            prior, count=count, size=size, spacing=spacing, sampler=sampler, steps=steps,
            grid=grid, snr=snr, parameters=set_ or (), seed=seed,
            batch_size=batch_size, classifier=classifier, label=label, strength=strength,
            known=known, task=task, mask=mask, hidden=hidden, factor=factor,
            conditioner=conditioner, spacing_mm=spacing_mm, accept=tuple(accept or ()),
            device=device, precision=precision, output=output, keep_identity=keep_identity,
            on_step=show,
        )  # fmt: skip
    console.print(f"{escape(str(output))}: {len(result.images)} image(s), NFE {result.nfe}")
