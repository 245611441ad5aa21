"""The precision of a run that may continue an interrupted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from medscore.engine.items import ItemFolder
from medscore.priors.base import Prior
from medscore.priors.precision import PRECISIONS, Choice, choose_precision


def settle(
    asked: str,
    prior: Prior,
    shape: Sequence[int],
    device: torch.device | str,
    state: Path | None,
    fingerprint: Callable[[str], str],
) -> Choice:
    """The precision of a run; with ``auto`` that of the saved state, if there is one.

    A run that was interrupted elsewhere, or before the cache was emptied, so keeps its precision.

    Args:
        asked: float32, bf16 or auto.
        prior: the prior, on the device.
        shape: shape of an image, (channel, H, W).
        device: device of the prior.
        state: file that keeps the interrupted run; None if none is kept.
        fingerprint: the fingerprint of the run in a given precision.
    """
    saved = ItemFolder(state, "").saved() if asked == "auto" and state is not None else None
    for name in PRECISIONS:
        if saved is not None and fingerprint(name) == saved[0]:
            return Choice(name, "state", began=saved[1])
    return choose_precision(asked, prior, shape, device)
