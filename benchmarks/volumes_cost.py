"""What a step costs for each slice, and the peak memory of a whole volume.

Times are CPU seconds of one thread for one slice and one evaluation: of the network, of the rules
across slices (a volume of 32 slices), and of everything else, which is mostly data consistency
(DiffPIR, measured with a network that does nothing). Memory is the peak of a process of its own
that reconstructs one sample of 512 x 512 x 300 voxels from 90 views in two evaluations, with the
network that does nothing, plus what the network needs for a batch of eight slices.

The predictions for 512 x 512 x 512 voxels follow from these by volumes_model.py; no GPU was used.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from number import Number
from torch.utils.flop_counter import FlopCounterMode
from volumes_model import Costs, predictions
from volumes_settings import Settings

import medscore as ms
from medscore.datasets.volume import Source, Volume
from medscore.measurements.measurement import Measurement
from medscore.priors.across import Denoised
from medscore.priors.base import Prior
from medscore.priors.neighbours import NeighboursOfVolume
from medscore.priors.slice_tv import SliceTV
from medscore.types import State, Times

FIELD_MM = 360.0
VIEWS = {256: 45, 512: 90}
TIMED = 32
LARGE = (512, 300)
"""Rows and slices of the volume whose memory is measured."""


class Nothing(Prior):
    """A prior that denoises nothing, with the range of another."""

    def __init__(self, like: Prior) -> None:
        self.sde, self.domain = like.sde, like.domain

    def denoise(self, x: State, t: Times) -> State:
        """Zeros.

        Args:
            x: noisy images.
            t: times.
        """
        return torch.zeros_like(x)


def measurement(side: int, slices: int) -> Measurement:
    """A scan of a cylinder of water.

    Args:
        side: rows and columns.
        slices: number of slices.
    """
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    slice_ = np.where(x**2 + y**2 < 0.7, 0.0, -1000.0).astype(np.float32)
    pixel = FIELD_MM / side
    source = Source("array", "0" * 64)
    one = Volume(slice_[None], np.diag([-pixel, -pixel, 1.0, 1.0]), "CT", source)
    scan = ms.simulate(one, "sparse-ct", views=VIEWS[side], noise="poisson:1e5")
    return replace(scan, data=np.repeat(scan.data, slices, 0))


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of the second call.

    Args:
        call: the function.
    """
    call()
    start = time.process_time()
    call()
    return time.process_time() - start


def numbers(settings: Settings) -> Iterator[Number]:
    """All numbers of this part.

    Args:
        settings: settings of the measurement.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    net = ms.load_prior("ct")
    for side in VIEWS:
        yield from _times(net, side)
    torch.set_num_threads(threads)
    side, slices = LARGE[0], settings.slices or LARGE[1]
    command = [sys.executable, str(Path(__file__)), str(side), str(slices)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    total = found["volume"] + found["network"]
    title = f"{side} x {side} x {slices}"
    yield Number(f"{title}: peak memory of the volume", found["volume"], "GB")
    yield Number(f"{title}: of the network, 8 slices", found["network"], "GB")
    yield Number(f"{title}: peak memory", total, "GB", None, 8.0)


def copied_per_second() -> float:
    """Bytes that a thread reads and writes in a second, copying an array of 256 MB."""
    source = torch.zeros(2**26)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source))


def _times(net: Any, side: int) -> Iterator[Number]:
    """The times of a slice of a size."""
    x, t = torch.zeros(4, 1, side, side), torch.full((4,), 0.5)
    prior = net.on_grid((side, side), FIELD_MM / side)
    with torch.no_grad():
        network = seconds(lambda: prior.denoise(x, t)) / len(x)
        with FlopCounterMode(display=False) as counter:
            prior.denoise(x[:1], t[:1])
        volume = torch.randn(1, 1, TIMED, side, side)
        denoised = Denoised(volume, volume + 0.1, 0.1)
        rules = {"tv": SliceTV(), "2.5d": NeighboursOfVolume(net.neighbours, 2.0, FIELD_MM / side)}
        coupling = {
            name: seconds(lambda: rule.couple(denoised)) / TIMED  # noqa: B023  # called at once
            for name, rule in rules.items()
        }
    scan = measurement(side, TIMED)

    def rest(steps: int) -> float:
        return seconds(
            lambda: ms.reconstruct(
                scan, Nothing(net), preset="sharpest", across_slices="none", steps=steps
            )
        )

    each = (rest(11) - rest(1)) / (10 * TIMED)
    yield Number(f"{side} x {side}: network", network, "s")
    gigaflops = counter.get_total_flops() / 1e9
    yield Number(f"{side} x {side}: arithmetic of the network, 10^9 operations", gigaflops)
    for name, time_ in coupling.items():
        yield Number(f"{side} x {side}: across slices, {name}", time_, "s")
    yield Number(f"{side} x {side}: everything else", each, "s")
    if side == LARGE[0]:
        speed = copied_per_second()
        yield Number("speed of copying memory, one thread", speed / 1e9, "GB/s")
        yield from predictions(Costs(1e9 * gigaflops, coupling["2.5d"], each, speed))


def memory(side: int, slices: int) -> dict[str, float]:
    """Peak memory in GB of this process with a volume, and of the network's batch.

    Args:
        side: rows and columns.
        slices: number of slices.
    """
    net = ms.load_prior("ct")
    scan = measurement(side, slices)
    _reset_peak()
    ms.reconstruct(
        scan, Nothing(net), preset="sharpest", across_slices="tv", steps=1, precision="float32"
    )
    volume = _peak()
    del scan
    _reset_peak()
    before = _peak()
    x, t = torch.zeros(8, 1, side, side), torch.full((8,), 0.5)
    with torch.no_grad():
        net.on_grid((side, side), FIELD_MM / side).denoise(x, t)
    return {"volume": volume, "network": _peak() - before}


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Peak resident memory since the last reset, in GB."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    print(json.dumps(memory(int(sys.argv[1]), int(sys.argv[2]))))
