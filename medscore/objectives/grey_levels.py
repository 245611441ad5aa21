r"""Discrete likelihood of images with integer grey levels, in bits for each number.

Of b bits, an image in the network's range has the levels k = floor(2^b x): 2^b of them below 1, one
that begins at 1, and more above for magnitudes that are brighter. The model's probability of k is
the integral of its density over the bin, which Jensen's inequality bounds by any noise u in it
(Song et al. 2022, section 9.5.2; Theis et al. 2016):

.. math:: -\log P(k) \le E_{u \sim q(u|k)}\left[ -\log p\left(\tfrac{k + u}{2^b}\right)
          + \log q(u|k) \right] + D\, b \log 2,

uniform u having log q = 0. No other offset: a width of the bins of 2^-b, and nothing else, stands
between nats of the density and bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.types import State, Times
from medscore.white_noise import derive_seed

STREAM = 0x6B
"""Of a seed, the draws within levels."""


@dataclass(frozen=True)
class Levels:
    """Equal levels, 2^bits from 0 to below 1 of the network's range.

    Raises:
        ValueError: fewer than 1 or more than 16 bits: float32 has 24 for level and noise.
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits is {self.bits}, 1 to 16 can be had")

    @property
    def count(self) -> int:
        """2^bits."""
        return 1 << self.bits

    def quantise(self, x: State) -> State:
        """k of images in the network's range, as floats; 0 for what is below it."""
        return torch.floor(x * self.count).clamp_min(0)

    def dequantise(self, k: State, u: State) -> State:
        """The image (k + u) / 2^b, u in [0, 1)."""
        return (k + u) / self.count

    def nats(self, density: Times, log_q: Times, d: int) -> Times:
        """Bound on -log P(k) in nats.

        Args:
            density: -log p of the dequantised image, in nats. log_q: of its noise; 0 if uniform.
            d: numbers in the image.
        """
        return density + log_q + d * self.bits * math.log(2)

    def bits_per_dim(self, density: Times, log_q: Times, d: int) -> Times:
        """:meth:`nats` over D log 2."""
        return self.nats(density, log_q, d) / (d * math.log(2))


def uniform(like: Tensor, seeds: Sequence[int]) -> Tensor:
    """v in the open interval (0, 1), one seed per sample: other draws than :class:`Noise`'s of that
    seed, so that both can be of one sample.
    """
    own = [torch.Generator().manual_seed(derive_seed(seed, STREAM)) for seed in seeds]
    draws = [torch.rand(like.shape[1:], generator=generator) for generator in own]
    v: Tensor = torch.stack(draws).to(like).clamp(2**-24, 1 - 2**-24)
    return v
