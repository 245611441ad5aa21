"""``medscore priors list | info | verify | import``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from medscore.cli.priors_import import import_

priors = typer.Typer(help="Shipped priors, and import of other checkpoints.", no_args_is_help=True)
priors.command("import")(import_)

_Name = Annotated[str, typer.Argument(help="Name of a shipped prior, or a path.")]


@priors.command("list")
def list_() -> None:
    """List the shipped priors.

    Example: medscore priors list
    """
    from rich.console import Console
    from rich.table import Table

    from medscore.priors.catalogue import shipped_priors
    from medscore.priors.checkpoint import read_checkpoint

    table = Table("name", "modality", "matrix", "range", "spacing (mm)", "SDE", "patients")
    for name, path in shipped_priors().items():
        c = read_checkpoint(path).contract
        table.add_row(
            name,
            c.modality,
            c.matrix if c.size is None else f"{c.size}x{c.size}",
            f"{c.low:g}..{c.high:g} {c.quantity}",
            f"{c.spacing_mm[0]:g}..{c.spacing_mm[1]:g}",
            c.sde.kind,
            str(c.provenance.patients),
        )
    Console().print(table)


@priors.command()
def info(name: _Name) -> None:
    """Print a prior's data contract as JSON.

    Example: medscore priors info ct-128
    """
    from medscore.priors.catalogue import prior_path
    from medscore.priors.checkpoint import read_checkpoint

    found = read_checkpoint(prior_path(name))
    contract = found.contract
    content = {
        **contract.model_dump(mode="json"),
        "complex_data": contract.complex_data,
        "matrix": contract.matrix,
        "receptive_field": contract.receptive_field,
        "uses_position": contract.uses_position,
    }
    typer.echo(json.dumps(content, indent=2))


@priors.command("verify")
def verify_(name: _Name) -> None:
    """Check a prior's weights against the hash in its header, and load them.

    Example: medscore priors verify ct-128
    """
    from medscore.priors.catalogue import prior_path
    from medscore.priors.checkpoint import load_prior, verify

    path = prior_path(name)
    found = verify(path)
    load_prior(path)
    count = sum(tensor.numel() for tensor in found.weights.values())
    typer.echo(f"{name}: {count} weights, sha256 {found.sha256}: intact")
