"""Many independent pieces of work: here one after the other, in processes, or on a cluster.

Each way takes a function and its arguments and yields (place, result) as they come. The results are
the same: every piece runs with the same number of threads, and none sees another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

import torch

from medscore.errors import MedscoreError

Piece = TypeVar("Piece")
Result = TypeVar("Result")

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]


def here(threads: int) -> Spread:
    """One after the other, in this process, with so many threads."""

    def run(
        work: Callable[[Piece], Result], pieces: Sequence[Piece]
    ) -> Iterator[tuple[int, Result]]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            for place, piece in enumerate(pieces):
                yield place, work(piece)
        finally:
            torch.set_num_threads(before)

    return run


def processes(count: int, threads: int) -> Spread:
    """In ``count`` processes of so many threads each; in this one if ``count`` is 1."""
    if count == 1:
        return here(threads)

    def run(
        work: Callable[[Piece], Result], pieces: Sequence[Piece]
    ) -> Iterator[tuple[int, Result]]:
        workers = pool(min(count, max(1, len(pieces))), threads)
        try:
            futures = {workers.submit(work, piece): place for place, piece in enumerate(pieces)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)

    return run


def pool(count: int, threads: int) -> ProcessPoolExecutor:
    """So many fresh processes of so many threads, which end when this one does, be it killed."""
    return ProcessPoolExecutor(count, get_context("spawn"), _start, (threads,))


def _start(threads: int) -> None:
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def cluster(address: str, threads: int) -> Spread:
    """On the Ray cluster at ``address`` (``auto``: the one this machine belongs to; ``local``: one
    that is started here and ends with the run), a core for each thread.

    Raises:
        MedscoreError: ray is not installed, or no cluster is there.
    """
    try:
        import ray
    except ImportError as error:
        raise MedscoreError(
            "--ray needs ray, which is not installed", hint='pip install "medscore[ray]"'
        ) from error

    def run(
        work: Callable[[Piece], Result], pieces: Sequence[Piece]
    ) -> Iterator[tuple[int, Result]]:
        try:
            ray.init(
                None if address == "local" else address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise MedscoreError(
                f"--ray {address}: no cluster there ({str(error).splitlines()[0]})",
                hint="use the address that `ray start --head` prints, or local",
            ) from error
        try:
            remote = ray.remote(num_cpus=threads)(_on_a_worker)
            waiting = {
                remote.remote(work, piece, threads): place for place, piece in enumerate(pieces)
            }
            while waiting:
                (ready,), _ = ray.wait(list(waiting), num_returns=1)
                place = waiting.pop(ready)
                try:
                    yield place, ray.get(ready)
                except ray.exceptions.RayTaskError as error:
                    raise (error.cause or error) from None
        finally:
            ray.shutdown()

    return run


def _on_a_worker(work: Callable[[Piece], Result], piece: Piece, threads: int) -> Result:
    torch.set_num_threads(threads)
    return work(piece)
