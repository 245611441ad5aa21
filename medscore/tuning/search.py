"""The trials of a search in an SQLite file, managed by optuna (Akiba et al. 2019)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import Trial, TrialState

from medscore.errors import MedscoreError, WriteError, reason
from medscore.io.files import atomic_path
from medscore.io.opening import is_there, regular_file
from medscore.tuning.database import check_database
from medscore.tuning.space import Space, is_grid
from medscore.white_noise import derive_seed

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
TRIED = (*FINISHED, TrialState.WAITING, TrialState.RUNNING)


def lock_of(folder: Path) -> FileLock:
    """The lock that is held while a study is created or its next trial is taken.

    Args:
        folder: folder of the study.
    """
    return FileLock(folder / "study.lock")


@contextmanager
def storing(folder: Path, *, opening: bool = False) -> Iterator[None]:
    """Turn the errors of the study's storage into errors that name its folder.

    Args:
        folder: folder of the study.
        opening: whether all other errors mean that the file is not a study, too.

    Raises:
        WriteError: the study cannot be written, because the disk is full or the folder was removed.
        MedscoreError: the file is not a study, or is damaged.
    """
    try:
        yield
    except MedscoreError:
        raise
    except OSError as error:
        raise WriteError(folder, error) from error
    except Exception as error:  # of sqlalchemy, optuna, or what they make of damaged values
        cause = _sqlite_error(error)
        if cause is None and not opening:
            raise
        name = getattr(cause, "sqlite_errorname", "")
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
            raise WriteError(folder, cause or error) from error
        raise MedscoreError(
            f"the study cannot be opened ({reason(cause or _first_cause(error))[:120]})",
            where=_study_file(folder),
            hint="remove it, or choose another folder",
        ) from error


def _sqlite_error(error: BaseException | None) -> sqlite3.Error | None:
    """The error of SQLite that another one wraps."""
    while error is not None:
        if isinstance(original := getattr(error, "orig", error), sqlite3.Error):
            return original
        error = error.__cause__ or error.__context__
    return None


def _first_cause(error: Exception) -> Exception:
    """The error that another one was raised from, such as optuna's from one of sqlalchemy."""
    return error.__cause__ if isinstance(error.__cause__, Exception) else error


def _study_file(folder: Path) -> Path:
    return folder / "study.db"


def has_trials(folder: Path) -> bool:
    """Whether a folder holds finished trials.

    Args:
        folder: folder of a study.
    """
    path, names = _study_file(folder), [state.name for state in FINISHED]
    if not path.is_file():
        return False
    with closing(sqlite3.connect(path)) as file:
        if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'trials'").fetchone():
            return False
        query = "SELECT 1 FROM trials WHERE state IN (?, ?)"
        return file.execute(query, names).fetchone() is not None


def open_study(folder: Path, name: str) -> optuna.Study:
    """Open the study in ``folder/study.db``, or create it.

    Args:
        folder: folder of the study.
        name: name of the study.

    Raises:
        MedscoreError: the file is not a study, or holds a study with another name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = _study_file(folder)
    if is_there(path):
        check_database(regular_file(path, "study"))
    with storing(folder, opening=True):
        with lock_of(folder):
            if not path.exists():
                _create(path, name)
        others = optuna.get_all_study_names(f"sqlite:///{path}")
        if not others:
            raise ValueError("it holds no study")
        study = optuna.load_study(storage=f"sqlite:///{path}", study_name=others[0])
        study.get_trials(deepcopy=False)  # fails now on what optuna cannot read, not later
    if others != [name]:
        other = next(n for n in others if n != name)
        raise MedscoreError(
            f"the folder contains a study of other settings ({other}), expected {name}",
            where=path,
            hint="choose another folder, or remove it",
        )
    return study


def _create(path: Path, name: str) -> None:
    """Create a study, completely or not at all."""
    with atomic_path(path) as partial:
        partial.with_name(f"{partial.name}-journal").unlink(missing_ok=True)  # of a killed run
        storage = optuna.storages.RDBStorage(f"sqlite:///{partial}")
        optuna.create_study(storage=storage, study_name=name, direction="maximize")
        storage.engine.dispose()


def unfinished(study: optuna.Study) -> list[int]:
    """The ids of the trials that a killed run left unfinished, in their order.

    Args:
        study: the study.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial._trial_id for trial in running]


def queue_grid(study: optuna.Study, space: Space, seed: int) -> None:
    """Queue all combinations of a grid that were not tried yet, in random order.

    Args:
        study: the study.
        space: ranges by parameter, all with a list of values.
        seed: seed of the order.
    """
    tried = [_settings(trial) for trial in study.get_trials(deepcopy=False, states=TRIED)]
    combinations = [
        dict(zip(space, values, strict=True))
        for values in product(*(r.values or () for r in space.values()))
    ]
    Random(seed).shuffle(combinations)
    for settings in combinations:
        if settings not in tried:
            study.enqueue_trial(settings)


def _settings(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """The settings of a trial, also of one that is queued or was killed while it chose them."""
    return dict(trial.system_attrs.get("fixed_params", {})) or trial.params


def optimise(
    study: optuna.Study,
    lock: FileLock,
    space: Space,
    score: Callable[[dict[str, Any]], float],
    trials: int,
    *,
    seed: int = 0,
    first: Sequence[int] = (),
    after: Callable[[int], None] = lambda done: None,
) -> None:
    """Try settings until the study has enough finished or running trials.

    Trials of other workers and earlier runs count. A grid is searched until its queue is empty. The
    proposals of a trial depend on the seed, the trial's number and the trials finished before, so
    that a search by one worker has the same trials however often it is killed.

    Args:
        study: the study.
        lock: lock that is held while a trial is taken, because SQLite alone would allow two workers
            to take the same one.
        space: ranges by parameter.
        score: maps settings to a score, higher is better; after a MedscoreError, such as a diverged
            sampler, the trial has no score and keeps the message.
        trials: number of trials.
        seed: seed of the search.
        first: ids of the trials of a killed run that are finished before new ones.
        after: called after every trial with the number of finished trials.
    """
    left = list(first)
    while True:
        with lock:
            trial = Trial(study, left.pop(0)) if left else _next(study, space, trials)
        if trial is None:
            return
        try:
            value = score(propose(study, trial, space, seed))
        except WriteError:
            raise
        except MedscoreError as error:
            # without the file that it names
            trial.set_user_attr("error", str(MedscoreError(error.what, hint=error.hint)))
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)
        after(finished(study))


def propose(study: optuna.Study, trial: Trial, space: Space, seed: int) -> dict[str, Any]:
    """The settings of a trial; those that a killed run proposed already stay.

    Args:
        study: the study.
        trial: the trial.
        space: ranges by parameter.
        seed: seed of the search.
    """

    def reseed(place: int) -> None:
        drawn = derive_seed(seed, trial.number, place) % 2**32
        study.sampler = optuna.samplers.TPESampler(seed=drawn)

    reseed(0)
    _ = trial.relative_params  # what is proposed for all parameters together, and kept
    found = {}
    for place, (name, r) in enumerate(space.items(), start=1):
        reseed(place)
        found[name] = r.suggest(trial, name)
    return found


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
