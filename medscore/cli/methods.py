"""``medscore methods``: samplers, conditioners, baselines and grids with their parameters."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from medscore.errors import MedscoreError
from medscore.reconstruction.baselines.methods import BASELINES
from medscore.registry.methods import ACROSS_SLICES, CONDITIONERS, GRIDS, SAMPLERS
from medscore.registry.table import Table

TABLES = (SAMPLERS, CONDITIONERS, BASELINES, GRIDS, ACROSS_SLICES)


def methods(
    name: Annotated[str | None, typer.Argument(help="Name of one method.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List methods with their sources, and the parameters that --set changes, with defaults.

    Example: medscore methods

    Example: medscore methods diffpir
    """
    found = [
        _described(table, method) for table in TABLES for method in table if name in (None, method)
    ]
    if not found:
        known = ", ".join(method for table in TABLES for method in table)
        raise MedscoreError(f"no method {name!r}", hint=f"use one of: {known}")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo("\n\n".join(_text(method) for method in found))


def _described(table: Table, name: str) -> dict[str, Any]:
    owner = "" if table.kind == "baseline" else f"{table.kind}."
    return {
        "name": name,
        "kind": table.kind,
        "source": table.source(name),
        "parameters": [
            {"name": owner + p.name, "type": p.type, "default": _plain(p.default), "help": p.help}
            for p in table.parameters(name).values()
        ],
    }


def _text(method: dict[str, Any]) -> str:
    lines = [f"{method['name']} ({method['kind']}): {method['source']}"]
    for p in method["parameters"]:
        default = "none" if p["default"] is None else p["default"]
        lines.append(f"  {p['name']} = {default}  ({p['type']})  {p['help']}")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """A default for JSON, which has no infinity."""
    return str(value) if isinstance(value, float) and not -1e300 < value < 1e300 else value
