"""NCSNv2: one RefineNet for every noise (Song & Ermon 2020; Technique 6.3, Appendix B.4.1).

Residual blocks normalise by InstanceNorm++; refine blocks have no normalisation and take the
maximum when they pool (Table B.8). The network is not told the noise: its output divided by sigma
is the score, so its prediction is ``{target: scaled_score}``, which does the division.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, cast

from torch import nn

from medscore.nets.normalisation import InstanceNormPlus, NoNorm
from medscore.nets.refinenet import RefineNet, RefineNetSpec
from medscore.types import Images, Times


class NCSNv2Spec(RefineNetSpec):
    """Parameters of :class:`NCSNv2`."""

    kind: Literal["ncsnv2"] = "ncsnv2"

    def build(self) -> nn.Module:
        return NCSNv2(self.image_channels, self.widths, self.dilations)


class NCSNv2(nn.Module):
    """Unconditional score network of Technique 6.3.

    Args:
        image_channels: channels of the image.
        widths, dilations: of each stage, as in :class:`~medscore.nets.refinenet.RefineNetSpec`.
    """

    def __init__(
        self, image_channels: int, widths: Sequence[int], dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.body = RefineNet(
            image_channels,
            widths,
            dilations,
            norm=InstanceNormPlus,
            refine_norm=NoNorm,
            pool=partial(nn.MaxPool2d, 5, stride=1, padding=2),
        )

    def forward(self, x: Images, c: Times) -> Images:
        """Sigma times the score. Args: x (batch, channel, H, W); c (batch,) is not used."""
        return cast(Images, self.body(x, c))
