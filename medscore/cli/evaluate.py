"""``medscore evaluate``: a comparison and a data folder in; tables, plots and pictures out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli.options import config_path
from medscore.cli.progress import console, counting_bar
from medscore.cli.train import TrainingView, print_result
from medscore.errors import MedscoreError
from medscore.evaluation import methods
from medscore.evaluation.cells import Cell, Store, key_of
from medscore.evaluation.comparison import check, cohort, pictured, pieces
from medscore.evaluation.config import EvaluationSpec, MethodSpec, read_evaluation
from medscore.evaluation.report import Outcome, write_report
from medscore.evaluation.spread import Spread, cluster, processes
from medscore.evaluation.table import rows_of


def evaluate(
    config: Annotated[Path, typer.Argument(help="Comparison (YAML), see configs/eval.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make or go on with.")],
    data: Annotated[Path, typer.Option(help="Folder the cohort's data lie in.")] = Path(),
    networks: Annotated[
        Path | None,
        typer.Option(help="Folder of supervised networks; OUTPUT/networks by default."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--processes", help="Processes; one a core by default.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of each.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster instead of processes; auto, or local."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method; repeatable. All by default.")
    ] = None,
) -> None:
    """Compare methods on a cohort: tables, plots, comparison images with error maps.

    Supervised networks are trained first where they are not there yet. Every finished slice is
    kept in OUTPUT/cells: after an interruption the same command goes on where it stopped.

    Example: medscore evaluate configs/eval/sparse-ct.yaml --data DATA -o runs/sparse-ct
    """
    for name, value in (("--processes", workers), ("--threads", threads)):
        if value is not None and value < 1:
            raise MedscoreError(f"{name} is {value}", hint="use 1 or more")
    config = config_path(config, "eval")
    spec = _only(read_evaluation(config), method, config)
    convention = methods.convention(spec.metric)
    cases = cohort(spec.cohort, data)
    check(spec, cases, config)
    spread = (
        cluster(ray, threads) if ray is not None
        else processes(workers or os.cpu_count() or 1, threads)
    )  # fmt: skip
    trained = train_missing(spec, networks or output / "networks", data)
    store = Store(output / "cells")
    store.make()
    work = pieces(spec, cases, config, trained)
    cells = fill(store, work, spread)
    outcome = Outcome(spec, convention, cases, rows_of(cells), pictured(store, work))
    arguments = ["medscore", "evaluate", f"configs/eval/{config.name}", "--data", "DATA"]
    command = shlex.join([*arguments, "-o", output.name])
    for path in write_report(output, outcome, command):
        console.print(escape(str(path)))


def train_missing(spec: EvaluationSpec, folder: Path, data: Path) -> dict[str, Path]:
    """The files of the supervised methods' networks, by the method's name; trained as needed.

    Raises:
        MedscoreError: a recipe or its data are wrong.
    """
    from medscore.training.run import execute
    from medscore.training.supervised import prepare_supervised

    found = {}
    for method in spec.methods:
        if method.supervised is None:
            continue
        recipe = config_path(Path(method.supervised), "supervised")
        path = folder / recipe.stem / f"{recipe.stem}.safetensors"
        if not path.is_file():
            console.print(f"{escape(method.name)}: no network at {escape(str(path))} yet")
            with ExitStack() as stack:
                view = TrainingView(stack)
                run = prepare_supervised(recipe, data)
                result = execute(run, path.parent, on_start=view.start, on_step=view.step)
            print_result(result)
        found[method.name] = path.resolve()
    return found


def fill(store: Store, work: Sequence[methods.Work], spread: Spread) -> list[Cell]:
    """Find the cells that are not there yet, and return all of them in the order of ``work``.

    Raises:
        MedscoreError: a cell cannot be found; those before it are kept.
    """
    keys = [key_of(*piece.fixed) for piece in work]
    todo = [i for i, piece in enumerate(work) if not store.has(keys[i], images=piece.keep)]
    with counting_bar("slices", len(work)) as show:
        show(len(work) - len(todo), "")
        try:
            for done, (place, (cell, images)) in enumerate(
                spread(methods.cell_of, [work[i] for i in todo]), start=1
            ):
                store.put(keys[todo[place]], cell, images)
                show(len(work) - len(todo) + done, f"{cell.method}, {cell.task}")
        except KeyboardInterrupt:
            console.print("interrupted: repeat the same command to resume where it stopped")
            raise
    return [store.get(key) for key in keys]


def _only(spec: EvaluationSpec, names: list[str] | None, where: Path) -> EvaluationSpec:
    if not names:
        return spec
    known: dict[str, MethodSpec] = {m.name: m for m in spec.methods}
    for name in names:
        if name not in known:
            raise MedscoreError(
                f"--method {name!r}", where=where, hint=f"use one of: {', '.join(known)}"
            )
    kept = tuple(m for m in spec.methods if m.name in names)
    ours = spec.ours if spec.ours in names else kept[0].name
    return spec.model_copy(update={"methods": kept, "ours": ours})
