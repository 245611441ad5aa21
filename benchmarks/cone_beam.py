"""The cone-beam projector against RTK, on the same scan: speed and agreement.

    python benchmarks/cone_beam.py                 # prints the table
    python benchmarks/cone_beam.py --json out.json
    python benchmarks/cone_beam.py --check         # exit code 1 if a target is missed

RTK (the package itk-rtk) is its CPU filters with as many threads: Joseph's projector, its adjoint,
and the back-projection of the algorithm of Feldkamp. Without the package only the own times are
measured. The compared calls alternate. Wall time is stated besides CPU time, which other programs
on the machine disturb less; the ratios are of CPU time. Takes 2 minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from number import Number, exit_code, show, to_json

from medscore.operators.ct.cone.feldkamp import weighted_backprojection
from medscore.operators.ct.cone.geometry import VoxelGrid
from medscore.operators.ct.cone.orbit import circular_orbit, orbit_of
from medscore.operators.ct.cone.projector import MEMORY, backproject, project

SIZE, VIEWS, PIXELS = 128, 60, 192
SPACING, PITCH = 2.0, 2.2
SOURCE, DETECTOR = 1000.0, 1500.0
THREADS, ROUNDS = 2, 2

WAYS = {"forward": "Joseph forward", "adjoint": "Joseph back", "feldkamp": "FDK back-projection"}


def times(calls: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Median wall and CPU time in seconds of calls that alternate, after one of each.

    Args:
        calls: the functions to time, by name.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for round_ in range(ROUNDS + 1):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if round_:
                found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (statistics.median(w for w, _ in rows), statistics.median(c for _, c in rows))
        for name, rows in found.items()
    }


def rtk(x: torch.Tensor, y: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """RTK's filters on the same volume (Z, Y, X) and projections (views, rows, columns).

    Args:
        x: the volume.
        y: the projections.
    """
    import itk
    import numpy as np
    from itk import RTK

    threads = itk.MultiThreaderBase
    threads.SetGlobalMaximumNumberOfThreads(THREADS)
    threads.SetGlobalDefaultNumberOfThreads(THREADS)
    kind = itk.Image[itk.F, 3]
    geometry = RTK.ThreeDCircularProjectionGeometry.New()
    for k in range(VIEWS):
        geometry.AddProjection(SOURCE, DETECTOR, 360.0 * k / VIEWS)

    def image(values: torch.Tensor, spacing: float, along: float) -> Any:
        made = itk.image_from_array(np.ascontiguousarray(values.numpy()))
        steps = [spacing, spacing, along]
        made.SetSpacing(steps)
        made.SetOrigin(
            [-(n - 1) / 2 * s for n, s in zip(reversed(values.shape), steps, strict=True)]
        )
        return made

    volume = image(x.transpose(0, 1), SPACING, SPACING)  # RTK rotates about its y axis
    stack = image(y, PITCH, 1.0)
    empty = image(torch.zeros_like(x), SPACING, SPACING)
    blank = image(torch.zeros_like(y), PITCH, 1.0)

    def run(name: str, first: Any, second: Any) -> Any:
        step = getattr(RTK, name)[kind, kind].New()
        step.SetInput(0, first)
        step.SetInput(1, second)
        step.SetGeometry(geometry)
        step.InPlaceOff()
        step.Update()
        return torch.from_numpy(itk.array_from_image(step.GetOutput()))

    return {
        "forward": lambda: run("JosephForwardProjectionImageFilter", blank, volume),
        "adjoint": lambda: run("JosephBackProjectionImageFilter", empty, stack).transpose(0, 1),
        "feldkamp": lambda: run("FDKBackProjectionImageFilter", empty, stack).transpose(0, 1),
    }


def measured() -> Iterator[Number]:
    """The numbers of the table."""
    torch.set_num_threads(THREADS)
    geometry = circular_orbit(
        VoxelGrid((SIZE,) * 3, (SPACING,) * 3),
        torch.arange(VIEWS, dtype=torch.float64) * (2 * math.pi / VIEWS),
        source_distance=SOURCE,
        detector_distance=DETECTOR,
        rows=PIXELS,
        columns=PIXELS,
        pitch=(PITCH, PITCH),
    )
    x = torch.rand(SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    y = project(x, geometry)
    ours: dict[str, Callable[[], Any]] = {
        "forward": lambda: project(x, geometry),
        "adjoint": lambda: backproject(y, geometry),
        "feldkamp": lambda: weighted_backprojection(
            y[None], geometry, orbit_of(geometry), memory=MEMORY
        )[0],
    }
    peers = rtk(x, y) if find_spec("itk") else {}
    calls = {f"own {way}": call for way, call in ours.items()}
    calls |= {f"RTK {way}": call for way, call in peers.items()}
    found = times(calls)
    label = f"{SIZE}^3 voxels, {VIEWS} views of {PIXELS} x {PIXELS}"
    for way, name in WAYS.items():
        wall, cpu = found[f"own {way}"]
        yield Number(f"{label}: {name}, wall time", wall, "s")
        yield Number(f"{label}: {name}, CPU time", cpu, "s")
        if peers:
            theirs = found[f"RTK {way}"]
            yield Number(f"{label}: {name} by RTK, wall time", theirs[0], "s")
            yield Number(f"{label}: {name} by RTK, CPU time", theirs[1], "s")
            yield Number(f"{label}: {name}, speed-up over RTK", theirs[1] / cpu, "x", at_least=2.0)
            mine, other = ours[way](), peers[way]()
            scale = float((mine * other).sum() / (other * other).sum())
            gap = float((mine - scale * other).norm() / mine.norm())
            yield Number(f"{label}: {name}, distance from RTK's up to a factor", gap)
            yield Number(f"{label}: {name}, that factor", scale)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    options = parser.parse_args()
    numbers = show(measured())
    if options.json:
        options.json.write_text(json.dumps(to_json(numbers), indent=1) + "\n")
    return exit_code(numbers, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
