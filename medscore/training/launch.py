"""Where a training run happens: one process or several, on CPUs or GPUs, by lightning-fabric.

Under ``torchrun`` (also over several machines) its processes are used; otherwise ``devices`` of
them are started on this machine. Precision is the loop's affair: Fabric's own would cast the images
and times of the loss too, and its float64 changes the default dtype under the thread that draws.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric import Fabric
from torch import distributed


@contextmanager
def processes(device: str = "cpu", devices: int = 1) -> Iterator[Fabric]:
    """The launched engine; its processes part when the context ends.

    Args:
        device: ``cpu`` or ``cuda``.
        devices: processes on this machine, a GPU each on CUDA; ignored under torchrun.
    """
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
