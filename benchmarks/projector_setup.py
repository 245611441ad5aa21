"""Set-up time and memory of the CT projector, each measured in a new process.

python benchmarks/projector_setup.py 512 360    # pixels per side, views; prints JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from number import Number

from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.projector import backproject, project

THREADS = 2


def fresh_process(size: int, views: int) -> list[Number]:
    """Set-up time and memory of the projector, in a new process without and with the disk cache.

    Args:
        size: pixels per side.
        views: the number of views.
    """
    label = f"{size}x{size}, {views} views"
    with tempfile.TemporaryDirectory() as cache:
        runs = []
        for _ in range(2):
            out = subprocess.run(
                [sys.executable, __file__, str(size), str(views)],
                env={**os.environ, "MEDSCORE_CACHE": cache},
                check=True,
                capture_output=True,
                text=True,
            )
            runs.append(json.loads(out.stdout))
        disk = sum(path.stat().st_size for path in Path(cache).iterdir()) / 2**20
    return [
        Number(f"{label}: set-up, first run", runs[0]["set_up"], "s", at_most=5),
        Number(f"{label}: set-up, cached on disk", runs[1]["set_up"], "s", at_most=5),
        Number(f"{label}: peak memory of set-up and one image", runs[0]["one"], "MB", at_most=700),
        Number(f"{label}: peak memory with 16 images", runs[0]["sixteen"], "MB"),
        Number(f"{label}: size of the disk cache", disk, "MB"),
    ]


def set_up(size: int, views: int) -> dict[str, float]:
    """Seconds until the first sinogram, and peak memory in MB.

    Memory is counted above that of the interpreter with its libraries and the images themselves.

    Args:
        size: pixels per side.
        views: the number of views.

    Returns:
        ``set_up`` in seconds; ``one`` and ``sixteen``, peak memory with one image and with 16.
    """
    geometry = ParallelBeam(size, 1.0, views)
    tiny = ParallelBeam(32, 1.0, 16)
    backproject(project(torch.rand(16, 32, 32), tiny), tiny)  # libraries and their threads
    many = torch.rand(16, size, size)
    y = torch.zeros(16, views, geometry.detectors)
    before = memory("VmRSS")
    start = time.perf_counter()
    project(many[:1], geometry)
    seconds = time.perf_counter() - start
    backproject(y[:1], geometry)
    one = memory("VmHWM") - before
    y = project(many, geometry)
    backproject(y, geometry)
    return {"set_up": seconds, "one": one, "sixteen": memory("VmHWM") - before}


def memory(what: str) -> float:
    """Resident memory of this process in MB (2^20 bytes), on Linux.

    Args:
        what: ``VmRSS`` for the current value, ``VmHWM`` for the peak.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 2**10
    raise RuntimeError(f"no {what} in /proc/self/status")


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    print(json.dumps(set_up(*map(int, sys.argv[1:]))))
