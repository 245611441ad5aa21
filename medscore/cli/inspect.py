"""``medscore inspect``: what a file is, what to note about it, and which priors fit."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medscore.cli import options
from medscore.cli.measure import measure
from medscore.cli.simulate import simulate
from medscore.cli.spelling import command_of, in_options

if TYPE_CHECKING:
    from medscore.datasets.dicom.files import Series
    from medscore.reconstruction.file_report import Report


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="DICOM file, folder, .zip or DICOMDIR; NIfTI, NRRD or MetaImage; .npy, .npz or "
            ".mat; raw k-space (.h5, .npy); measurement file (.h5)."
        ),
    ],
    series: options.Series = None,
    channel: options.Channel = None,
    array: options.Array = None,
    spacing: options.ImageSpacing = None,
    slices: Annotated[
        str | None, typer.Option(help="Slices START:STOP of an archive; all by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe a file: geometry, units, value range, peculiarities, and which priors fit.

    A folder with several series is listed; --series describes one of them.

    Example: medscore inspect scan.dcm

    Example: medscore inspect export/ --series "lung 1.25"
    """
    from medscore.reconstruction.inspection import inspect_path

    found = inspect_path(
        path, series=series, channel=channel, array=array, spacing=options.spacing_of(spacing),
        slices=slices,
    )  # fmt: skip
    if isinstance(found, list):
        from medscore.datasets.dicom.archive import unpacked
        from medscore.datasets.dicom.files import listing

        typer.echo(_listed(found, as_json))
        with unpacked(path) as folder:
            note = listing(folder).note()
        if note is not None:
            typer.echo(f"noticed: {note}", err=as_json)
        return
    shown = _in_options(found)
    typer.echo(json.dumps(asdict(shown), indent=2) if as_json else _text(path, shown))


def _in_options(report: Report) -> Report:
    """The report with parameters as options of the commands that read the file next."""

    commands = command_of(simulate), command_of(measure)

    def spelled(text: str) -> str:
        return reduce(in_options, commands, text)

    return replace(
        report,
        noticed=tuple(spelled(text) for text in report.noticed),
        priors={name: spelled(text) for name, text in report.priors.items()},
    )


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
