"""``medscore priors import``: a checkpoint of another library in, a prior out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli.progress import console


def import_(
    source: Annotated[Path, typer.Argument(help="Checkpoint file, or a diffusers folder.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Prior to write, NAME.safetensors.")
    ],
    contract: Annotated[
        Path, typer.Option(help="YAML file that describes the images (docs/import.md).")
    ],
    kind: Annotated[
        str | None,
        typer.Option(help="score-sde, diffusers or monai; by default recognised from the weights."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON or YAML file with the network's constructor arguments."),
    ] = None,
) -> None:
    """Import a checkpoint of score_sde_pytorch, diffusers or MONAI as a prior.

    Matrices and kernels are rounded to float16: by a relative 5e-4, below 6e-5 by 3e-8.

    Example: medscore priors import checkpoint.pth --contract brain.yaml -o brain.safetensors
    """
    from medscore.priors import importers

    result = importers.import_prior(source, output, contract=contract, kind=kind, config=config)
    prior = result.contract
    console.print(
        f"{escape(str(result.path))}: {result.weights} weights of {result.kind}, predicting "
        f"{prior.prediction.target} given {prior.prediction.condition}, SDE {prior.sde.kind}; "
        f"{prior.low:g} and {prior.high:g} {prior.quantity} are 0 and 1 in the network's range"
    )
