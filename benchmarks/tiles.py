"""Memory, time and result of a large image in tiles, with the network of the recipe `ct`.

    python benchmarks/tiles.py --check

Each row runs in a process of its own, which evaluates the network once on an image of 1024 x 1024
pixels with a memory budget, and reports by how much its peak memory grew. The estimate is that of a
tile with its margin, or of the whole image. --check exits 1 if the largest difference to the whole
image exceeds 1e-4, or if the memory exceeds twice the estimate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from medscore.io.yaml_files import read_yaml
from medscore.nets.context import context_maps
from medscore.nets.local_unet import LocalUNet, LocalUNetSpec
from medscore.nets.tiles import Tiled, tiles

RECIPE = Path(__file__).resolve().parent.parent / "configs" / "train" / "ct.yaml"
MIB = 2**20
BUDGETS = (2048, 384, 256)
"""Memory budgets in MiB."""

LIMIT = 1e-4
"""Largest difference to the output for the whole image, whose standard deviation is about 1."""


def network() -> LocalUNet:
    """The network with random weights, including those that are initialised with zeros."""
    torch.manual_seed(0)
    made = LocalUNet(LocalUNetSpec(**read_yaml(RECIPE)["network"]))
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return made.eval()


def measured(side: int, budget: int, threads: int) -> dict[str, float]:
    """One evaluation in tiles, and the largest difference to the whole image.

    Args:
        side: rows and columns.
        budget: memory budget in bytes.
        threads: number of threads.
    """
    torch.set_num_threads(threads)
    whole, image = network(), torch.randn(1, 1, side, side)
    u, c = torch.cat([image, context_maps((side, side), 0.7)], dim=1), torch.tensor([-2.0])
    tiled = Tiled(whole, whole.spec, budget)
    with torch.no_grad():
        whole(u[..., :64, :64], c)  # buffers that are made once
        before, begin = peak(), time.perf_counter()
        found = tiled(u, c)
        seconds, grown = time.perf_counter() - begin, peak() - before
        difference = float((found - whole(u, c)).abs().max() / found.std())
    return {"bytes": grown, "seconds": seconds, "difference": difference}


def peak() -> int:
    """Largest memory of the process so far in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = min(2, len(os.sched_getaffinity(0)))
    if options.one:
        print(json.dumps(measured(options.side, options.one, threads)))
        return 0
    spec, rows, missed = network().spec, [], []
    print(f"{options.side} x {options.side} pixels, margin {spec.margin} pixels")
    print("| budget (MiB) | tiles | estimate (MiB) | peak memory (MiB) | seconds | difference |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for budget in BUDGETS:
        command = [sys.executable, __file__, "--side", options.side, "--one", budget * MIB]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
        pixels = budget * MIB // spec.activation_bytes()
        split = tiles((options.side, options.side), pixels, spec.stride, spec.margin)
        estimate = split[0][0].width * split[1][0].width * spec.activation_bytes()
        row = {
            "budget": budget * MIB, "tiles": [*map(len, split)], "estimate": estimate,
            **json.loads(done.stdout),
        }  # fmt: skip
        rows.append(row)
        print(
            f"| {budget} | {len(split[0])} x {len(split[1])} | {estimate / MIB:.0f} | "
            f"{row['bytes'] / MIB:.0f} | {row['seconds']:.1f} | {row['difference']:.1e} |",
            flush=True,
        )
        if row["difference"] > LIMIT:
            missed.append(f"{budget} MiB: difference {row['difference']:.1e}")
        if row["bytes"] > 2 * estimate:
            missed.append(f"{budget} MiB: {row['bytes'] / MIB:.0f} MiB of memory")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    for text in missed:
        print(f"missed: {text}")
    return int(options.check and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
