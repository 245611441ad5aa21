"""A progress bar with the number of network evaluations and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
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

console = Console(stderr=True)
"""Everything that is not a result goes to standard error."""


@contextmanager
def sampling_bar(title: str) -> Iterator[Callable[[StepInfo], None]]:
    """Show sampling steps, NFE and ETA; yields the callback for the engine."""
    bar = _bar("NFE {task.fields[info]}")
    task = bar.add_task(title, total=None, info=0)
    with ExitStack() as stack, _resume_note(stack):

        def show(info: StepInfo) -> None:
            if not bar.live.is_started:  # invalid input is rejected before the first step
                notes.show()
                stack.enter_context(bar)
            bar.update(task, completed=info.done, total=info.total, info=info.nfe)

        yield show


@contextmanager
def training_bar(title: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """Show training steps, a running loss and ETA; yields a callback (step, loss)."""
    notes.show()
    with _bar("loss {task.fields[info]}") as bar:
        task = bar.add_task(title, total=total, info="-")
        smooth: list[float] = []

        def show(step: int, loss: float) -> None:
            smooth.append(loss)
            del smooth[:-100]
            bar.update(task, completed=step, info=f"{sum(smooth) / len(smooth):.4f}")

        yield show


@contextmanager
def work_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show finished pieces of work, the last one and ETA; yields a callback (done, total, what).

    Args:
        title: name of the bar.
    """
    bar = _bar("{task.fields[info]}")
    task = bar.add_task(title, total=None, info="")
    with ExitStack() as stack, _resume_note(stack):

        def show(done: int, total: int, what: str) -> None:
            if not bar.live.is_started:
                notes.show()
                stack.enter_context(bar)
            bar.update(task, completed=done, total=total, info=what)

        yield show


@contextmanager
def _resume_note(stack: ExitStack) -> Iterator[None]:
    """After Ctrl-C, close the bar and say how to resume."""
    try:
        yield
    except Interrupted:
        stack.close()
        console.print("interrupted: repeat the same command to resume where it stopped")
        raise


def _bar(text: str) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(text),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
