"""Several measurements of ``medscore recon``: progress, a table, and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from medscore.cli.progress import console, work_bar
from medscore.errors import MedscoreError
from medscore.reconstruction.cohort import SUMMARY, CohortRun, Line, Outputs, reconstruct_cohort


def recon_cohort(
    measurements: Sequence[Path],
    output: Path,
    settings: Mapping[str, Any],
    references: Path | None,
    outputs: Outputs,
    spread: Mapping[str, Any],
) -> None:
    """Reconstruct a cohort and print where its table is.

    Args:
        measurements: files and folders.
        output: folder to create or to continue.
        settings: parameters of the method.
        references: folder of ground truths.
        outputs: what is written for every measurement.
        spread: number of processes and threads, and the Ray cluster, where they are chosen.

    Raises:
        MedscoreError: invalid input, or a measurement that failed.
    """
    chosen = {name: value for name, value in spread.items() if value is not None}
    with work_bar(output.name) as show:

        def on_case(done: int, total: int, line: Line | None) -> None:
            show(done, total, "" if line is None else f"{line.name}: {line.result}")

        lines = reconstruct_cohort(
            measurements, output, settings, references=references, outputs=outputs,
            run=CohortRun(**chosen, on_case=on_case),
        )  # fmt: skip
    table, failed = output / SUMMARY, [line for line in lines if line.result != "ok"]
    if not failed:
        console.print(f"{escape(str(table))}: {len(lines)} reconstructed")
    else:
        first = f"{failed[0].name}: {failed[0].error}"
        raise MedscoreError(
            f"{len(failed)} of {len(lines)} measurements failed, the first is {first}", where=table,
            hint="correct them and repeat the command, which keeps the others",
        )  # fmt: skip
