"""``medscore priors list | info | verify | fetch | remove | import``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from medscore.cli.completion import completed
from medscore.cli.priors_fetch import fetch, printable, remove
from medscore.cli.priors_import import import_

priors = typer.Typer(
    help="Shipped and fetched priors, and import of other checkpoints.", no_args_is_help=True
)
priors.command("import")(import_)
priors.command()(fetch)
priors.command()(completed(remove))

_Name = Annotated[str, typer.Argument(help="Name of a prior, or a path.")]


@priors.command("list")
def list_() -> None:
    """List the shipped and the fetched priors, where each is from, and its licence.

    Example: medscore priors list
    """
    from rich.console import Console
    from rich.table import Table

    from medscore.errors import MedscoreError
    from medscore.priors.catalogue import entry_of, known_priors, left_out
    from medscore.priors.checkpoint import read_checkpoint

    table = Table("name", "modality", "matrix", "range", "spacing (mm)", "SDE", "patients")
    lines = []
    for name, path in known_priors().items():
        try:
            c = read_checkpoint(path).contract
        except MedscoreError as error:
            lines.append(f"{name}: {error}")
            continue
        table.add_row(
            name,
            c.modality,
            c.matrix if c.size is None else f"{c.size}x{c.size}",
            f"{c.low:g}..{c.high:g} {c.quantity}",
            f"{c.spacing_mm[0]:g}..{c.spacing_mm[1]:g}",
            c.sde.kind,
            str(c.provenance.patients),
        )
        entry = entry_of(name)
        is_fetched = entry is not None and entry.source is not None
        origin = f"from {entry.source}, {entry.date}" if entry and is_fetched else "shipped"
        lines.append(f"{name}: {origin}; licence: {c.provenance.licence}")
    for name, entry in left_out().items():
        lines.append(
            f"{name}: not in this build, get {entry.file} with `medscore priors fetch`, its "
            f"sha256 is {entry.sha256}; licence: {entry.licence}"
        )
    Console().print(table)
    for line in lines:
        typer.echo(printable(line))


@priors.command()
@completed
def info(name: _Name) -> None:
    """Print a prior's data contract as JSON; of one known by name also where it is from.

    Example: medscore priors info ct-128
    """
    from medscore.priors.catalogue import entry_of, prior_path
    from medscore.priors.checkpoint import read_checkpoint
    from medscore.priors.file_names import head_path, neighbours_path

    path, entry = prior_path(name), entry_of(name)
    contract, head, near = read_checkpoint(path).contract, head_path(path), neighbours_path(path)
    content = {
        **contract.model_dump(mode="json"),
        "complex_data": contract.complex_data,
        "matrix": contract.matrix,
        "receptive_field": contract.receptive_field,
        "uses_position": contract.uses_position,
        "classes": contract.classes,
        "covariance": head.name if head.is_file() else None,
        "neighbours": near.name if near.is_file() else None,
    }
    if entry is not None:
        content["manifest"] = entry.model_dump(mode="json", exclude_none=True)
    typer.echo(json.dumps(content, indent=2))


@priors.command("verify")
@completed
def verify_(name: _Name) -> None:
    """Check a prior's file against its manifest, its weights against its header, and load it.

    Example: medscore priors verify ct-128
    """
    from medscore.priors.catalogue import entry_of, prior_path
    from medscore.priors.checkpoint import load_prior, verify
    from medscore.priors.manifest import check_file

    path, entry = prior_path(name), entry_of(name)
    if entry is not None:
        check_file(path, entry)
    found = verify(path)
    load_prior(path)
    count = sum(tensor.numel() for tensor in found.weights.values())
    typer.echo(f"{name}: {count} weights, sha256 {found.sha256}: intact")
