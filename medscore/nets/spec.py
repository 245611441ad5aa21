"""What every network's specification is: parameters that a file may hold, and what they build."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from medscore.strict import Strict

Positive = Annotated[int, Field(gt=0)]


class NetworkSpec(Strict):
    """Base of the specifications; each network's file has its own, with a ``kind`` of its own."""

    def build(self) -> nn.Module:
        """The untrained network; its initialisation draws from torch's global generator."""
        raise NotImplementedError

    def check_size(self, size: int) -> None:
        """ValueError where images of ``size`` x ``size`` pixels do not fit the network."""
