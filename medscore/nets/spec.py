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

LARGEST_STRIDE = 512
"""Largest stride that is searched for."""


class NetworkSpec(Strict):
    """Base of the network specifications, each of which has a ``kind`` of its own."""

    @property
    def context(self) -> bool:
        """Whether the network needs context maps (:mod:`medscore.nets.context`)."""
        return False

    @property
    def uses_position(self) -> bool:
        """Whether the output depends on the position in the field of view."""
        return False

    @property
    def receptive_field(self) -> int | None:
        """Side in pixels of the region that a pixel of the output depends on; None if unbounded."""
        return None

    @property
    def margin(self) -> int:
        """Width in pixels of the border around a tile that its output depends on.

        The tile begins and ends at multiples of the stride. Only networks with a receptive field
        have a margin.
        """
        raise NotImplementedError

    def activation_bytes(self, gradient: bool = False) -> int:
        """Estimate of the memory of an evaluation in float32, in bytes for each pixel.

        Only networks with a receptive field have an estimate.

        Args:
            gradient: whether the features are kept for a gradient.
        """
        raise NotImplementedError

    @property
    def stride(self) -> int:
        """The smallest power of two whose multiples the network takes as sides of its images.

        Raises:
            ValueError: there is none up to 512.
        """
        size = 1
        while True:
            try:
                self.check_size(size)
                return size
            except ValueError:
                if size >= LARGEST_STRIDE:
                    raise
                size *= 2

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
