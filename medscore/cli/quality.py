"""``medscore quality``: compare samples with real images and search them for copies."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medscore.cli import options
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR

if TYPE_CHECKING:
    from rich.table import Table

    from medscore.generation import Comparison


def quality(
    samples: Annotated[
        Path, typer.Argument(help="Folder written by `medscore generate`, or images.")
    ],
    real: Annotated[Path, typer.Argument(help="Real images that the prior has not seen.")],
    prior: Annotated[
        str,
        typer.Option(help="Prior whose range and size the images get: a shipped name, or a path."),
    ] = WHOLE_IMAGE_PRIOR,
    training: Annotated[
        Path | None,
        typer.Option(help="Training images, compared too and searched for copies."),
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="All files are .npy arrays of features (n, d).")
    ] = False,
    inception: Annotated[
        Path | None,
        typer.Option(
            help="TorchScript network that computes features, for FID and the others. TorchScript "
            "is a program, which can write files: it is only run with --trust."
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the program in the file of --inception.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file to write all results to.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of images of each set, equally spaced.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random directions.")] = 0,
    spacing_mm: options.Spacing = None,
    accept: options.Accept = None,
    keep_identity: options.Identity = False,
) -> None:
    """Distances of samples from real images; with --training also those of as many training images,
    which show what perfect samples would reach, and the nearest training image of each sample.

    Images are compared by pixels, by your own features, or with --inception by features of a
    network, which makes the Frechet distance FID. Distances depend on the number of images, so
    equally many of each set are compared.

    Example: medscore generate --prior ct-128 -n 100 -o out

    Example: medscore quality out validation.npz --prior ct-128 --training train.npz -o quality.json
    """
    from rich.console import Console

    from medscore.generation import compare_images

    result = compare_images(
        samples, real, prior, training=training, features=features, inception=inception,
        trust=trust, limit=limit, seed=seed, spacing_mm=spacing_mm, accept=tuple(accept or ()),
        output=output, keep_identity=keep_identity,
    )  # fmt: skip
    Console().print(_table(result))


def _table(result: Comparison) -> Table:
    from rich.table import Table

    table = Table("distance from the real images", *result.distances)
    columns = [asdict(found) for found in result.distances.values()]
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.4g}" for column in columns))
    if (near := result.nearest) is not None:
        closest = "a training image is real" if near.closest is None else f"{near.closest:.4g}"
        table.add_row("median distance to the nearest training image", f"{near.samples:.4g}", "")
        table.add_row("the same median for the real images", f"{near.real:.4g}", "")
        table.add_row("smallest such distance, relative to real images", closest, "")
    return table
