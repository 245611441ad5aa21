"""``medscore evaluate``: a comparison and a data folder in; tables, plots and figures out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, work_bar

if TYPE_CHECKING:
    from medscore.evaluation.cells import Cell


def evaluate(
    config: Annotated[
        Path, typer.Argument(help="Comparison: a YAML file, or the name of a shipped one.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make, or to continue.")],
    data: Annotated[Path, typer.Option(help="Folder of the cohort's data.")] = Path(),
    pattern: options.Pattern = None,
    networks: Annotated[
        Path | None,
        typer.Option(help="Folder of supervised networks; OUTPUT/networks by default."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--processes", help="Number of processes. Default: one per usable core."),
    ] = None,
    threads: Annotated[int, typer.Option(help="Number of threads of each process.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help="Ray cluster to use instead of processes: its address, auto, or local."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Compare only this method; repeatable. All by default."),
    ] = None,
    set_: options.Set = None,
    keep_identity: options.Identity = False,
) -> None:
    """Compare methods on a cohort: tables, plots, comparison images with error maps.

    Supervised networks that do not exist yet are trained first. Every finished slice is kept in
    OUTPUT/cells: after an interruption the same command resumes where it stopped.

    Example: medscore evaluate sparse-ct --data DATA -o runs/sparse-ct

    Your own images: --pattern names them below the data folder.

    Example: medscore evaluate sparse-ct --data DATA --pattern '*/*.dcm' -o runs/mine

    --set changes a parameter of every sampling method that has it, or of one method by name.

    Example: medscore evaluate sparse-ct --data DATA -o runs/x --set conditioner.zeta=0.5 --set
    FISTA-TV:weight=1e-4
    """
    from medscore.cli.train import train_network
    from medscore.evaluation import run

    with work_bar("slices") as show:

        def on_cell(done: int, total: int, cell: Cell | None) -> None:
            show(done, total, "" if cell is None else f"{cell.method}, {cell.task}")

        def train(name: str, recipe: Path, folder: Path) -> None:
            console.print(f"{escape(name)}: training its network into {escape(str(folder))}")
            train_network(recipe, data, folder)

        written = run.evaluate(
            config, output, train=train, data=data, patterns=pattern or (), only=method or (),
            parameters=set_ or (),
            keep_identity=keep_identity,
            run=run.EvaluationRun(workers, threads, ray, networks, on_cell),
        )  # fmt: skip
    for path in written:
        console.print(escape(str(path)))
