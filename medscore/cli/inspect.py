"""``medscore inspect``: what a file is, what there is to notice, which priors fit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medscore.cli import options
from medscore.datasets.dicom.files import Series, list_series
from medscore.datasets.raw.dicom_ct_pd import is_ct_pd
from medscore.errors import MedscoreError
from medscore.priors import checkpoint
from medscore.priors.catalogue import shipped_priors
from medscore.reconstruction.inspection import Report
from medscore.reconstruction.inspection import inspect as report


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="DICOM file or folder, NIfTI, raw k-space (.h5, .npy) or measurement file (.h5)."
        ),
    ],
    series: options.Series = None,
    channel: options.Channel = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a file is: geometry, units, range, oddities, and which priors fit.

    A folder with several series is listed; --series looks at one of them.

    Example: medscore inspect scan.dcm

    Example: medscore inspect export/ --series "lung 1.25"
    """
    if not path.exists():
        raise MedscoreError("no such file or folder", where=path, hint="check the path")
    if path.is_dir() and series is None and not is_ct_pd(path):
        found = list_series(path)
        if sum(s.image for s in found) != 1:
            typer.echo(_listed(found, as_json))
            return
    contracts = {
        name: checkpoint.read_checkpoint(file).contract for name, file in shipped_priors().items()
    }
    result = report(path, contracts, series=series, channel=channel)
    typer.echo(json.dumps(asdict(result), indent=2) if as_json else _text(path, result))


def _text(path: Path, result: Report) -> str:
    lines = [f"{path}: {result.what}"]
    lines += [f"  {name}: {value}" for name, value in result.facts.items()]
    lines += [f"  noticed: {text}" for text in result.noticed]
    lines += [f"  prior {name}: {text}" for name, text in result.priors.items()]
    return "\n".join(lines)


def _listed(found: list[Series], as_json: bool) -> str:
    rows = [
        {"uid": s.uid, "description": s.description, "modality": s.modality, "number": s.number,
         "files": len(s.files), "image": s.image}
        for s in found
    ]  # fmt: skip
    if as_json:
        return json.dumps(rows, indent=2)
    return "\n".join(
        f"{s.uid}  {s.modality}  {len(s.files)} files  {s.description}"
        + ("" if s.image else "  (no image)")
        for s in found
    )
