"""Speed and memory of the operators against other programs and the speed of the memory.

    python benchmarks/projectors.py                 # prints the table
    python benchmarks/projectors.py --json out.json
    python benchmarks/projectors.py --check         # exit code 1 if a target is missed
    python benchmarks/projectors.py --page docs/benchmarks/projectors.md
    python benchmarks/projectors.py --only fourier  # one of its parts
    python benchmarks/projectors.py --from-json out.json --page docs/benchmarks/projectors.md

ASTRA is its CPU projector ``linear`` (also Joseph's method, float32, through its OpTomo). Both may
use two threads, though ASTRA's CPU code uses one; times are medians. Needs the package
astra-toolbox and, for its rows, svmbir (the extra ``bench``). Takes about 4 minutes, and the first
time several more in which svmbir computes its matrices; ``--only`` measures some parts, and
``--from-json`` puts those of several runs together.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from number import Number, exit_code, from_json, machine, show, table, to_json
from projector_peers import floor, peers
from projector_setup import THREADS, fresh_process
from timing import medians

from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.joseph import joseph
from medscore.operators.ct.projector import backproject, project
from medscore.operators.ct.symmetry import plan

ROUNDS = 3
"""Number of rounds in which the compared calls alternate."""


INTRO = """# Speed of the operators

Time and memory of the CT projector and of the Fourier operator. What to expect, and how to choose a
backend: [Speed](../speed.md).

Written by `python benchmarks/projectors.py --check --page docs/benchmarks/projectors.md`; do not
edit by hand.

Machine: {machine}. Times are medians.

- ASTRA is its CPU projector `linear`, which uses the same interpolation (Joseph's method) and one
  thread.
- svmbir averages over pixels and detectors, and reads its matrix from a cache on disk in every
  call. scikit-image is `radon` and `iradon` without a filter. They project an image of ellipses;
  their interpolation explains the distance between the sinograms.
- The floor is the time to read the stored matrix (that of one direction, in float32, an eighth of
  the whole by symmetry) at the speed at which memory is copied in the same run. That of a batch
  counts the matrix, the images and the sinograms once. It is far away, because every entry is
  multiplied with 8 pixels of each image. To read these pixels from memory, and not from a cache,
  would take as long as the row "gathered pixels" says.
"""


def projectors(size: int, views: int, single: float, batched: float) -> list[Number]:
    """Projection and back-projection of one image and of 16, against ASTRA.

    Args:
        size: pixels per side.
        views: the number of views.
        single: least speed-up over ASTRA for one image.
        batched: least speed-up over ASTRA for 16 images.
    """
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
        Number(f"{label}: relative distance from ASTRA's sinogram", gap, "", at_most=1e-4),
        Number(f"{label}: speed-up over ASTRA, one image", astra_sum / ours, "x", single),
        Number(f"{label}: speed-up over ASTRA, 16 images", astra_sum / each, "x", batched),
    ]


def fourier() -> list[Number]:
    """The masked, centred FFT operator against torch.fft alone."""
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
            Number(f"{label}: operator", 1000 * found["ours"], "ms"),
            Number(f"{label}: torch.fft.fft2 alone, orthonormal", 1000 * found["bare"], "ms"),
            Number(f"{label}: time ratio", found["ours"] / found["bare"], "x", at_most=1.3),
            Number(
                f"{label}: time ratio to the unscaled FFT", found["ours"] / found["unscaled"], "x"
            ),
        ]
    return rows


def gpu() -> list[Number]:
    """Triton kernels against the CSR matrix on the same GPU, and against the memory bandwidth.

    The bandwidth limit is the time to read the images and write the sinograms once. Empty without
    a GPU.
    """
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
    rows.append(Number(f"{label}: bandwidth limit, each way", 1000 * floor, "ms"))
    for way in ("forward", "back"):
        ratio = found[f"csr {way}"] / found[f"triton {way}"]
        rows.append(Number(f"{label}: speed-up of triton over csr, {way}", ratio, "x"))
    return rows


def matrix() -> list[Number]:
    """Stored entries of the projection matrix."""
    geometry = ParallelBeam(512, 1.0, 360)
    entries = len(joseph(plan(geometry).rays, 512, 1.0, torch.float32).values)
    return [Number("512x512, 360 views: stored matrix entries", entries / 2e6, "M")]


PARTS: dict[str, Callable[[], list[Number]]] = {
    "astra-256": lambda: projectors(256, 180, 8, 40),
    "astra-512-90": lambda: projectors(512, 90, 6, 20),
    "astra-512-360": lambda: projectors(512, 360, 6, 20),
    "peers-512-90": lambda: peers(512, 90),
    "peers-512-360": lambda: peers(512, 360),
    "floor-512-90": lambda: floor(512, 90),
    "floor-512-360": lambda: floor(512, 360),
    "memory": lambda: fresh_process(512, 360),
    "matrix": matrix,
    "fourier": fourier,
    "gpu": gpu,
}
"""The parts of the benchmark, in the order of the page."""


def page(found: dict[str, Any], numbers: Sequence[Number]) -> str:
    """The benchmark page of the docs.

    Args:
        found: machine and GPU of a run, as ``--json`` stores them.
        numbers: its measured values.
    """
    lines = [INTRO.format(machine=found["machine"]), *table(numbers)]
    if not found["gpu"]:
        lines += ["", "No GPU was available: the Triton kernels ran in Triton's interpreter only."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these parts")
    parser.add_argument(
        "--from-json", type=Path, nargs="+", help="use stored results instead of a new run"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.from_json:
        runs = [json.loads(path.read_text()) for path in options.from_json]
        found = runs[0]
        numbers = show(from_json(row for run in runs for row in run["numbers"]))
    else:
        parts = [PARTS[name] for name in options.only or PARTS]
        numbers = show(chain.from_iterable(part() for part in parts))
        gpus = torch.cuda.is_available()
        found = {"machine": machine(), "gpu": gpus, "numbers": to_json(numbers)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.page:
        options.page.write_text(page(found, numbers))
    return exit_code(numbers, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
