"""What an interrupted sampling run needs to go on, and its file (safetensors, atomic)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medscore.errors import Interrupted, MedscoreError
from medscore.io.files import atomic_write
from medscore.samplers.base import Memory


@dataclass(frozen=True)
class Residual:
    """The largest |y - A x| / |y| in a batch after a step."""

    batch: int
    step: int
    value: float


@dataclass(frozen=True)
class Point:
    """Where a batch stands: its state after ``step`` steps, the generators' states, and how many
    single samples the network has evaluated.
    """

    x: Tensor
    memory: Memory
    noise: Tensor
    step: int
    evaluations: int


@dataclass(frozen=True)
class Progress:
    """Results of the finished batches and the evaluations of single samples they took, the residual
    history, and the batch under way.
    """

    done: tuple[Tensor, ...] = ()
    history: tuple[Residual, ...] = ()
    point: Point | None = None
    evaluations: int = 0


def save_progress(path: Path, fingerprint: str, progress: Progress) -> None:
    """Write atomically; ``fingerprint`` identifies the run."""
    tensors = {f"done.{i}": value for i, value in enumerate(progress.done)}
    header = {
        "fingerprint": fingerprint,
        "history": json.dumps([asdict(entry) for entry in progress.history]),
        "finished": str(progress.evaluations),
    }
    if (point := progress.point) is not None:
        tensors |= {"x": point.x, "noise": point.noise}
        tensors |= {f"memory.{k}": v for k, v in point.memory.items()}
        header |= {"step": str(point.step), "evaluations": str(point.evaluations)}
    cpu = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    atomic_write(path, save(cpu, metadata=header))


def load_progress(path: Path, fingerprint: str) -> Progress:
    """Read what :func:`save_progress` wrote; nothing saved is an empty progress.

    Raises:
        MedscoreError: unreadable, or of a run with another fingerprint.
    """
    if not path.exists():
        return Progress()
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MedscoreError(
            f"the saved state cannot be read ({error})", where=path, hint="remove it"
        ) from error
    if header.get("fingerprint") != fingerprint:
        raise MedscoreError(
            "the saved state is of a run with other settings or input",
            where=path,
            hint="repeat that run to finish it, or remove the file",
        )
    try:
        return _parse(header, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise MedscoreError(
            f"the saved state is incomplete ({error})", where=path, hint="remove it"
        ) from error


def _parse(header: dict[str, str], tensors: dict[str, Tensor]) -> Progress:
    finished = sum(name.startswith("done.") for name in tensors)
    prefix = "memory."
    point = None
    if "x" in tensors:
        point = Point(
            x=tensors["x"],
            memory={k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)},
            noise=tensors["noise"],
            step=int(header["step"]),
            evaluations=int(header["evaluations"]),
        )
    return Progress(
        done=tuple(tensors[f"done.{i}"] for i in range(finished)),
        history=tuple(Residual(**entry) for entry in json.loads(header["history"])),
        point=point,
        evaluations=int(header["finished"]),
    )


@contextmanager
def resumable(state: Path | None) -> Iterator[None]:
    """Guard work that saves its state in a file.

    Ctrl-C becomes :class:`~medscore.errors.Interrupted`. An error removes a state that this run
    began, since it would refuse a run with corrected settings.

    Args:
        state: the file; None if no state is kept.
    """
    continued = state is not None and state.exists()
    try:
        yield
    except KeyboardInterrupt as stop:
        if state is None:
            raise
        raise Interrupted from stop
    except MedscoreError:
        if state is not None and not continued:
            state.unlink(missing_ok=True)
        raise
