"""The processes of a training run, one or several, on CPUs or GPUs, by lightning-fabric.

Under ``torchrun``, also on several machines, its processes are used; otherwise ``devices``
processes are started on this machine. Precision is left to the training loop: Fabric's own would
also cast the images and times of the loss, and its float64 mode changes the default data type while
another thread draws batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import distributed

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
        nodes = int(os.environ["WORLD_SIZE"]) // devices
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
