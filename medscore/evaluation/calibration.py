"""Calibration of intervals: how wide they must be with a prior, measured on patients with a truth.

Every task of a comparison is a family of measurements. Its slices are measured and reconstructed,
and the quantiles of the errors over the predictive deviation of each patient make the table
(:mod:`medscore.uncertainty.table`). Slices that are unlike the prior's images are left out, because
intervals of such images are never called calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medscore.engine.spread import Spread, spread_over
from medscore.errors import MedscoreError
from medscore.evaluation.calibration_table import table_of
from medscore.evaluation.cells import key_of
from medscore.evaluation.comparison import check, cohort, with_patterns
from medscore.evaluation.config import EvaluationSpec, SamplingSpec, read_evaluation
from medscore.evaluation.filling import filled, make_folder
from medscore.evaluation.methods import parameters
from medscore.evaluation.slice_errors import ErrorStore, Piece, SliceErrors, errors_of_piece
from medscore.io.configs import config_path
from medscore.io.files import working_folder
from medscore.io.opening import is_there
from medscore.numeric import is_number
from medscore.reconstruction.chosen_prior import ChosenPrior
from medscore.registry.checks import check_counts
from medscore.uncertainty.risk import RULES
from medscore.uncertainty.table import CalibrationTable, write_table

ENDING = ".calibration.json"
"""Ending of the names of calibration tables."""

OnSlice = Callable[[int, int, SliceErrors | None], None]
"""Called with the number of finished cells, the number of all cells, and the last cell."""


def _ignore(done: int, total: int, cell: SliceErrors | None) -> None:
    """Ignore the progress.

    Args:
        done: number of finished cells.
        total: number of all cells.
        cell: the last finished cell.
    """


@dataclass(frozen=True)
class CalibrationRun:
    """Execution settings of a calibration, which do not affect its results.

    Attributes:
        workers: number of processes; by default one per usable core.
        threads: number of threads per process.
        ray: address of a Ray cluster to use instead of processes: auto, local or an address.
        on_cell: progress callback.
    """

    workers: int | None = None
    threads: int = 1
    ray: str | None = None
    on_cell: OnSlice = _ignore


@dataclass(frozen=True)
class Calibration:
    """A finished calibration.

    Attributes:
        path: the table.
        table: its content.
        cells: the errors of the slices, by task.
    """

    path: Path
    table: CalibrationTable
    cells: dict[str, list[SliceErrors]]


@dataclass(frozen=True)
class ErrorSet:
    """The errors of the slices of a comparison.

    Attributes:
        spec: the comparison, with the method alone.
        path: its file.
        cells: the errors of the slices, by task.
    """

    spec: EvaluationSpec
    path: Path
    cells: dict[str, list[SliceErrors]]


def calibrate(
    config: str | Path,
    output: str | Path,
    *,
    data: str | Path = ".",
    patterns: Sequence[str] = (),
    method: str | None = None,
    rule: str = "measured",
    confidence: float = 0.9,
    run: CalibrationRun = CalibrationRun(),
) -> Calibration:
    """Measure how wide intervals must be with a prior, and write its calibration table.

    Finished cells are kept in ``output/cells``, so the same call resumes an interrupted one.

    Args:
        config: name of a shipped comparison, or a YAML file.
        output: folder to create or to continue; the table is ``PRIOR.calibration.json`` in it.
        data: folder of the cohort's data.
        patterns: patterns of the cohort's files, relative to ``data``; by default the
            configuration's.
        method: name of the sampling method; by default ``ours`` of the configuration.
        rule: what the widths are chosen for: "measured", "patient", "expected" or "confident"
            (:mod:`medscore.uncertainty.risk`).
        confidence: probability of the bound, of the rules "patient" and "confident".
        run: execution settings.

    Raises:
        MedscoreError: an invalid configuration or rule, a method that draws no two samples, or
            slices of which none is like those of the prior.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    check_rule(rule, confidence)
    measured = measured_errors(config, output, data=data, patterns=patterns, method=method, run=run)
    table = table_of(measured.cells, measured.spec.cohort.data, rule, confidence, measured.path)
    (sampling,) = measured.spec.methods
    assert sampling.prior is not None
    prior = ChosenPrior(None, sampling.prior.prior, measured.spec.cohort.modality)
    table = table.model_copy(update={"covariance_sha256": prior.covariance_sha256 or None})
    target = Path(output) / f"{prior.path.stem}{ENDING}"
    write_table(target, table)
    return Calibration(target, table, measured.cells)


def measured_errors(
    config: str | Path,
    output: str | Path,
    *,
    data: str | Path = ".",
    patterns: Sequence[str] = (),
    method: str | None = None,
    run: CalibrationRun = CalibrationRun(),
) -> ErrorSet:
    """The errors of all slices of a calibration, of which :func:`calibrate` makes the table.

    Args:
        config: see :func:`calibrate`.
        output: see :func:`calibrate`.
        data: see :func:`calibrate`.
        patterns: see :func:`calibrate`.
        method: see :func:`calibrate`.
        run: see :func:`calibrate`.

    Raises:
        MedscoreError: an invalid configuration, or a method that draws no two samples.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    output, data = Path(output), Path(data)
    workers = 1 if run.workers is None else run.workers
    check_counts(("workers", workers, 1, 10_000), ("threads", run.threads, 1, 10_000))
    path = config_path(config, "eval")
    spec = chosen_method(read_evaluation(path), method, path)
    spec = spec.model_copy(update={"cohort": with_patterns(spec.cohort, patterns)})
    cases = cohort(spec.cohort, data, spec.tasks)
    check(spec, cases, path)
    (sampling,) = spec.methods
    pieces = [
        Piece(case, number, task, sampling, spec.seed, path)
        for task in spec.tasks
        for number, case in enumerate(cases)
    ]
    spread = spread_over(run.workers, run.threads, run.ray)
    with working_folder(output, lambda: any(output.glob("cells/*.npz"))):
        store = ErrorStore(output / "cells")
        make_folder(store.folder)
        cells = fill(store, pieces, spread, run.on_cell)
    by_task: dict[str, list[SliceErrors]] = {task.name: [] for task in spec.tasks}
    for piece, cell in zip(pieces, cells, strict=True):
        by_task[piece.task.name].append(cell)
    return ErrorSet(spec, path, by_task)


def check_rule(rule: str, confidence: float) -> None:
    """Reject an unknown rule, and a confidence that is no probability.

    Args:
        rule: see :func:`calibrate`.
        confidence: see :func:`calibrate`.

    Raises:
        MedscoreError: either.
    """
    if rule not in RULES:
        raise MedscoreError(f"`rule` is {rule!r:.40}", hint=f"use one of: {', '.join(RULES)}")
    if not is_number(confidence) or not 0 < confidence < 1:
        raise MedscoreError(
            f"`confidence` is {confidence!r:.40}", hint="use a number between 0 and 1, such as 0.9"
        )


def chosen_method(spec: EvaluationSpec, name: str | None, where: Path) -> EvaluationSpec:
    """A comparison with the method alone that is calibrated.

    Args:
        spec: the comparison.
        name: name of the method; by default ``ours``.
        where: the configuration, for error messages.

    Raises:
        MedscoreError: no such method, it does not sample with a prior, or it draws one sample.
    """
    name = spec.ours if name is None else name
    known = {m.name: m for m in spec.methods if m.prior is not None}
    if name not in known:
        raise MedscoreError(
            f"`method` {name!r:.60} does not sample with a prior", where=where,
            hint=f"use one of: {', '.join(known)}" if known else "use another configuration",
        )  # fmt: skip
    method = known[name]
    used = [task for task in spec.tasks if method.tasks is None or task.name in method.tasks]
    for task in used:
        drawn = SamplingSpec.model_validate(parameters(method, task.name)).samples
        if drawn < 2:
            raise MedscoreError(
                f"method {name!r:.60} draws {drawn} sample on {task.name}", where=where,
                hint="set samples: 8, the number that is calibrated",
            )  # fmt: skip
    return spec.model_copy(update={"methods": (method,), "ours": name, "tasks": tuple(used)})


def fill(
    store: ErrorStore, pieces: Sequence[Piece], spread: Spread, on_cell: OnSlice = _ignore
) -> list[SliceErrors]:
    """Compute the cells that are not stored yet.

    Args:
        store: the finished cells.
        pieces: all cells.
        spread: distributes the work.
        on_cell: progress callback.

    Raises:
        MedscoreError: a stored cell is damaged, or one cannot be computed; finished cells are kept.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    keys = [key_of(*piece.fixed) for piece in pieces]
    cells = {i: store.get(key) for i, key in enumerate(keys) if is_there(store.path(key))}

    def keep(i: int, cell: SliceErrors) -> SliceErrors:
        store.put(keys[i], cell)
        return cell

    return filled(cells, pieces, errors_of_piece, keep, spread, on_cell)
