"""Wall times: medians of calls that alternate, so that all of them run under the same load, and
measurements in processes of their own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call in seconds.

    Args:
        call: the function to time.
    """
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(
    calls: dict[str, Callable[[], object]], rounds: int, *, burst: int = 5
) -> dict[str, float]:
    """Median wall times in seconds.

    The calls alternate, so that all of them run under the same load.

    Args:
        calls: the functions to time, by name.
        rounds: the number of rounds.
        burst: calls of the same function in a row in each round, as a solver calls it.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name] += [seconds(call) for _ in range(burst)]
    return {name: statistics.median(values) for name, values in times.items()}


def measured_alone(script: str, prior: str) -> dict[str, Any]:
    """What a script prints as JSON in its last line, in a process of its own.

    Args:
        script: the file of the script.
        prior: name or path of a prior, its argument.
    """
    words = [sys.executable, script, prior]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
