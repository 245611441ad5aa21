"""Distribution of independent pieces of work: sequentially, to processes, or to a Ray cluster.

Each function here returns a function that takes the work and its arguments and yields (index,
result) as results arrive. The results are the same in each case, because every piece runs with the
same number of threads and independently of the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

import torch

from medscore.errors import MedscoreError, optional_module
from medscore.io.machine import cores

Piece = TypeVar("Piece")
Result = TypeVar("Result")

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]


def here(threads: int) -> Spread:
    """Sequential execution in this process.

    Args:
        threads: number of threads.
    """

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
    """Execution in several processes; in this process if ``count`` is 1 or there is one piece.

    Args:
        count: number of processes.
        threads: number of threads per process.
    """
    if count == 1:
        return here(threads)

    def run(
        work: Callable[[Piece], Result], pieces: Sequence[Piece]
    ) -> Iterator[tuple[int, Result]]:
        if len(pieces) <= 1:
            yield from here(threads)(work, pieces)
            return
        workers = pool(min(count, len(pieces)), threads)
        try:
            futures = {workers.submit(work, piece): place for place, piece in enumerate(pieces)}
            with whole():
                for future in as_completed(futures):
                    yield futures[future], future.result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)

    return run


def spread_over(workers: int | None, threads: int, ray: str | None) -> Spread:
    """Execution on a Ray cluster if there is an address, else in processes.

    Args:
        workers: number of processes; by default one per usable core.
        threads: number of threads per process.
        ray: address of the cluster, as :func:`cluster` takes it.

    Raises:
        MedscoreError: as :func:`cluster`.
    """
    if ray is not None:
        return cluster(ray, threads)
    return processes(workers or cores(), threads)


@contextmanager
def whole() -> Iterator[None]:
    """State what to do after the operating system ended a worker process.

    Raises:
        MedscoreError: a worker ended before its work did.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise MedscoreError(
            "a worker process was killed, often because memory ran out",
            hint="repeat the command, which resumes, with fewer processes",
        ) from error


def pool(count: int, threads: int) -> ProcessPoolExecutor:
    """A pool of worker processes, which exit with the parent, also if the parent is killed.

    Args:
        count: number of workers.
        threads: number of threads per worker.
    """
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
    """Execution on a Ray cluster, with one core per thread.

    Args:
        address: address of the cluster; ``auto`` for the cluster of this machine, ``local`` for a
            new one that is shut down after the run.
        threads: number of threads per piece of work.

    Raises:
        MedscoreError: ray is not installed, or there is no cluster at the address.
    """
    ray = optional_module("ray", "`ray`", install="medscore[ray]")

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
                f"`ray` {address}: no cluster at this address ({str(error).splitlines()[0]})",
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
