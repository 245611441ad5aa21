"""NCSN: a RefineNet conditioned on the index of the noise scale (Song & Ermon 2019; App. B.3.1).

All normalisations are CondInstanceNorm++, with separate parameters for each noise scale, and the
refine blocks use average pooling (Table B.7). The output is the score itself, so the prediction is
``{target: score, condition: level, levels: L}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, cast

import torch
from pydantic import Field
from torch import nn

from medscore.nets.normalisation import CondInstanceNormPlus
from medscore.nets.refinenet import RefineNet
from medscore.nets.refinenet_spec import RefineNetSpec
from medscore.types import Images, Times


class NCSNSpec(RefineNetSpec):
    """Parameters of :class:`NCSN`, beside those of
    :class:`~medscore.nets.refinenet_spec.RefineNetSpec`.

    Attributes:
        kind: ``ncsn``.
        levels: number L of noise scales that it is trained on.
    """

    kind: Literal["ncsn"] = "ncsn"
    levels: int = Field(10, gt=1, le=100_000)

    def build(self) -> nn.Module:
        return NCSN(self.image_channels, self.widths, self.dilations, levels=self.levels)


class NCSN(nn.Module):
    """Noise conditional score network.

    Args:
        image_channels: channels of the images.
        widths: channels of each stage (:class:`~medscore.nets.refinenet_spec.RefineNetSpec`).
        dilations: dilation of each stage.
        levels: number of noise scales.
    """

    def __init__(
        self, image_channels: int, widths: Sequence[int], dilations: Sequence[int], *, levels: int
    ) -> None:
        super().__init__()
        norm = partial(CondInstanceNormPlus, levels=levels)
        pool = partial(nn.AvgPool2d, 5, stride=1, padding=2)
        self.body = RefineNet(
            image_channels, widths, dilations, norm=norm, refine_norm=norm, pool=pool
        )

    def forward(self, x: Images, level: Times) -> Images:
        """The score of each image.

        Args:
            x: noisy images (batch, channel, H, W).
            level: index of each image's noise scale, (batch,), 0 for the least noise; it is rounded
                to the nearest one.

        Raises:
            IndexError: (on the CPU) a level rounds to none of the scales.
        """
        return cast(Images, self.body(x, torch.round(level).long()))
