"""Reconstruction of many measurements into one folder, with a table of all of them.

Every measurement has an output folder of its own, as if it had been reconstructed alone, and a line
in ``summary.csv``. A measurement that fails is a line with the reason and does not end the others.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from medscore.engine.items import state_path
from medscore.engine.spread import spread_over
from medscore.errors import Interrupted, MedscoreError, WriteError, reading, reason
from medscore.io.files import atomic_write, tidy, working_folder
from medscore.io.json_files import read_json, read_object
from medscore.io.opening import file_sha256
from medscore.measurements.measurement import read_measurement
from medscore.reconstruction.cohort_files import Case, find_cases
from medscore.reconstruction.error_bars import PLAIN as PLAIN_BARS, ErrorBars
from medscore.reconstruction.outputs import check_image
from medscore.reconstruction.reference import RECORDED, ReferenceChoice, check_choice
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.saving import check_window, reconstruct_file
from medscore.registry.checks import check_counts

SUMMARY, SETTINGS, PROVENANCE = "summary.csv", "cohort.json", "provenance.json"
"""The table, the settings that all measurements share, and the record of each of them."""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        name: name of the measurement and of its output folder.
        result: "ok" or "failed".
        slices: number of slices.
        samples: number of samples of each slice.
        nfe: network evaluations per sample.
        residual: largest relative residual |y - A x| / |y|.
        psnr: PSNR in dB of the reconstruction, with a reference.
        ssim: SSIM of the reconstruction, with a reference.
        seconds: wall time of the reconstruction.
        error: the reason of a failure, in one line.
    """

    name: str
    result: str
    slices: int | None = None
    samples: int | None = None
    nfe: int | None = None
    residual: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    seconds: float | None = None
    error: str = ""


def _ignore(done: int, total: int, line: Line | None) -> None:
    """Ignore the progress.

    Args:
        done: number of finished measurements.
        total: number of all measurements.
        line: the last finished one.
    """


@dataclass(frozen=True)
class CohortRun:
    """Execution settings of a cohort, which do not affect its results.

    Attributes:
        workers: number of processes; by default one per usable core.
        threads: number of threads per process.
        ray: address of a Ray cluster to use instead of processes: auto, local or an address.
        on_case: progress callback.
    """

    workers: int | None = None
    threads: int = 1
    ray: str | None = None
    on_case: Callable[[int, int, Line | None], None] = _ignore


@dataclass(frozen=True)
class Outputs:
    """What is written for every measurement.

    Attributes:
        choice: what is read of the references, where it differs from what was measured.
        window: values that preview.png shows black and white; by default by modality.
        hdf5: whether to write all samples to samples.h5 as well.
        image: name of a further file with the reconstruction, in the format of its ending.
        metal: whether metal whose rays are left out is put back.
        phase: whether to write the phase of the images.
        errors: the level of the intervals, and the calibration table; regions belong to one
            measurement.
    """

    choice: ReferenceChoice = RECORDED
    window: tuple[float, float] | None = None
    hdf5: bool = False
    image: str | None = None
    metal: bool = True
    phase: bool = False
    errors: ErrorBars = PLAIN_BARS


PLAIN: Outputs = Outputs()


def reconstruct_cohort(
    sources: Sequence[str | Path],
    folder: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    references: str | Path | None = None,
    outputs: Outputs = PLAIN,
    run: CohortRun = CohortRun(),
) -> list[Line]:
    """Reconstruct many measurement files; the same call resumes an interrupted cohort.

    ``folder`` gets a folder for each measurement, as :func:`~medscore.reconstruction.saving.save`
    writes it, and summary.csv. Finished measurements are not reconstructed again; failed ones are.

    Args:
        sources: measurement files, and folders in which all files ``*.h5`` are taken.
        folder: folder to create or to continue.
        settings: parameters of :func:`~medscore.reconstruction.run.choose_method` by name.
        references: folder of ground truths: files or folders that are called as the measurement,
            such as ``a.nii.gz`` for ``a.h5``.
        outputs: what is written for every measurement.
        run: execution settings.

    Returns:
        The lines of the table, in the order of the names.

    Raises:
        MedscoreError: invalid settings, no measurement, a reference that is missing, or a folder
            with results of other settings.
        Interrupted: Ctrl-C; finished measurements are kept.
    """
    folder, chosen = Path(folder), dict(settings or {})
    workers = 1 if run.workers is None else run.workers
    check_counts(("workers", workers, 1, 10_000), ("threads", run.threads, 1, 10_000))
    check_window(outputs.window)
    check_image(outputs.image)
    _check_errors(outputs.errors)
    check_choice(None if references is None else Path(references), outputs.choice)
    cases = find_cases(sources, None if references is None else Path(references))
    _check_method(chosen, cases, outputs.errors)
    solve = partial(solve_case, folder=folder, settings=chosen, outputs=outputs)
    spread = spread_over(run.workers, run.threads, run.ray)
    record = {
        "settings": chosen, "outputs": asdict(outputs), "references": references is not None,
    }  # fmt: skip
    with working_folder(folder, lambda: any(folder.glob(f"*/{PROVENANCE}"))):
        _check_settings(folder, record)
        lines: dict[int, Line] = {}
        run.on_case(0, len(cases), None)
        try:
            for place, line in spread(solve, cases):
                lines[place] = line
                write_summary(folder / SUMMARY, [lines[k] for k in sorted(lines)])
                run.on_case(len(lines), len(cases), line)
        except KeyboardInterrupt as stop:
            raise Interrupted from stop
    return [lines[k] for k in sorted(lines)]


def solve_case(case: Case, folder: Path, settings: Mapping[str, Any], outputs: Outputs) -> Line:
    """Reconstruct one measurement into its folder, or read the result of an earlier run.

    Args:
        case: the measurement.
        folder: folder of the cohort.
        settings: parameters of the method.
        outputs: what is written.

    Raises:
        WriteError: the disk is full or cannot be written, which concerns all measurements.
    """
    target = folder / case.name
    try:
        if target.exists():
            tidy(target, (state_path(target),))
            _check_same(target, case.path)
        else:
            reconstruct_file(
                case.path, target, choose_method(**settings), reference=case.reference,
                choice=outputs.choice, window=outputs.window, hdf5=outputs.hdf5,
                image=outputs.image, metal=outputs.metal, phase=outputs.phase,
                errors=outputs.errors,
            )  # fmt: skip
        return _line(case.name, target)
    except WriteError:
        raise
    except MedscoreError as error:
        return Line(case.name, "failed", error=str(error))
    except Exception as error:  # the others shall not end with this one
        return Line(case.name, "failed", error=f"{type(error).__name__}: {reason(error)}")


def write_summary(path: Path, lines: Sequence[Line]) -> None:
    """Write the table, atomically.

    Args:
        path: file to write.
        lines: its lines.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, [f.name for f in fields(Line)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(line) for line in lines)
    atomic_write(path, text.getvalue().encode())


def _line(name: str, target: Path) -> Line:
    """The line of a finished measurement, from its outputs."""
    hint = "remove the folder, and it is reconstructed again"
    with reading("the result of a measurement", target, hint):
        record = read_object(target / PROVENANCE, hint=hint)
        scores: Mapping[str, Any] = {}
        if (target / "metrics.json").exists():
            scores = read_object(target / "metrics.json", hint=hint)["rows"][-1]
        per_sample = record["relative_residual"]["per_sample"]
        return Line(
            name, "ok", slices=len(per_sample), samples=len(per_sample[0]),
            nfe=record["nfe_per_sample"], residual=record["relative_residual"]["max"],
            psnr=scores.get("psnr"), ssim=scores.get("ssim"), seconds=record["seconds"],
        )  # fmt: skip


def _check_method(settings: Mapping[str, Any], cases: Sequence[Case], errors: ErrorBars) -> None:
    """Reject settings that no measurement could be reconstructed with, before anything is written.

    What is wrong with the settings names no file; what is wrong with a measurement does.
    """
    method = choose_method(**settings)
    for case in cases:
        try:
            m = read_measurement(case.path)
            method.check(m, case.path)
        except MedscoreError as error:
            if error.where is None:
                raise
        else:
            errors.plan(m, method.samples, method.identity(m.modality))
            return


def _check_errors(errors: ErrorBars) -> None:
    """Reject error bars that no measurement, or not all, could have."""
    errors.check()
    if errors.roi is not None:
        raise MedscoreError(
            "`roi` is the mask of one measurement, but this is a cohort", hint="leave it out"
        )


def _check_same(target: Path, path: Path) -> None:
    """Reject a result of another measurement."""
    if read_object(target / PROVENANCE).get("measurement_sha256") != file_sha256(path):
        raise MedscoreError(
            "holds the result of another measurement, or the file has changed since",
            where=target, hint="remove it, or choose another folder",
        )  # fmt: skip


def _check_settings(folder: Path, record: Mapping[str, Any]) -> None:
    """Record the settings of a new cohort, or reject those that differ from the recorded ones."""
    path, content = folder / SETTINGS, json.loads(json.dumps(record, default=str))
    if not path.exists():
        atomic_write(path, (json.dumps(content, indent=2) + "\n").encode())
        return
    before = read_json(path)
    if before != content:
        raise MedscoreError(
            "holds a cohort that was reconstructed with other settings",
            where=folder, hint="repeat them, or choose another folder",
        )  # fmt: skip
