"""The time of a volume of 512 x 512 x 512 voxels on 1, 8 and 64 GPUs, from costs measured on a CPU.

Each GPU has a share of the slices. The network takes its arithmetic over ``FLOPS``. What surrounds
it is limited by memory, and is faster than on the CPU by the ratio of the speeds of the memory. In
every evaluation the GPUs exchange the denoised and the noisy volume in float32, over the links of a
node of eight, or over the network between nodes. Memory is that of the arrays of the volume which
every process holds (:data:`medscore.reconstruction.volumes.IMAGES`, of which all but the two
exchanged ones are of its own slices), and of the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from number import Number

from medscore.reconstruction.volumes import DATA, IMAGES

SLICES, VIEWS, SIDE, EVALUATIONS = 512, 90, 512, 50
FLOPS = 2e14
"""Arithmetic operations in a second, in bfloat16: a fifth of what an H100 can do."""

MEMORY = 2e12
"""Bytes in a second that a GPU reads and writes."""

LINKS = {1: float("inf"), 8: 2e11, 64: 2.5e10}
"""Bytes in a second that each GPU receives, by the number of GPUs."""

EXCHANGED = 2


@dataclass(frozen=True)
class Costs:
    """What one slice costs in one evaluation.

    Attributes:
        operations: arithmetic operations of the network.
        across: CPU seconds of the rule across slices.
        rest: CPU seconds of everything else.
        memory: bytes that the CPU copies in a second.
    """

    operations: float
    across: float
    rest: float
    memory: float


def predictions(costs: Costs) -> Iterator[Number]:
    """Time and memory on each number of GPUs.

    Args:
        costs: of a slice.
    """
    slice_bytes = 4 * SIDE**2
    for count, link in LINKS.items():
        own = SLICES / count
        work = costs.operations / FLOPS + (costs.across + costs.rest) * costs.memory / MEMORY
        exchange = EXCHANGED * slice_bytes * (SLICES - own) / link
        seconds = EVALUATIONS * (own * work + exchange)
        arrays = IMAGES * own + EXCHANGED * (SLICES - own)
        data = DATA * own * VIEWS * SIDE * 4
        title = f"{SIDE} x {SIDE} x {SLICES}, {EVALUATIONS} evaluations, {count} GPUs"
        yield Number(f"{title}: predicted time", seconds, "s")
        yield Number(f"{title}: of which exchange", EVALUATIONS * exchange, "s")
        yield Number(f"{title}: memory of each", (arrays * slice_bytes + data) / 1e9, "GB")
