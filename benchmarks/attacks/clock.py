"""The time that a command takes, on a machine that others use as well."""

from __future__ import annotations

import os
import time
from pathlib import Path

INTERVAL = 0.25
"""Seconds between two looks at a group of processes."""


class Clock:
    """CPU time of a group of processes, plus the time in which all of them sleep.

    Time in which they wait for a processor, or are stopped, does not count.

    Args:
        group: number of the group.
    """

    def __init__(self, group: int) -> None:
        self.group, self.seconds = group, 0.0
        self._cpu, self._at = 0.0, time.perf_counter()

    def look(self) -> None:
        """Count the time since the last look, if that was a while ago."""
        now = time.perf_counter()
        if now - self._at < INTERVAL:
            return
        states, cpu = _processes(self.group)
        used = max(0.0, cpu - self._cpu)
        asleep = used < 0.01 and states <= {"S"}
        self.seconds += min(now - self._at, 2 * INTERVAL) if asleep else used
        self._cpu, self._at = max(cpu, self._cpu), now


def _processes(group: int) -> tuple[set[str], float]:
    """States and CPU time of the processes of a group, with that of their ended children."""
    states, ticks = set(), 0
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            words = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(words[2]) == group:
            states.add(words[0])
            ticks += sum(int(word) for word in words[11:15])
    return states, ticks / os.sysconf("SC_CLK_TCK")
