"""Trials are shared between workers."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from medscore.tuning.search import finished, lock_of, open_study, optimise, queue_grid
from medscore.tuning.space import Range, Space

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
