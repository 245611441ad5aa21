"""Progress of long commands: a bar on a terminal, and lines of text elsewhere, such as in a log."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from threading import Timer
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from medscore.cli.quiet import notes
from medscore.errors import Interrupted

if TYPE_CHECKING:
    from medscore.engine.loop import StepInfo


class KeptConsole(Console):
    """A console whose text a log file keeps too, if there is one."""

    keep: Callable[[str], None] | None = None

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, as :meth:`rich.console.Console.print`.

        Args:
            objects: what is printed.
            options: how.
        """
        super().print(*objects, **options)
        if self.keep is not None:
            plain = Console(file=io.StringIO(), width=10_000, color_system=None)
            plain.print(*objects, **options)
            self.keep(plain.file.getvalue().rstrip("\n"))  # type: ignore[attr-defined]


console = KeptConsole(stderr=True)
"""Everything that is not a result goes to standard error."""

FIRST = 1.0
"""Seconds after which progress is shown, also before the first step is finished."""

PAUSES = (4.0, 10.0, 30.0, 60.0)
"""Seconds between lines of text; the last is repeated."""


@contextmanager
def sampling_bar(title: str) -> Iterator[Callable[[StepInfo], None]]:
    """Show sampling steps, NFE and ETA; yields the callback for the engine."""
    with ExitStack() as stack, _resume_note(stack):
        view = _View(title, "NFE ", stack)
        yield lambda info: view.show(info.done, info.total, str(info.nfe))


@contextmanager
def training_bar(title: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """Show training steps, a running loss and ETA; yields a callback (step, loss)."""
    notes.show()
    with ExitStack() as stack:
        view = _View(title, "loss ", stack)
        smooth: list[float] = []

        def show(step: int, loss: float) -> None:
            smooth.append(loss)
            del smooth[:-100]
            view.show(step, total, f"{sum(smooth) / len(smooth):.4f}")

        yield show


@contextmanager
def work_bar(title: str, *, notes_last: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Show finished pieces of work, the last one and ETA; yields a callback (done, total, what).

    Args:
        title: name of the bar.
        notes_last: show notes after the work instead of with its progress, because the work may
            still be refused at its end.
    """
    with ExitStack() as stack, _resume_note(stack):
        yield _View(title, "", stack, notes_last=notes_last).show


class _View:
    """Shows done and total, on a terminal as a bar that moves from the first second."""

    def __init__(
        self, title: str, label: str, stack: ExitStack, *, notes_last: bool = False
    ) -> None:
        self.title, self.label, self.stack, self.notes_last = title, label, stack, notes_last
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{label}{{task.fields[info]}}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.task = self.bar.add_task(escape(title), total=None, info="-")
        self.begin = time.monotonic()
        self.first: tuple[int, float] | None = None
        self.next, self.lines = FIRST, 0
        self.live = console.is_interactive
        if self.live:
            stack.callback(self.bar.stop)
            timer = Timer(FIRST, self.bar.start)
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)

    def show(self, done: int, total: int, info: str) -> None:
        """Show the state of the work.

        Args:
            done: finished pieces.
            total: all pieces.
            info: further text.
        """
        begun = done > 0 or time.monotonic() - self.begin >= FIRST  # no longer refused at once
        if begun and not self.notes_last:
            notes.show()
        resumed = self.first is None and done > 1
        if self.first is None:  # what was finished before a resumption says nothing about speed
            self.first = (done, time.monotonic()) if resumed else (0, self.begin)
        if not self.live:
            self._line(done, total, info)
        elif resumed:
            self.bar.reset(self.task, total=total, completed=done, info=info)
            self.bar.start()
        else:
            self.bar.update(self.task, completed=done, total=total, info=info)
            self.bar.start()

    def _line(self, done: int, total: int, info: str) -> None:
        now = time.monotonic()
        elapsed = now - self.begin
        if elapsed < self.next or done >= total:
            return
        self.next = elapsed + PAUSES[min(self.lines, len(PAUSES) - 1)]
        self.lines += 1
        text = f"{self.title}: {done} of {total}, {self.label}{info}".rstrip(", ")
        before, since = self.first or (done, now)
        if done > before:
            left = (now - since) / (done - before) * (total - done)
            text += f", about {timedelta(seconds=round(left))} left"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _resume_note(stack: ExitStack) -> Iterator[None]:
    """After Ctrl-C, close the bar and say how to resume."""
    try:
        yield
    except Interrupted:
        stack.close()
        console.print("interrupted: repeat the same command to resume where it stopped")
        raise
