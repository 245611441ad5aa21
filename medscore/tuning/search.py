"""The trials of a search, kept in SQLite (optuna, Akiba et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import Trial, TrialState

from medscore.errors import MedscoreError
from medscore.tuning.space import Space, is_grid

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def lock_of(folder: Path) -> FileLock:
    """Held by whoever makes the study in a folder or takes its next trial."""
    return FileLock(folder / "study.lock")


def open_study(folder: Path, name: str, space: Space, *, seed: int, worker: int) -> optuna.Study:
    """The study of that name in ``folder/study.db``, made if it is not there.

    Args:
        seed, worker: of the sampler's draws, which also depend on how many trials there are.

    Raises:
        MedscoreError: the file is no study, or one of another name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "study.db"
    try:
        with lock_of(folder):
            study = optuna.create_study(
                storage=f"sqlite:///{path}",
                study_name=name,
                direction="maximize",
                load_if_exists=True,
            )
        others = optuna.get_all_study_names(f"sqlite:///{path}")
    except Exception as error:  # sqlalchemy's, of a file that is no database
        raise MedscoreError(
            f"the study cannot be opened ({str(error).splitlines()[0][:120]})",
            where=path,
            hint="remove it, or choose another folder",
        ) from error
    if others != [name]:
        other = next(n for n in others if n != name)
        raise MedscoreError(
            f"the folder holds a study of other settings ({other}), not {name}",
            where=path,
            hint="choose another folder, or remove it",
        )
    drawn = seed + 1_000_003 * (len(study.trials) + 1) + worker
    study.sampler = optuna.samplers.TPESampler(seed=drawn % 2**32)
    return study


def bury(study: optuna.Study) -> int:
    """Trials that a killed run left unfinished become failures, and their settings wait to be tried
    again; returns how many there were.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    return len(running)


def queue_grid(study: optuna.Study, space: Space, seed: int) -> None:
    """Let all combinations of a grid that were not tried wait, in an order that ``seed`` draws."""
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
    """Those of a trial that was made, or of one that waits."""
    return trial.params or dict(trial.system_attrs.get("fixed_params", {}))


def optimise(
    study: optuna.Study,
    lock: FileLock,
    space: Space,
    score: Callable[[dict[str, Any]], float],
    trials: int,
    after: Callable[[int], None] = lambda done: None,
) -> None:
    """Try settings until ``trials`` are finished or under way, those of other workers and earlier
    runs included; of a grid, until none waits.

    Args:
        lock: held while a trial is taken: SQLite alone lets two workers take the same one.
        score: of settings, more is better; a MedscoreError (the sampler diverged, say) ends the
            trial without a score, its reason kept. after: told the number of finished trials.
    """
    while True:
        with lock:
            trial = _next(study, space, trials)
        if trial is None:
            return
        try:
            value = score({name: r.suggest(trial, name) for name, r in space.items()})
        except MedscoreError as error:
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)
        after(finished(study))


def _next(study: optuna.Study, space: Space, trials: int) -> Trial | None:
    """A trial to make, if there are not enough."""
    begun = study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
    waits = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if len(begun) >= trials or (is_grid(space) and not waits):
        return None
    return study.ask()


def finished(study: optuna.Study) -> int:
    """How many trials are."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))
