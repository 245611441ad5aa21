"""``medscore calibrate``: a comparison and a data folder in; a prior's calibration table out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, work_bar

if TYPE_CHECKING:
    from medscore.evaluation.slice_errors import SliceErrors


def calibrate(
    config: Annotated[
        Path, typer.Argument(help="Comparison: a YAML file, or the name of a shipped one.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make, or to continue.")],
    data: Annotated[Path, typer.Option(help="Folder of the cohort's data.")] = Path(),
    pattern: options.Pattern = None,
    method: Annotated[
        str | None,
        typer.Option(help="Sampling method of the comparison. Default: its `ours`."),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="What the width is chosen for: measured (the mean share of pixels outside, of "
            "these patients), patient (that of a new patient, with --confidence), expected (its "
            "expectation) or confident (a bound on it, with --confidence)."
        ),
    ] = "measured",
    confidence: Annotated[
        float, typer.Option(help="Probability of the rules patient and confident.")
    ] = 0.9,
    workers: Annotated[
        int | None,
        typer.Option("--processes", help="Number of processes. Default: one per usable core."),
    ] = None,
    threads: Annotated[int, typer.Option(help="Number of threads of each process.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help="Ray cluster to use instead of processes: its address, auto, or local."),
    ] = None,
) -> None:
    """Calibrate the intervals of a prior on patients that it was not trained on.

    Every task of the comparison is a family of measurements, whose intervals of `recon` are then
    calibrated. The table is OUTPUT/PRIOR.calibration.json: beside the prior it is used by itself,
    elsewhere with `recon --calibration`. Every finished slice is kept in OUTPUT/cells: after an
    interruption the same command resumes where it stopped.

    Example: medscore calibrate calibrate-ct --data DATA -o runs/calibration
    """
    from medscore.evaluation.calibration import CalibrationRun, calibrate as run
    from medscore.evaluation.calibration_table import summary

    with work_bar("slices") as show:

        def on_cell(done: int, total: int, cell: SliceErrors | None) -> None:
            show(done, total, "" if cell is None else cell.condition.task)

        found = run(
            config, output, data=data, patterns=pattern or (), method=method, rule=rule,
            confidence=confidence, run=CalibrationRun(workers, threads, ray, on_cell),
        )  # fmt: skip
    for name, cells in found.cells.items():
        left = sum(bool(cell.unlike) for cell in cells)
        if left:
            console.print(
                f"note: {escape(name)}: {left} of {len(cells)} slice(s) are unlike the prior's "
                "images and were left out"
            )
    for line in summary(found.table):
        console.print(escape(line))
    console.print(escape(str(found.path)))
