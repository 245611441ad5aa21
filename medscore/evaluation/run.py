"""Run a comparison: check it, train missing networks, compute the cells, write the report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.engine.spread import Spread, spread_over
from medscore.errors import MedscoreError
from medscore.evaluation import methods
from medscore.evaluation.cells import Cell, Store, key_of
from medscore.evaluation.comparison import (
    check,
    cohort,
    overridden,
    pictured,
    pieces,
    with_patterns,
)
from medscore.evaluation.config import EvaluationSpec, MethodSpec, read_evaluation
from medscore.evaluation.filling import filled
from medscore.evaluation.report import Outcome, write_report
from medscore.evaluation.table import rows_of
from medscore.io.configs import config_path
from medscore.io.files import working_folder
from medscore.io.identity import without_folder
from medscore.registry.checks import check_counts

OnCell = Callable[[int, int, Cell | None], None]
"""Called with the number of finished cells, the number of all cells, and the last cell."""


def _ignore(done: int, total: int, cell: Cell | None) -> None:
    """Ignore the progress.

    Args:
        done: number of finished cells.
        total: number of all cells.
        cell: the last finished cell.
    """


Train = Callable[[str, Path, Path], None]
"""Trains a supervised network, given the name of the method, the recipe and the output folder."""


@dataclass(frozen=True)
class EvaluationRun:
    """Execution settings of a comparison, which do not affect its results.

    Attributes:
        workers: number of processes; by default one per usable core.
        threads: number of threads per process.
        ray: address of a Ray cluster to use instead of processes: auto, local or an address.
        networks: folder of supervised networks; by default ``networks`` in the output folder.
        on_cell: progress callback.
    """

    workers: int | None = None
    threads: int = 1
    ray: str | None = None
    networks: Path | None = None
    on_cell: OnCell = _ignore


def evaluate(
    config: str | Path,
    output: str | Path,
    *,
    train: Train,
    data: str | Path = ".",
    patterns: Sequence[str] = (),
    only: Sequence[str] = (),
    parameters: Sequence[str] = (),
    keep_identity: bool = False,
    run: EvaluationRun = EvaluationRun(),
) -> list[Path]:
    """Compare methods on a cohort.

    Finished cells are kept in ``output/cells``, so the same call resumes an interrupted comparison.

    Args:
        config: name of a shipped comparison, or a YAML file.
        output: folder to create or to continue.
        train: trains a supervised network that does not exist yet.
        data: folder of the cohort's data.
        patterns: patterns of the cohort's files, relative to ``data``; by default the
            configuration's.
        only: names of the methods to compare; by default all.
        parameters: "[METHOD:]NAME=VALUE" each; without METHOD it applies to all sampling methods
            that have the parameter.
        keep_identity: whether slices.csv states the names of files and patients too, not only
            the starts of the files' hashes.
        run: execution settings.

    Returns:
        The paths of the files written.

    Raises:
        MedscoreError: an invalid configuration, or data or methods that do not fit it.
    """
    output, data = Path(output), Path(data)
    workers = 1 if run.workers is None else run.workers
    check_counts(("workers", workers, 1, 10_000), ("threads", run.threads, 1, 10_000))
    path = config_path(config, "eval")
    spec = overridden(_only(read_evaluation(path), only, path), parameters)
    spec = spec.model_copy(update={"cohort": with_patterns(spec.cohort, patterns)})
    convention = methods.convention(spec.metric)
    cases = cohort(spec.cohort, data, spec.tasks)
    check(spec, cases, path)
    spread = spread_over(run.workers, run.threads, run.ray)
    own = str(config) if path != Path(config) else f"{spec.name}.yaml"  # not the file's name
    options = {"--method": only, "--pattern": patterns, "--set": parameters}
    command = _command(
        own, output, options, data=data != Path(), networks=run.networks is not None,
        keep_identity=keep_identity,
    )  # fmt: skip
    recipes = _recipes(spec)
    results = "cells/*.json", "networks/*/state.safetensors"
    with working_folder(output, lambda: any(any(output.glob(each)) for each in results)):
        networks = _networks(recipes, run.networks or output / "networks", train)
        store = Store(output / "cells")
        store.make()
        work = pieces(spec, cases, path, networks)
        cells = fill(store, work, spread, run.on_cell)
        outcome = Outcome(spec, convention, cases, rows_of(cells), pictured(store, work))
        return write_report(output, outcome, command, keep_identity=keep_identity)


def _command(
    config: str,
    output: Path,
    options: Mapping[str, Sequence[str]],
    *,
    data: bool,
    networks: bool,
    keep_identity: bool,
) -> str:
    """The command that was run, with DATA and NETWORKS in place of private folders."""
    words = ["medscore", "evaluate", config]
    words += ["--data", "DATA"] if data else []
    words += ["--networks", "NETWORKS"] if networks else []
    for option, values in options.items():
        shown = map(without_folder, values) if option == "--pattern" else values
        words += [part for value in shown for part in (option, value)]
    words += ["--keep-identity"] if keep_identity else []
    return shlex.join([*words, "-o", output.name or "."])


def fill(
    store: Store,
    work: Sequence[methods.Work],
    spread: Spread,
    on_cell: OnCell = _ignore,
) -> list[Cell]:
    """Compute the cells that are not stored yet.

    Args:
        store: the finished cells.
        work: all cells of the comparison.
        spread: distributes the work.
        on_cell: progress callback.

    Returns:
        All cells in the order of ``work``.

    Raises:
        MedscoreError: a stored cell is damaged, or one cannot be computed; finished cells are kept.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    keys = [key_of(*piece.fixed) for piece in work]
    cells: dict[int, Cell] = {}
    for i, piece in enumerate(work):
        if store.has(keys[i], images=piece.keep):
            cells[i] = store.get(keys[i])
            if piece.keep:
                store.images(keys[i])  # read later; damaged ones are refused before any work

    def keep(i: int, found: tuple[Cell, dict[str, NDArray[np.float32]] | None]) -> Cell:
        cell, images = found
        store.put(keys[i], cell, images)
        return cell

    return filled(cells, work, methods.cell_of, keep, spread, on_cell)


def _recipes(spec: EvaluationSpec) -> dict[str, Path]:
    """The recipes of the supervised methods by method name."""
    return {
        method.name: config_path(method.supervised, "supervised")
        for method in spec.methods
        if method.supervised is not None
    }


def _networks(recipes: dict[str, Path], folder: Path, train: Train) -> dict[str, Path]:
    """The networks of the supervised methods by method name; missing ones are trained."""
    found = {}
    for name, recipe in recipes.items():
        path = folder / recipe.stem / f"{recipe.stem}.safetensors"
        if not path.is_file():
            train(name, recipe, path.parent)
        found[name] = path.resolve()
    return found


def _only(spec: EvaluationSpec, names: Sequence[str], where: Path) -> EvaluationSpec:
    if not names:
        return spec
    known: dict[str, MethodSpec] = {m.name: m for m in spec.methods}
    for name in names:
        if name not in known:
            raise MedscoreError(
                f"`method` {name!r}", where=where, hint=f"use one of: {', '.join(known)}"
            )
    kept: dict[str, Any] = {"methods": tuple(m for m in spec.methods if m.name in names)}
    ours = spec.ours if spec.ours in names else kept["methods"][0].name
    return spec.model_copy(update={**kept, "ours": ours})
