"""``medscore tune``: a method's settings by Bayesian optimisation, with references or without."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.markup import escape

from medscore.cli.options import config_path
from medscore.cli.progress import console, counting_bar
from medscore.errors import MedscoreError
from medscore.evaluation import methods
from medscore.evaluation.spread import pool
from medscore.io.files import atomic_write
from medscore.tuning.objective import Search
from medscore.tuning.space import grid_size, is_grid

if TYPE_CHECKING:  # slow to import
    import optuna

PRESET = ("sampler", "conditioner", "grid", "steps", "snr", "lam")
"""What ``medscore recon --preset`` takes of a sampling method."""


def tune(
    config: Annotated[Path, typer.Argument(help="Search (YAML), see configs/tune.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make or go on with.")],
    data: Annotated[Path, typer.Option(help="Folder the cohort's data lie in.")] = Path(),
    measurement: Annotated[
        list[Path] | None,
        typer.Option(help="Tune on these measurement files instead of a cohort; repeatable."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="psnr or ssim against references; held-out or sure without. By the search."
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Settings to try in all.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that try settings.")] = 1,
) -> None:
    """Search the settings of a method; trials are kept in OUTPUT/study.db.

    The same command goes on where it stopped. Writes trials.csv and best.yaml, which `medscore
    recon --preset` takes where the method samples with a prior.

    Example: medscore tune configs/tune/pc-ct-23.yaml --data DATA -o runs/tune --workers 2

    Without references: views or lines are left out of the measurements and predicted.

    Example: medscore tune configs/tune/pc-ct-23.yaml --measurement meas.h5 -o runs/tune
    """
    config = config_path(config, "tune")
    for name, value in (("--trials", trials), ("--workers", workers)):
        if value is not None and value < 1:
            raise MedscoreError(f"{name} is {value}", hint="use 1 or more")
    if workers > 1_000_000:
        raise MedscoreError(f"--workers is {workers}", hint="use fewer")
    search = Search.of(config, data, tuple(measurement or ()), score, trials)
    search.objective()  # whatever is wrong is said before anything is made
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MedscoreError(
            f"cannot be written ({error.strerror})", where=output, hint="choose another folder"
        ) from error
    from medscore.tuning.search import bury, finished, queue_grid

    study = search.study(output, 0)
    if lost := bury(study):
        console.print(f"{lost} unfinished trial(s) of an interrupted run are tried again")
    space, total = search.spec.search, search.trials
    if is_grid(space):
        queue_grid(study, space, search.spec.seed)
        total = min(total, grid_size(space))
    try:
        with counting_bar("trials", total) as show:
            if workers == 1:
                _work(search, output, 0, lambda done: show(done, ""))
            else:
                with pool(workers, threads=1) as many:
                    running = [many.submit(_work, search, output, w) for w in range(workers)]
                    while any(not f.done() for f in running):
                        show(finished(study), "")
                        _wait(running)
                    for future in running:
                        future.result()
    except KeyboardInterrupt:
        console.print("interrupted: repeat the same command to resume where it stopped")
        raise
    write_results(output, study, search)


def _work(
    search: Search, folder: Path, worker: int, after: Callable[[int], None] = lambda done: None
) -> None:
    """Try settings until there are enough."""
    from medscore.tuning.search import lock_of, optimise

    study = search.study(folder, worker)
    optimise(
        study, lock_of(folder), search.spec.search, search.objective(), search.trials, after
    )  # fmt: skip


def _wait(running: list[Any]) -> None:
    from concurrent.futures import FIRST_COMPLETED, wait

    wait([f for f in running if not f.done()], timeout=1.0, return_when=FIRST_COMPLETED)


def write_results(folder: Path, study: optuna.Study, search: Search) -> None:
    """trials.csv, every finished trial, and best.yaml.

    Raises:
        MedscoreError: no trial got a score.
    """
    from medscore.tuning.search import FINISHED

    done = study.get_trials(deepcopy=False, states=FINISHED)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(search.spec.search)
    writer.writerow(["trial", *names, search.score, "error"])
    for trial in done:
        row = [trial.params.get(name, "") for name in names]
        writer.writerow([trial.number, *row, trial.value, trial.user_attrs.get("error", "")])
    atomic_write(folder / "trials.csv", out.getvalue().encode())
    scored = [t for t in done if t.value is not None]
    if not scored:
        raise MedscoreError(
            "no trial got a score", where=folder / "trials.csv", hint="see its column error"
        )
    best = max(scored, key=lambda t: (t.value, -t.number))
    method = search.spec.method
    if method.prior is not None:
        spec = method.prior.model_copy(update=best.params)
        settings = methods.settings_of(spec)
        chosen = {key: getattr(settings, key) for key in PRESET}
        chosen = {key: value for key, value in chosen.items() if value is not None}
    else:
        chosen = {**(method.baseline or {}), **best.params}
    head = (
        f"# The best of {len(scored)} trials of {search.spec.name}: {search.score} "
        f"{best.value:.5g}.\n"
    )
    atomic_write(folder / "best.yaml", (head + yaml.safe_dump(chosen, sort_keys=False)).encode())
    console.print(
        f"{escape(str(folder / 'best.yaml'))}: {search.score} {best.value:.5g} with "
        f"{json.dumps(best.params)}"
    )
