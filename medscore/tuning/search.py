"""The trials of a search in an SQLite file, managed by optuna (Akiba et al. 2019)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import Trial, TrialState

from medscore.errors import MedscoreError, reading
from medscore.io.opening import is_there, regular_file
from medscore.tuning.space import Space, is_grid

MOST_OPERATIONS = 1_000_000
"""Thousands of operations of SQLite that the check of a study may take, some tens of seconds."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def lock_of(folder: Path) -> FileLock:
    """The lock that is held while a study is created or its next trial is taken.

    Args:
        folder: folder of the study.
    """
    return FileLock(folder / "study.lock")


def open_study(folder: Path, name: str, space: Space, *, seed: int, worker: int) -> optuna.Study:
    """Open the study in ``folder/study.db``, or create it.

    Args:
        folder: folder of the study.
        name: name of the study.
        space: ranges by parameter.
        seed: seed of the search; the proposals also depend on the number of trials.
        worker: number of the worker, which makes its proposals differ from the others'.

    Raises:
        MedscoreError: the file is not a study, or holds a study with another name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "study.db"
    if is_there(path):
        _check_database(regular_file(path, "study"))
    try:
        with lock_of(folder):
            study = optuna.create_study(
                storage=f"sqlite:///{path}",
                study_name=name,
                direction="maximize",
                load_if_exists=True,
            )
        others = optuna.get_all_study_names(f"sqlite:///{path}")
    except Exception as error:  # raised by sqlalchemy if the file is not a database
        raise MedscoreError(
            f"the study cannot be opened ({str(error).splitlines()[0][:120]})",
            where=path,
            hint="remove it, or choose another folder",
        ) from error
    if others != [name]:
        other = next(n for n in others if n != name)
        raise MedscoreError(
            f"the folder contains a study of other settings ({other}), expected {name}",
            where=path,
            hint="choose another folder, or remove it",
        )
    drawn = seed + 1_000_003 * (len(study.trials) + 1) + worker
    study.sampler = optuna.samplers.TPESampler(seed=drawn % 2**32)
    return study


def _check_database(path: Path) -> None:
    """Reject an SQLite file that is damaged, or holds more than tables.

    Views and triggers run queries of whoever wrote the file.

    Raises:
        MedscoreError: it does.
    """
    hint = "remove it, or choose another folder"
    with reading("a study", path, hint), closing(sqlite3.connect(path)) as database:
        left = iter(range(MOST_OPERATIONS))
        database.set_progress_handler(lambda: int(next(left, None) is None), 1000)
        others = database.execute(
            "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index')"
        ).fetchall()
        (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if others or state != "ok":
            raise ValueError(f"{others[0][0]} is no table" if others else str(state))


def bury(study: optuna.Study) -> int:
    """Mark the trials that a killed run left unfinished as failed, and queue their settings again.

    Args:
        study: the study.

    Returns:
        The number of such trials.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    return len(running)


def queue_grid(study: optuna.Study, space: Space, seed: int) -> None:
    """Queue all combinations of a grid that were not tried yet, in random order.

    Args:
        study: the study.
        space: ranges by parameter, all with a list of values.
        seed: seed of the order.
    """
    tried = [
        _settings(trial)
        for trial in study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.WAITING))
    ]
    combinations = [
        dict(zip(space, values, strict=True))
        for values in product(*(r.values or () for r in space.values()))
    ]
    Random(seed).shuffle(combinations)
    for settings in combinations:
        if settings not in tried:
            study.enqueue_trial(settings)


def _settings(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """The settings of a finished or a queued trial."""
    return trial.params or dict(trial.system_attrs.get("fixed_params", {}))


def optimise(
    study: optuna.Study,
    lock: FileLock,
    space: Space,
    score: Callable[[dict[str, Any]], float],
    trials: int,
    after: Callable[[int], None] = lambda done: None,
) -> None:
    """Try settings until the study has enough finished or running trials.

    Trials of other workers and earlier runs count. A grid is searched until its queue is empty.

    Args:
        study: the study.
        lock: lock that is held while a trial is taken, because SQLite alone would allow two workers
            to take the same one.
        space: ranges by parameter.
        score: maps settings to a score, higher is better; after a MedscoreError, such as a diverged
            sampler, the trial has no score and keeps the message.
        trials: number of trials.
        after: called after every trial with the number of finished trials.
    """
    while True:
        with lock:
            trial = _next(study, space, trials)
        if trial is None:
            return
        try:
            value = score({name: r.suggest(trial, name) for name, r in space.items()})
        except MedscoreError as error:
            # without the file that it names
            trial.set_user_attr("error", str(MedscoreError(error.what, hint=error.hint)))
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)
        after(finished(study))


def _next(study: optuna.Study, space: Space, trials: int) -> Trial | None:
    """The next trial to run; None if there are enough."""
    begun = study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
    waits = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if len(begun) >= trials or (is_grid(space) and not waits):
        return None
    return study.ask()


def finished(study: optuna.Study) -> int:
    """The number of finished trials.

    Args:
        study: the study.
    """
    return len(study.get_trials(deepcopy=False, states=FINISHED))
