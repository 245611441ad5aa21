"""The calls that benchmarks/company.py times, in a process that it starts with an environment.

The process reads one request a line, JSON with the name of a call, a number of threads and seconds,
repeats the call for that long, and answers with a line that holds the seconds of each repetition.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch

import medscore
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.projector import backproject, project

SCANS = {256: 180, 512: 360}
"""Number of views by pixels per side."""

Calls = dict[str, Callable[[], object]]


def projector(size: int, batch: int) -> Callable[[], object]:
    """Projection and back-projection of a batch of images.

    Args:
        size: pixels per side.
        batch: number of images.
    """
    geometry = ParallelBeam(size, 1.0, SCANS[size])
    x = torch.rand(batch, size, size)
    y = project(x, geometry)
    return lambda: (project(x, geometry), backproject(y, geometry))


def astra(size: int) -> Callable[[], object]:
    """Projection and back-projection of one image by ASTRA's CPU projector ``linear``.

    Args:
        size: pixels per side.
    """
    import astra

    geometry = ParallelBeam(size, 1.0, SCANS[size])
    scan = astra.create_proj_geom("parallel", 1.0, geometry.detectors, geometry.angles.numpy())
    square = astra.create_vol_geom(size, size)
    peer = astra.OpTomo(astra.create_projector("linear", scan, square))
    image = torch.rand(size, size).numpy()
    sinogram = peer.FP(image)
    return lambda: (peer.FP(image), peer.BP(sinogram))


def network(batch: int) -> Callable[[], object]:
    """One evaluation of the shipped CT prior.

    Args:
        batch: number of images.
    """
    prior = medscore.load_prior("ct-128")
    x, t = torch.rand(batch, 1, 128, 128), torch.full((batch,), 0.3)
    return lambda: prior.denoise(x, t)


MAKERS: dict[str, Callable[[], Callable[[], object]]] = {
    "256x256, one image": lambda: projector(256, 1),
    "256x256, 16 images": lambda: projector(256, 16),
    "512x512, one image": lambda: projector(512, 1),
    "512x512, 16 images": lambda: projector(512, 16),
    "ASTRA, 256x256": lambda: astra(256),
    "ASTRA, 512x512": lambda: astra(512),
    "network, one image": lambda: network(1),
    "network, 4 images": lambda: network(4),
}


def timed(call: Callable[[], object], duration: float) -> list[float]:
    """The seconds of each repetition of a call.

    Args:
        call: the function.
        duration: seconds after which no repetition begins; there is at least one.
    """
    times: list[float] = []
    end = time.perf_counter() + duration
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    calls: Calls = {}
    threads = torch.get_num_threads()
    with torch.no_grad():
        for line in sys.stdin:
            asked = json.loads(line)
            name = asked["call"]
            torch.set_num_threads(asked["threads"] or threads)
            if name not in calls:
                calls[name] = MAKERS[name]()
            print(json.dumps(timed(calls[name], asked["seconds"])), flush=True)


if __name__ == "__main__":
    main()
