"""Runs of the command line in forks of one warm process, with a fate: a kill, or a full disk.

A fork imports nothing, so a run costs what its work costs. In the fork, the functions that change
files are counted: opening a file to write, writing, syncing, renaming, removing, making a folder,
and committing to SQLite. The fate strikes at the n-th of them, before, in the middle of or after
it, or after a time. Only the fork is patched, never the library.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import io
import mmap
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULES = (
    "medscore.cli.app", "medscore.reconstruction.run", "medscore.reconstruction.saving",
    "medscore.measurements.simulation", "medscore.generation.sampling",
    "medscore.generation.coding", "medscore.likelihood.report", "medscore.training.jobs",
    "medscore.datasets.collections.slices", "medscore.evaluation.run", "medscore.tuning.run",
    "medscore.cli.train", "lightning_fabric", "tensorboardX", "sqlalchemy.dialects.sqlite",
    "matplotlib.pyplot", "skimage.metrics", "torchdiffeq", "optuna.samplers", "alembic.command",
    "optuna.storages._rdb.storage", "rich.console",
)  # fmt: skip
"""Modules that the commands import when they need them."""

WHEN = ("before", "within", "after")
"""When a fate strikes, relative to a change of a file; only writes can be struck within."""


@dataclass(frozen=True)
class Fate:
    """What happens to a run.

    Attributes:
        at: number of the change of a file at which it strikes, from 1; 0 for never.
        when: before, within or after the change.
        full: whether the disk is full from then on; otherwise the process is killed.
        seconds: time after which the process is killed; 0 for never.
    """

    at: int = 0
    when: str = "before"
    full: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: exit code; minus the signal's number if it was killed.
        said: what it printed.
        changes: number of changes of files.
        units: number of finished pieces of work.
        seconds: wall time.
    """

    code: int
    said: str
    changes: int
    units: int
    seconds: float


def warm() -> None:
    """Import what the commands import when they need it."""
    for name in MODULES:
        importlib.import_module(name)


class Counter:
    """Two numbers in memory that survives the process that counts.

    The first counts changes of files, the second pieces of work.
    """

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 16)

    def add(self, which: int) -> int:
        """Count one more; returns the number.

        Args:
            which: 0 for changes, 1 for work.
        """
        value = self.read(which) + 1
        self.memory[8 * which : 8 * which + 8] = struct.pack("q", value)
        return value

    def read(self, which: int) -> int:
        """A number.

        Args:
            which: as for :meth:`add`.
        """
        return int(struct.unpack("q", self.memory[8 * which : 8 * which + 8])[0])


def launch(
    words: Sequence[str | Path],
    said: Path,
    *,
    fate: Fate = Fate(),
    count: Callable[[Callable[[], object]], None] = lambda tick: None,
) -> Ended:
    """Run a command in a fork and wait for its end.

    Args:
        words: the command without ``medscore``.
        said: file for what it prints.
        fate: what happens to it.
        count: patches the fork so that every finished piece of work calls the given function.
    """
    counter, begin = Counter(), time.monotonic()
    child = os.fork()
    if child == 0:
        _become(words, said, fate, counter, count)
    if fate.seconds:
        while time.monotonic() - begin < fate.seconds:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)  # a zombie at worst: it has not been waited for
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begin
    return Ended(code, said.read_text(), counter.read(0), counter.read(1), seconds)


def _become(
    words: Sequence[str | Path],
    said: Path,
    fate: Fate,
    counter: Counter,
    count: Callable[[Callable[[], object]], None],
) -> None:
    """Run a command in this process, which ends with it."""
    code = 1
    try:
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["medscore", *map(str, words)]
        count(lambda: counter.add(1))
        _patch(_Strike(fate, counter))
        from medscore.cli import main

        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)


class _Strike:
    """Counts changes of files, and lets the fate strike."""

    def __init__(self, fate: Fate, counter: Counter) -> None:
        self.fate, self.counter = fate, counter

    def due(self) -> str:
        """When the fate strikes the change that begins now; empty if it does not."""
        number = self.counter.add(0)
        if self.fate.full and self.fate.at and number > self.fate.at:
            return "before"
        return self.fate.when if number == self.fate.at else ""

    def strike(self, path: object) -> None:
        """End the process, or report a full disk."""
        if not self.fate.full:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def around(self, change: Callable[..., Any], *, needs_space: bool) -> Callable[..., Any]:
        """A function that changes files, with the fate."""

        def changed(*args: Any, **kwargs: Any) -> Any:
            when = self.due()
            if self.fate.full and not needs_space:
                when = ""  # a full disk removes files
            if when in ("before", "within"):
                self.strike(args[0] if isinstance(args[0], str | os.PathLike) else None)
            found = change(*args, **kwargs)
            if when == "after" and not self.fate.full:
                self.strike(None)
            return found

        return changed


class _Stream:
    """A file open for writing, whose writes the fate may strike in their middle."""

    def __init__(self, inner: Any, strike: _Strike) -> None:
        self.__dict__.update(inner=inner, strike=strike)

    def write(self, data: Any) -> Any:
        when = self.strike.due()
        if when == "within" and len(data) > 1:
            self.inner.write(data[: len(data) // 2])
            self.inner.flush()
        if when in ("before", "within"):
            self.strike.strike(None)
        found = self.inner.write(data)
        if when == "after" and not self.strike.fate.full:
            self.inner.flush()
            self.strike.strike(None)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def __enter__(self) -> Any:
        self.inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.inner.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self.inner)


def _patch(strike: _Strike) -> None:
    """Put the fate around every function that changes files."""
    for name, needs_space in (
        ("replace", True), ("rename", True), ("mkdir", True), ("fsync", True), ("unlink", False),
        ("remove", False), ("rmdir", False),
    ):  # fmt: skip
        setattr(os, name, strike.around(getattr(os, name), needs_space=needs_space))
    really, make = open, strike.around(open, needs_space=True)

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wxa+"):
            return really(file, mode, *args, **kwargs)
        return _Stream(make(file, mode, *args, **kwargs), strike)

    builtins.open = io.open = opened  # type: ignore[assignment]
    with contextlib.suppress(ImportError):
        from sqlalchemy.engine.default import DefaultDialect

        commit = DefaultDialect.do_commit
        DefaultDialect.do_commit = strike.around(commit, needs_space=False)  # type: ignore[method-assign]
