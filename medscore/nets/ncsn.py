"""NCSN: a RefineNet told the number of the noise scale (Song & Ermon 2019; Appendix B.3.1).

Normalisations everywhere are CondInstanceNorm++, with parameters of their own per noise scale, and
refine blocks pool by averaging (Table B.7). The output is the score itself, so its prediction is
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
from medscore.nets.refinenet import RefineNet, RefineNetSpec
from medscore.types import Images, Times


class NCSNSpec(RefineNetSpec):
    """Parameters of :class:`NCSN`; ``levels`` is L, how many noise scales it is trained on."""

    kind: Literal["ncsn"] = "ncsn"
    levels: int = Field(10, gt=1)

    def build(self) -> nn.Module:
        return NCSN(self.image_channels, self.widths, self.dilations, levels=self.levels)


class NCSN(nn.Module):
    """Noise conditional score network.

    Args:
        image_channels: channels of the image.
        widths, dilations: of each stage, as in :class:`~medscore.nets.refinenet.RefineNetSpec`.
        levels: noise scales.
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
            x: (batch, channel, H, W).
            level: (batch,), the number of the noise scale, 0 for the least noise; between two
                scales the nearer one's parameters are used.

        Raises:
            IndexError: (CPU) a level that rounds to none of the scales.
        """
        return cast(Images, self.body(x, torch.round(level).long()))
