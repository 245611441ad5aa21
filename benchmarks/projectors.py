"""How fast the operators are, beside named peers in the same run.

    python benchmarks/projectors.py                 # the table
    python benchmarks/projectors.py --json out.json
    python benchmarks/projectors.py --check         # exit code 1 when a number is missed
    python benchmarks/projectors.py --page docs/speed.md

Peers: ASTRA's CPU projector ``linear`` (the same Joseph's method, float32, through its OpTomo) and
bare torch.fft. Both sides get two threads, though ASTRA's CPU code uses one; times are medians.
Needs ``pip install astra-toolbox`` (the extra ``bench``). About 2 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from number import Number

from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.joseph import joseph
from medscore.operators.ct.projector import backproject, project
from medscore.operators.ct.symmetry import plan

THREADS, ROUNDS = 2, 3


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(
    calls: dict[str, Callable[[], object]], rounds: int, *, burst: int = 5
) -> dict[str, float]:
    """Median seconds of each. In every round each runs ``burst`` times in a row, as a solver runs
    it, and all take turns, so that they see the same machine.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name] += [seconds(call) for _ in range(burst)]
    return {name: statistics.median(values) for name, values in times.items()}


def projectors(size: int, views: int, single: float, batched: float) -> list[Number]:
    """Forward and back of one image and of 16, against ASTRA on the same geometry."""
    import astra

    geometry = ParallelBeam(size, 1.0, views)
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(1, 1, size, size, generator=generator)
    many = torch.rand(16, 1, size, size, generator=generator)
    y_one, y_many = project(one, geometry), project(many, geometry)
    scan = astra.create_proj_geom("parallel", 1.0, geometry.detectors, geometry.angles.numpy())
    square = astra.create_vol_geom(size, size)
    peer = astra.OpTomo(astra.create_projector("linear", scan, square))
    image, sinogram = one[0, 0].numpy(), y_one[0, 0].numpy()
    theirs = torch.from_numpy(peer.FP(image))
    found = medians(
        {
            "astra forward": lambda: peer.FP(image),
            "astra back": lambda: peer.BP(sinogram),
            "forward": lambda: project(one, geometry),
            "back": lambda: backproject(y_one, geometry),
            "forward of 16": lambda: project(many, geometry),
            "back of 16": lambda: backproject(y_many, geometry),
        },
        ROUNDS,
    )
    label = f"{size}x{size}, {views} views"
    rows = [
        Number(f"{label}: {name}{', per image' if 'of 16' in name else ''}",
               1000 * value / (16 if "of 16" in name else 1), "ms")
        for name, value in found.items()
    ]  # fmt: skip
    astra_sum = found["astra forward"] + found["astra back"]
    ours = found["forward"] + found["back"]
    each = (found["forward of 16"] + found["back of 16"]) / 16
    gap = float((y_one[0, 0] - theirs).norm() / theirs.norm())
    return [
        *rows,
        Number(f"{label}: distance to ASTRA's sinogram", gap, "", at_most=1e-4),
        Number(f"{label}: times as fast as ASTRA, one image", astra_sum / ours, "x", single),
        Number(f"{label}: times as fast as ASTRA, 16 images", astra_sum / each, "x", batched),
    ]


def fresh_process(size: int, views: int) -> list[Number]:
    """Set-up time and memory of the operator, in a process of its own, without and with the disk
    cache."""
    label = f"{size}x{size}, {views} views"
    with tempfile.TemporaryDirectory() as cache:
        runs = []
        for _ in range(2):
            out = subprocess.run(
                [sys.executable, __file__, "--set-up", f"{size},{views}"],
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
        Number(f"{label}: on disk", disk, "MB"),
    ]


def set_up(size: int, views: int) -> dict[str, float]:
    """What ``fresh_process`` asks: seconds until the first sinogram, and peak memory above that of
    the interpreter with its libraries and the images themselves."""
    geometry = ParallelBeam(size, 1.0, views)
    tiny = ParallelBeam(32, 1.0, 16)
    backproject(project(torch.rand(16, 32, 32), tiny), tiny)  # libraries and their threads
    many = torch.rand(16, size, size)
    y = torch.zeros(16, views, geometry.detectors)
    before = memory("VmRSS")
    seconds_ = seconds(lambda: project(many[:1], geometry))
    backproject(y[:1], geometry)
    one = memory("VmHWM") - before
    y = project(many, geometry)
    backproject(y, geometry)
    return {"set_up": seconds_, "one": one, "sixteen": memory("VmHWM") - before}


def memory(what: str) -> float:
    """Resident memory now (VmRSS) or at its peak (VmHWM) in MB (2^20 bytes); on Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 2**10
    raise RuntimeError(f"no {what} in /proc/self/status")


def fourier() -> list[Number]:
    """The masked, centred FFT operator against a bare torch.fft."""
    from medscore.operators.mri.fourier import Fourier
    from medscore.operators.mri.masks import equispaced

    operator = Fourier(equispaced((320, 320), 8.0))
    rows = []
    for batch in (1, 16):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(batch, 1, 320, 320, dtype=torch.complex64, generator=generator)
        found = medians(
            {
                "ours": lambda x=x: operator.forward(x),
                "bare": lambda x=x: torch.fft.fft2(x, norm="ortho"),
                "unscaled": lambda x=x: torch.fft.fft2(x),
            },
            200 * ROUNDS,
            burst=1,
        )
        label = f"320x320 FFT with mask, batch {batch}"
        rows += [
            Number(f"{label}: ours", 1000 * found["ours"], "ms"),
            Number(f"{label}: bare torch.fft.fft2, orthonormal", 1000 * found["bare"], "ms"),
            Number(f"{label}: times as long", found["ours"] / found["bare"], "x", at_most=1.3),
            Number(f"{label}: times the unscaled FFT", found["ours"] / found["unscaled"], "x"),
        ]
    return rows


def gpu() -> list[Number]:
    """Triton against the CSR matrix on the same GPU, and against the memory-bandwidth floor: the
    time to read the images and write the sinograms once."""
    if not torch.cuda.is_available():
        return []
    size, views, batch = 512, 180, 16
    geometry = ParallelBeam(size, 1.0, views)
    x = torch.rand(batch, size, size, device="cuda")
    y = project(x, geometry, backend="csr")

    def timed(call: Callable[[], object]) -> Callable[[], object]:
        return lambda: (call(), torch.cuda.synchronize())

    calls = {
        f"{backend} {way}": timed(lambda f=f, a=a, backend=backend: f(a, geometry, backend=backend))
        for backend in ("triton", "csr")
        for way, f, a in (("forward", project, x), ("back", backproject, y))
    }
    found = medians(calls, ROUNDS)
    block = torch.empty(2**28, device="cuda")  # 1 GiB
    copy = medians({"copy": timed(lambda: block.clone())}, ROUNDS)["copy"]
    floor = 4 * (x.numel() + y.numel()) / (2 * 4 * block.numel() / copy)
    label = f"GPU, {size}x{size}, {views} views, batch {batch}"
    rows = [Number(f"{label}: {name}", 1000 * value, "ms") for name, value in found.items()]
    rows.append(Number(f"{label}: bandwidth floor, each way", 1000 * floor, "ms"))
    for way in ("forward", "back"):
        ratio = found[f"csr {way}"] / found[f"triton {way}"]
        rows.append(Number(f"{label}: triton times as fast as csr, {way}", ratio, "x"))
    return rows


def matrix() -> list[Number]:
    """What a stored matrix of all views would take without the symmetry."""
    geometry = ParallelBeam(512, 1.0, 360)
    entries = len(joseph(plan(geometry).rays, 512, 1.0, torch.float32).values)
    return [Number("512x512, 360 views: stored crossings", entries / 2e6, "M")]


def page(numbers: list[Number]) -> str:
    """The documentation page."""
    lines = [
        "# Speed of the operators",
        "",
        "Written by `python benchmarks/projectors.py --check --page docs/speed.md`; do not edit.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, {THREADS} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}. Medians; "
        "ASTRA is its CPU projector `linear`, the same interpolation, which uses one thread.",
        "",
        "| what | measured | asked |",
        "| --- | ---: | --- |",
        *(f"| {n.name} | {n.value:.4g} {n.unit} | {n.asked} |" for n in numbers),
        "",
    ]
    if not torch.cuda.is_available():
        lines += [
            "No GPU was at hand: the Triton kernels were tested in their interpreter only.",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
    parser.add_argument("--set-up", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.set_up:
        print(json.dumps(set_up(*map(int, options.set_up.split(",")))))
        return
    numbers: list[Number] = []
    for rows in (
        lambda: projectors(256, 180, 8, 40),
        lambda: projectors(512, 360, 6, 20),
        lambda: fresh_process(512, 360),
        matrix,
        fourier,
        gpu,
    ):
        for number in rows():
            print(number, flush=True)
            numbers.append(number)
    if options.json:
        rows_ = [{**asdict(n), "met": n.met} for n in numbers]
        options.json.write_text(json.dumps(rows_, indent=2) + "\n")
    if options.page:
        options.page.write_text(page(numbers))
    if options.check and not all(n.met for n in numbers):
        sys.exit(1)


if __name__ == "__main__":
    main()
