"""How the threads of torch wait and how many there are, set before torch is imported.

torch computes with OpenMP. Threads that have finished their part of a loop wait for the others and
for the next loop: at first busily, then asleep. GNU's runtime, which torch's wheels for Linux
bring, waits busily for 300,000 turns, several milliseconds. On a core that another program uses
too, that is a whole time slice: the thread waits until the system takes the core away, and the
thread that it waits for does not get it. Where threads fall asleep at once
(``OMP_WAIT_POLICY=PASSIVE``), every loop of a small network waits for the system to wake them.
Between the two, :data:`WAITING` is longer than the pauses between the loops of a network and
shorter than a time slice; benchmarks/company.py measures what it costs on idle cores and what it
keeps beside other programs. The runtimes of LLVM and Intel, which other builds of torch bring, have
no such setting in between: with ``KMP_BLOCKTIME=0`` they keep their share and lose speed on idle
cores, so the choice is the user's.

The number of threads is set only where the control group grants less CPU time than torch would
start threads for. It does not follow the load of the machine: results would then depend on it in
their last digits, and beside a busy program on every core one thread is no faster on the whole.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from medscore.io.machine import allowed_cpus, cpu_limit, physical_cores

WAITING = {"GOMP_SPINCOUNT": "2000"}
"""Turns of busy waiting, of 0.02 to 0.05 us each."""

OWN = (*WAITING, "OMP_WAIT_POLICY")
"""Variables by which users choose how threads of GNU's runtime wait."""

OTHERS = ("KMP_BLOCKTIME", "KMP_LIBRARY")
"""Those of LLVM's and Intel's runtimes, which are left to the user."""

COUNT = "OMP_NUM_THREADS"
"""The variable with the number of threads, also of MKL and OpenBLAS unless they have their own."""

chosen: dict[str, str] = {}
"""The variables that :func:`prepare` has set in this process."""


def prepare() -> None:
    """Set the variables that the user did not set, unless torch is imported already."""
    if "torch" not in sys.modules:
        chosen.update(settings(os.environ, _threads()))
        os.environ.update(chosen)


def settings(environ: Mapping[str, str], threads: int | None) -> dict[str, str]:
    """The variables to set.

    Args:
        environ: the environment.
        threads: number of threads that the control group allows; None if torch's own choice is
            right.
    """
    found = {} if any(name in environ for name in OWN) else dict(WAITING)
    if threads is not None and COUNT not in environ:
        found[COUNT] = str(threads)
    return found


def described(environ: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """The value of each variable, and who set it: user, medscore or nobody.

    Args:
        environ: the environment.
    """
    return {name: (environ.get(name), _source(name, environ)) for name in (COUNT, *OWN, *OTHERS)}


def _source(name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        return "default"
    return "medscore" if environ[name] == chosen.get(name) else "user"


def _threads() -> int | None:
    """The number of threads where the control group grants fewer cores than torch would use."""
    limit = cpu_limit()
    if limit >= len(allowed_cpus()):
        return None
    return max(1, min(int(limit), physical_cores()))
