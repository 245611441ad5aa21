"""``medscore priors import``: a checkpoint of another library in, a prior out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.markup import escape

from medscore.cli.progress import console
from medscore.errors import MedscoreError
from medscore.priors.checkpoint import save_prior
from medscore.priors.importers import diffusers, monai, ncsnpp
from medscore.priors.importers.contract import ImportContract, Mapped, assemble, read_contract
from medscore.priors.importers.read import Source, read_content, read_settings


class Importer(NamedTuple):
    """A library's checkpoints: whether this is one, and what it says."""

    recognises: Callable[[Source], bool]
    mapped: Callable[[Source, ImportContract], Mapped]


KINDS: dict[str, Importer] = {
    "score-sde": Importer(ncsnpp.recognises, ncsnpp.mapped),
    "diffusers": Importer(diffusers.recognises, diffusers.mapped),
    "monai": Importer(monai.recognises, monai.mapped),
}


def import_(
    source: Annotated[Path, typer.Argument(help="Checkpoint file, or a diffusers folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Prior to write.")],
    contract: Annotated[Path, typer.Option(help="YAML of what the images are (docs/import.md).")],
    kind: Annotated[
        str | None, typer.Option(help=f"{', '.join(KINDS)}; by default as the file looks.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON or YAML: the network's constructor arguments.")
    ] = None,
) -> None:
    """Make a prior of a checkpoint of score_sde_pytorch, diffusers or MONAI.

    Matrices and kernels are rounded to float16: by a relative 5e-4, below 6e-5 by 3e-8.

    Example: medscore priors import checkpoint.pth --contract brain.yaml -o brain.safetensors
    """
    if output.suffix != ".safetensors":
        raise MedscoreError(
            "priors are safetensors files", where=output, hint="use -o NAME.safetensors"
        )
    if output.exists():
        raise MedscoreError(
            "the output file exists already", where=output, hint="choose a new one or remove it"
        )
    if kind is not None and kind not in KINDS:
        raise MedscoreError(f"no kind {kind!r}", hint=f"use one of: {', '.join(KINDS)}")
    asked = read_contract(contract)
    found = _open(source, config)
    name = kind or _recognised(found)
    prior = KINDS[name].mapped(found, asked)
    whole = assemble(asked, prior, found, contract)
    save_prior(output, whole, prior.weights)
    count = sum(weight.numel() for weight in prior.weights.values())
    console.print(
        f"{escape(str(output))}: {count} weights of {name}, {whole.prediction.target} told "
        f"{whole.prediction.condition}, on {whole.sde.kind}; {whole.low:g} and {whole.high:g} "
        f"{whole.quantity} are 0 and 1 in the network's range"
    )


def _open(path: Path, config: Path | None) -> Source:
    """The source with its configuration: the folder's own, or the option's."""
    if path.is_dir():
        if config is not None:
            raise MedscoreError("a folder has its own", where="--config", hint="leave it out")
        return diffusers.open_folder(path)
    return Source(path, read_content(path), None if config is None else read_settings(config))


def _recognised(source: Source) -> str:
    for name, importer in KINDS.items():
        if importer.recognises(source):
            return name
    raise MedscoreError(
        "not a checkpoint that can be mapped",
        where=source.path,
        hint=f"its keys tell {', '.join(KINDS)}; force one by --kind to see what is missing",
    )
