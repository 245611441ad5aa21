"""Run a search: open the study, try settings in one or more processes, write the results."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from medscore.engine.spread import pool, whole
from medscore.errors import Interrupted, MedscoreError
from medscore.io.files import atomic_write, working_folder
from medscore.registry.checks import check_counts
from medscore.registry.presets import choose
from medscore.registry.settings import AUTO
from medscore.tuning.objective import Search
from medscore.tuning.search import (
    FINISHED,
    finished,
    has_trials,
    lock_of,
    open_study,
    optimise,
    queue_grid,
    storing,
    unfinished,
)
from medscore.tuning.space import grid_size, is_grid

OnTrial = Callable[[int, int], None]
"""Called with the number of finished trials and the number of all trials."""


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search.

    Attributes:
        best: file of the best settings, which can be used as a preset.
        score: name of the score.
        value: the best score.
        parameters: the best parameters.
        resumed: number of unfinished trials of an interrupted run that were tried again.
    """

    best: Path
    score: str
    value: float
    parameters: dict[str, Any]
    resumed: int


def tune(
    config: str | Path,
    output: str | Path,
    *,
    data: str | Path = ".",
    patterns: Sequence[str] = (),
    measurements: Sequence[str | Path] = (),
    score: str | None = None,
    trials: int | None = None,
    workers: int = 1,
    parameters: Sequence[str] = (),
    on_trial: OnTrial = lambda done, total: None,
) -> Tuned:
    """Search the parameters of a method; the same call resumes an interrupted search.

    Writes study.db, trials.csv and best.yaml into ``output``.

    Args:
        config: name of a shipped search, or a YAML file.
        output: folder to create or to continue.
        data: folder of the cohort's data.
        patterns: patterns of the cohort's files, relative to ``data``; by default the
            configuration's.
        measurements: measurement files to tune on, instead of a cohort.
        score: "psnr" or "ssim" with references, "held-out" or "sure" without; by default the
            search's, or "held-out" for measurement files.
        trials: total number of settings to try; by default the search's.
        workers: number of processes that try settings.
        parameters: parameters that stay fixed, "NAME=VALUE" each.
        on_trial: progress callback.

    Raises:
        MedscoreError: an invalid configuration, or data or settings that do not fit it.
        Interrupted: Ctrl-C; finished trials are kept.
    """
    output = Path(output)
    wanted = 1 if trials is None else trials
    check_counts(("trials", wanted, 1, 10**9), ("workers", workers, 1, 1_000_000))
    search = Search.of(
        config,
        Path(data),
        tuple(Path(path) for path in measurements),
        score,
        trials,
        parameters,
        patterns,
    )
    search.objective()  # refuses invalid input before anything is written
    try:
        with working_folder(output, lambda: has_trials(output)), storing(output):
            try:
                return _tune(search, output, workers, on_trial)
            finally:  # the folder itself is still locked
                Path(lock_of(output).lock_file).unlink(missing_ok=True)
    except KeyboardInterrupt as stop:
        raise Interrupted from stop


def _tune(search: Search, output: Path, workers: int, on_trial: OnTrial) -> Tuned:
    study = open_study(output, search.name)
    left = unfinished(study)
    space, total = search.spec.search, search.trials
    if is_grid(space):
        queue_grid(study, space, search.spec.seed)
        total = min(total, grid_size(space))
    if finished(study) < total:
        on_trial(finished(study), total)
    if workers == 1:
        _try(search, output, study, left, lambda done: on_trial(done, total))
    else:
        with whole(), pool(workers, threads=1) as many:
            parts = [left[w::workers] for w in range(workers)]
            running = [many.submit(_work, search, output, part) for part in parts]
            while any(not f.done() for f in running):
                on_trial(finished(study), total)
                _wait(running)
            for future in running:
                future.result()
    return write_results(output, study, search, len(left))


def _work(search: Search, folder: Path, first: Sequence[int]) -> None:
    """Try settings in a process of its own until the search has enough trials."""
    with storing(folder):
        _try(search, folder, open_study(folder, search.name), first)


def _try(
    search: Search, folder: Path, study: optuna.Study, first: Sequence[int],
    after: Callable[[int], None] = lambda done: None,
) -> None:  # fmt: skip
    optimise(
        study, lock_of(folder), search.spec.search, search.objective(), search.trials,
        seed=search.spec.seed, first=first, after=after,
    )  # fmt: skip


def _wait(running: Sequence[Future[None]]) -> None:
    wait([f for f in running if not f.done()], timeout=1.0, return_when=FIRST_COMPLETED)


def write_results(folder: Path, study: optuna.Study, search: Search, resumed: int = 0) -> Tuned:
    """Write trials.csv with every finished trial, and best.yaml.

    Args:
        folder: folder to write into.
        study: the study of the search.
        search: the search.
        resumed: number of trials that an interrupted run left unfinished.

    Raises:
        MedscoreError: no trial has a score.
    """
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
            "no trial has a score", where=folder / "trials.csv", hint="see its column error"
        )
    best = max(scored, key=lambda t: (t.value, -t.number))
    assert best.value is not None
    head = (
        f"# The best of {len(scored)} trials of {search.spec.name}: {search.score} "
        f"{best.value:.5g}.\n"
    )
    chosen = yaml.safe_dump(_chosen(search, best.params), sort_keys=False)
    atomic_write(folder / "best.yaml", (head + chosen).encode())
    return Tuned(folder / "best.yaml", search.score, best.value, best.params, resumed)


def _chosen(search: Search, found: dict[str, Any]) -> dict[str, Any]:
    """The best settings as a preset, or as the parameters of a baseline."""
    method = search.fixed_method()
    if method.prior is None:
        return {**(method.baseline or {}), **found}
    names = ("sampler", "conditioner", "grid", "steps")
    kept = ("pairs", "across_slices")
    fields = method.prior.model_dump(include={"preset", *names, *kept})
    dotted = {name: value for name, value in found.items() if "." in name}
    plain = {name: value for name, value in found.items() if "." not in name}
    short = {"snr": method.prior.snr, "lam": method.prior.lam}
    settings = choose(
        fields.pop("preset"),
        parameters={**method.prior.set, **dotted},
        **{**fields, **short, **plain},
    )
    chosen: dict[str, Any] = {name: getattr(settings, name) for name in names}
    stated = {name: getattr(settings, name) for name in kept}
    chosen |= {name: value for name, value in stated.items() if value not in (None, AUTO)}
    return {**chosen, "set": dict(settings.parameters)} if settings.parameters else chosen
