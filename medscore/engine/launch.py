"""The processes of a run, one or several, on CPUs or GPUs, by lightning-fabric.

Under ``torchrun``, also on several machines, its processes are used; otherwise ``devices``
processes are started on this machine. Precision is left to the work: Fabric's own would also cast
images and times, and its float64 mode changes the default data type while another thread draws
batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import distributed

from medscore.io.group import ALONE, Group

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@contextmanager
def processes(device: str = "cpu", devices: int = 1) -> Iterator[Fabric]:
    """Launch the processes of a run; the process group ends with the context.

    Args:
        device: ``cpu`` or ``cuda``.
        devices: number of processes on this machine, on CUDA one for each GPU; ignored under
            torchrun. With more than one, the running script is started again in each of them.
    """
    from lightning_fabric import Fabric

    nodes = 1
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = process_count(devices) // devices
    engine = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
    )
    engine.launch()
    try:
        yield engine
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def process_count(devices: int) -> int:
    """The number of processes of a run.

    Args:
        devices: as for :func:`processes`.
    """
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else devices


def is_follower(devices: int) -> bool:
    """Whether this process was started as another one of a run than the first.

    It is known before :func:`processes` is entered, so that only the first process writes files.

    Args:
        devices: as for :func:`processes`.
    """
    rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
    return process_count(devices) > 1 and rank > 0


@contextmanager
def grouped(device: str = "cpu", devices: int = 1) -> Iterator[Group]:
    """Launch the processes that share a piece of work, and yield their group.

    On CUDA, the default device of each process is its own.

    Args:
        device: ``cpu`` or ``cuda``.
        devices: as for :func:`processes`.
    """
    if process_count(devices) == 1:
        yield ALONE
        return
    with processes(device, devices) as engine:
        yield Group(engine.global_rank, engine.world_size)
