"""What every network's specification is: parameters that a file may hold, and what they build."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from medscore.io.specs import Strict

Positive = Annotated[int, Field(gt=0)]


class NetworkSpec(Strict):
    """Base of the specifications; each network's file has its own, with a ``kind`` of its own."""

    def build(self) -> nn.Module:
        """The untrained network; its initialisation draws from torch's global generator."""
        raise NotImplementedError

    def check_size(self, size: int) -> None:
        """ValueError where images of ``size`` x ``size`` pixels do not fit the network."""


def check_multiple(size: int, step: int, why: str) -> None:
    """ValueError where ``size`` is no multiple of ``step``, which the network needs for ``why``."""
    if size % step:
        raise ValueError(f"size {size} must be a multiple of {step}: {why}")


def check_halved(size: int, levels: int, of: str) -> None:
    """ValueError where ``size`` cannot be halved between ``levels`` levels of the field ``of``."""
    step = 2 ** (levels - 1)
    check_multiple(size, step, f"it is halved between {levels} levels of {of}")
