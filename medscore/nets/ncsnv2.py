"""NCSNv2: an unconditional RefineNet (Song & Ermon 2020; Technique 6.3, Appendix B.4.1).

Residual blocks use InstanceNorm++; refine blocks have no normalisation and use max pooling
(Table B.8). The network is not conditioned on the noise: its output divided by sigma is the score,
so the prediction is ``{target: scaled_score}``, which does the division.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, cast

from torch import nn

from medscore.nets.normalisation import InstanceNormPlus, NoNorm
from medscore.nets.refinenet import RefineNet
from medscore.nets.refinenet_spec import RefineNetSpec
from medscore.types import Images, Times


class NCSNv2Spec(RefineNetSpec):
    """Parameters of :class:`NCSNv2`: those of :class:`~medscore.nets.refinenet_spec.RefineNetSpec`.

    Attributes:
        kind: ``ncsnv2``.
    """

    kind: Literal["ncsnv2"] = "ncsnv2"

    def build(self) -> nn.Module:
        return NCSNv2(self.image_channels, self.widths, self.dilations)


class NCSNv2(nn.Module):
    """Unconditional score network of Technique 6.3.

    Args:
        image_channels: channels of the images.
        widths: channels of each stage (:class:`~medscore.nets.refinenet_spec.RefineNetSpec`).
        dilations: dilation of each stage.
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
        """Sigma times the score of each image.

        Args:
            x: noisy images (batch, channel, H, W).
            c: condition (batch,), not used.
        """
        return cast(Images, self.body(x, c))
