"""The state of an interrupted sampling run, and its safetensors file."""

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
from medscore.io.json_files import parse_json
from medscore.io.opening import is_there, regular_file
from medscore.samplers.base import Memory


@dataclass(frozen=True)
class Residual:
    """The largest relative residual |y - A x| / |y| in a batch after a step.

    Attributes:
        batch: number of the batch, from 0.
        step: number of finished steps.
        value: the residual.
    """

    batch: int
    step: int
    value: float


@dataclass(frozen=True)
class Point:
    """The state of an unfinished batch.

    Attributes:
        x: the state after ``step`` steps, (batch, ...).
        memory: memory of the sampler.
        noise: states of the noise generators, (batch, bytes).
        step: number of finished steps.
        evaluations: number of network evaluations, summed over the samples of the batch.
    """

    x: Tensor
    memory: Memory
    noise: Tensor
    step: int
    evaluations: int


@dataclass(frozen=True)
class Progress:
    """The state of a sampling run.

    Attributes:
        done: results of the finished batches.
        history: residuals so far.
        point: state of the unfinished batch; None between batches.
        evaluations: number of network evaluations, summed over the samples of finished batches.
    """

    done: tuple[Tensor, ...] = ()
    history: tuple[Residual, ...] = ()
    point: Point | None = None
    evaluations: int = 0


def save_progress(path: Path, fingerprint: str, progress: Progress) -> None:
    """Write the state of a run, atomically.

    Args:
        path: file to write.
        fingerprint: identifies the run.
        progress: state of the run.
    """
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
    """Read the state of a run; it is empty if there is no file.

    Args:
        path: file that :func:`save_progress` wrote.
        fingerprint: identifies the run.

    Raises:
        MedscoreError: the file cannot be read, or belongs to a run with another fingerprint.
    """
    if not is_there(path):
        return Progress()
    try:
        with safe_open(regular_file(path), framework="pt") as file:
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


def saved_fingerprint(path: Path) -> str | None:
    """The fingerprint of the run whose state a file holds; None if it cannot be read.

    Args:
        path: file that :func:`save_progress` wrote.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("fingerprint")
    except (SafetensorError, OSError):  # load_progress refuses it
        return None


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
        history=tuple(Residual(**entry) for entry in parse_json(header["history"], finite=False)),
        point=point,
        evaluations=int(header["finished"]),
    )


@contextmanager
def resumable(state: Path | None) -> Iterator[None]:
    """Guard work that saves its state in a file.

    Ctrl-C becomes :class:`~medscore.errors.Interrupted`. After an error, a state that this run
    created is removed, because it would refuse a run with corrected settings.

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
