r"""Discrete likelihood of images with integer grey levels, in bits per dimension.

With b bits, an image x in the network's range has the grey levels k = floor(2^b x), which lie below
2^b for values below 1; brighter magnitudes have higher levels. The model's probability of k is the
integral of its density over the bin, and Jensen's inequality bounds it with any distribution q of
the noise u within the bin (Song et al. 2022, section 9.5.2; Theis et al. 2016):

.. math:: -\log P(k) \le E_{u \sim q(u|k)}\left[ -\log p\left(\tfrac{k + u}{2^b}\right)
          + \log q(u|k) \right] + D\, b \log 2,

where log q = 0 for uniform u. The only constant between the density in nats and bits is the one of
the bin width 2^-b.
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
"""Distinguishes the dequantization noise from other draws of the same seed."""


@dataclass(frozen=True)
class Levels:
    """Equally spaced grey levels, 2^bits of them in [0, 1) of the network's range.

    Attributes:
        bits: number of bits, 1 to 16, since float32 has 24 for the level and the noise together.

    Raises:
        ValueError: ``bits`` is out of range.
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits is {self.bits}, 1 to 16 is needed")

    @property
    def count(self) -> int:
        """The number of levels in [0, 1), 2^bits."""
        return 1 << self.bits

    def quantise(self, x: State) -> State:
        """The levels k of images, as floats; values below 0 have level 0.

        Args:
            x: images in the network's range, of any shape.
        """
        return torch.floor(x * self.count).clamp_min(0)

    def dequantise(self, k: State, u: State) -> State:
        """The images (k + u) / 2^b.

        Args:
            k: levels.
            u: noise in [0, 1) of the same shape.
        """
        return (k + u) / self.count

    def nats(self, density: Times, log_q: Times, d: int) -> Times:
        """The upper bound of -log P(k) in nats.

        Args:
            density: -log p of the dequantised images in nats, (batch,).
            log_q: log density of their noise, (batch,); 0 for uniform noise.
            d: number of components of an image.
        """
        return density + log_q + d * self.bits * math.log(2)

    def bits_per_dim(self, density: Times, log_q: Times, d: int) -> Times:
        """The upper bound of -log P(k) in bits per dimension: :meth:`nats` divided by D log 2.

        Args:
            density: -log p of the dequantised images in nats, (batch,).
            log_q: log density of their noise, (batch,); 0 for uniform noise.
            d: number of components of an image.
        """
        return self.nats(density, log_q, d) / (d * math.log(2))


def uniform(like: Tensor, seeds: Sequence[int]) -> Tensor:
    """Uniform draws in the open interval (0, 1), with one seed per sample.

    They are independent of the draws of :class:`~medscore.white_noise.Noise` with the same seed.

    Args:
        like: tensor (batch, ...) that sets shape, data type and device.
        seeds: seed of each sample.
    """
    own = [torch.Generator().manual_seed(derive_seed(seed, STREAM)) for seed in seeds]
    draws = [torch.rand(like.shape[1:], generator=generator) for generator in own]
    v: Tensor = torch.stack(draws).to(like).clamp(2**-24, 1 - 2**-24)
    return v
