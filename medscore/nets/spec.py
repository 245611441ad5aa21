"""The base of network specifications: parameters that a file can hold and that build a network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from medscore.io.specs import Strict

Positive = Annotated[int, Field(gt=0, le=16_384)]
"""Number of channels or groups; larger ones are mistakes that would take all memory."""

Few = Annotated[int, Field(gt=0, le=256)]
"""Number of blocks or layers."""


class NetworkSpec(Strict):
    """Base of the network specifications, each of which has a ``kind`` of its own."""

    @property
    def context(self) -> bool:
        """Whether the network needs context maps (:mod:`medscore.nets.context`)."""
        return False

    def build(self) -> nn.Module:
        """The untrained network, initialised with torch's global generator."""
        raise NotImplementedError

    def check_size(self, size: int) -> None:
        """Check that the network takes square images of a size.

        Args:
            size: side of the images in pixels.

        Raises:
            ValueError: it does not.
        """


def check_multiple(size: int, step: int, why: str) -> None:
    """Check that a size is a multiple of a number.

    Args:
        size: side of the images in pixels.
        step: the number.
        why: the reason, for the message.

    Raises:
        ValueError: it is not.
    """
    if size % step:
        raise ValueError(f"size {size} must be a multiple of {step}: {why}")


def check_halved(size: int, levels: int, of: str) -> None:
    """Check that a size can be halved from each resolution level to the next.

    Args:
        size: side of the images in pixels.
        levels: number of levels.
        of: field of the specification that sets the levels, for the message.

    Raises:
        ValueError: it cannot.
    """
    step = 2 ** (levels - 1)
    check_multiple(size, step, f"it is halved between {levels} levels of {of}")
