"""The precision of a training run that leaves it open: bfloat16 where a step is faster in it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import torch

from medscore.priors.precision import emulates_bf16

log = logging.getLogger(__name__)

RUNS = 2
"""Steps that are timed in each precision, after one that is not."""


def faster_in_bf16(step: Callable[[bool], object], device: torch.device) -> bool:
    """Whether a training step takes less time in bfloat16 autocast than in float32.

    Processors that are known to have no units for bfloat16 are not timed: they use float32.

    Args:
        step: a step without the update of the weights; its argument says whether the network runs
            in bfloat16 autocast.
        device: device of the network.
    """
    if emulates_bf16(device):
        log.info("the processor has no units for bfloat16: trained in float32")
        return False
    seconds = {bf16: _fastest(partial(step, bf16)) for bf16 in (False, True)}
    faster = seconds[True] < seconds[False]
    log.info(
        "a step takes %.3g s in float32 and %.3g s in bf16: trained in %s",
        seconds[False], seconds[True], "bf16" if faster else "float32",
    )  # fmt: skip
    return faster


def _fastest(run: Callable[[], object]) -> float:
    """The least time of a run in seconds, after a first one that is not counted."""
    taken = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
