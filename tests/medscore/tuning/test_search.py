"""Trials are shared between workers."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

from medscore.errors import MedscoreError, WriteError
from medscore.tuning.search import (
    finished,
    has_trials,
    lock_of,
    open_study,
    optimise,
    propose,
    queue_grid,
    storing,
    unfinished,
)
from medscore.tuning.space import Range, Space, is_grid

WORKERS = 6
GRID = {"a": Range(values=tuple(range(6))), "b": Range(values=("x", "y", "z"))}


def _search(folder: Path, space: Space, trials: int) -> list[dict[str, Any]]:
    """The settings that ``WORKERS`` workers tried."""
    tried: list[dict[str, Any]] = []

    def work(worker: int) -> None:
        study = open_study(folder, "s")
        optimise(study, lock_of(folder), space, lambda at: tried.append(at) or 1.0, trials)

    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(work, range(WORKERS)))
    return tried


@pytest.mark.slow
def test_workers_try_each_combination_once(tmp_path: Path) -> None:
    study = open_study(tmp_path, "s")
    queue_grid(study, GRID, seed=0)
    tried = _search(tmp_path, GRID, 18)
    assert set(Counter(tuple(at.items()) for at in tried).values()) == {1}
    assert len(tried) == finished(study) == 18


@pytest.mark.slow
@pytest.mark.parametrize("trials", [1, 13])
def test_workers_make_as_many_trials_as_were_asked(tmp_path: Path, trials: int) -> None:
    assert len(_search(tmp_path, {"a": Range(low=0.0, high=1.0)}, trials)) == trials


SPACE: Space = {"a": Range(low=0.0, high=1.0), "b": Range(low=1, high=9, integer=True)}


class Killed(BaseException):
    pass


def _searched(folder: Path, space: Space, trials: int, kills: Sequence[int] = ()) -> list[Any]:
    """Numbers, settings and values of a search by one worker that is killed at some evaluations."""
    left = list(kills)
    folder.mkdir()

    def score(settings: dict[str, Any]) -> float:
        seen.append(settings)
        if left and len(seen) == left[0]:
            left.pop(0)
            raise Killed
        return -abs(float(settings["a"]) - 0.4)

    seen: list[Any] = []
    while True:
        study = open_study(folder, "s")
        first = unfinished(study)
        if is_grid(space):
            queue_grid(study, space, seed=3)
        try:
            optimise(study, lock_of(folder), space, score, trials, seed=3, first=first)
        except Killed:
            continue
        assert len(seen) == trials + len(kills)
        return [(t.number, t.params, t.value) for t in study.get_trials()]


@pytest.mark.slow
@pytest.mark.parametrize(("space", "trials"), [(SPACE, 12), (GRID, 5)], ids=["sampled", "grid"])
def test_a_killed_search_has_the_trials_of_an_uninterrupted_one(
    tmp_path: Path, space: Space, trials: int
) -> None:
    """Beyond the tenth trial, from which on proposals depend on the trials before."""
    whole = _searched(tmp_path / "whole", space, trials)
    assert _searched(tmp_path / "killed", space, trials, kills=(1, 4, trials)) == whole


@pytest.mark.slow
@pytest.mark.parametrize("finished_before", [0, 10])
def test_a_search_killed_between_two_settings_goes_on_with_the_same(
    tmp_path: Path, finished_before: int
) -> None:
    """In the first trials each setting is drawn on its own, after ten perhaps all together."""
    trials = finished_before + 2
    whole = _searched(tmp_path / "whole", SPACE, trials)
    if finished_before:
        _searched(tmp_path / "killed", SPACE, finished_before)
    else:
        (tmp_path / "killed").mkdir()
    study = open_study(tmp_path / "killed", "s")
    propose(study, study.ask(), {"a": SPACE["a"]}, seed=3)
    optimise(
        study, lock_of(tmp_path / "killed"), SPACE, lambda at: -abs(at["a"] - 0.4), trials,
        seed=3, first=unfinished(study),
    )  # fmt: skip
    assert [(t.number, t.params, t.value) for t in study.get_trials()] == whole


@pytest.mark.slow
def test_a_study_whose_folder_was_removed_is_an_error_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def removed(settings: dict[str, Any]) -> float:
        shutil.rmtree(folder)
        return 1.0

    def search() -> None:
        with storing(folder):
            study = open_study(folder, "s")
            optimise(study, lock_of(folder), SPACE, removed, 3)

    with pytest.raises(WriteError, match="out: cannot be written"):
        search()
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("trial_values", "value", "'many'"), ("trials", "number", "'nan'"),
        ("trials", "number", "1.5"), ("trials", "study_id", "x'00'"), ("trials", "state", "3"),
        ("trial_params", "param_value", "'half'"), ("studies", "study_name", "7.5"),
    ],
)  # fmt: skip
def test_values_of_another_type_than_their_column_are_refused(
    tmp_path: Path, table: str, column: str, value: str
) -> None:
    """SQLite stores them, and optuna fails on them in places of its own."""
    optimise(
        open_study(tmp_path, "s"), lock_of(tmp_path), {"a": Range(low=0.0, high=1.0)},
        lambda at: 1.0, 1,
    )  # fmt: skip
    with sqlite3.connect(tmp_path / "study.db") as file:
        file.execute(f"UPDATE {table} SET {column} = CAST({value} AS {_kept(value)})")
    file.close()
    found = rf"study\.db.*cannot be read as a study \(({table}\.{column} holds|.* constraint)"
    text = column in ("state", "study_name")  # text takes numbers as their digits
    if text:
        with pytest.raises(MedscoreError, match=r"study\.db"):
            open_study(tmp_path, "s")
        return
    with pytest.raises(MedscoreError, match=found):
        open_study(tmp_path, "s")


def _kept(value: str) -> str:
    """The type of a literal, so that the column's affinity is the only conversion."""
    return {"'": "TEXT", "x": "BLOB"}.get(value[0], "REAL" if "." in value else "INTEGER")


def test_only_finished_trials_are_results(tmp_path: Path) -> None:
    assert not has_trials(tmp_path)
    study = open_study(tmp_path, "s")
    assert not has_trials(tmp_path)
    trial = study.ask()
    assert not has_trials(tmp_path)
    study.tell(trial, 1.0)
    assert has_trials(tmp_path)


@pytest.mark.slow
def test_a_study_that_a_kill_left_unfinished_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".part-study.db").write_bytes(b"half a study")
    (tmp_path / ".part-study.db-journal").write_bytes(b"half a journal")
    assert open_study(tmp_path, "s").trials == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db", "study.lock"]


@pytest.mark.slow
def test_a_database_without_a_study_is_refused(tmp_path: Path) -> None:
    open_study(tmp_path, "s")
    optuna.delete_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    with pytest.raises(MedscoreError, match="it holds no study"):
        open_study(tmp_path, "s")
