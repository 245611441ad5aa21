r"""A second output of a trained network: the covariance of the clean image, from its features.

A network F(u, c) predicts the mean of x_0 given x_t. The head reads the features before its last
layer, and predicts the covariance as diagonal plus low rank (Song 2022, Theorem 4.1),

.. math:: \operatorname{Cov}[x_0 | x_t] = \frac{\sigma^2}{\alpha^2}
          \left( \operatorname{diag}(a) + \sum_k b_k b_k^T \right), \qquad
          a = \frac{m}{1 + \sum_k g_k^2}, \quad b_k = \sqrt{a}\, g_k, \quad
          m = \kappa\, e^{l + h},

so that m is the variance of each pixel, with the share :math:`\sum_k g_k^2 / (1 + \sum_k g_k^2)` of
it in the vectors. :math:`\kappa = d^2 / (d^2 + \sigma^2/\alpha^2)` is the value for white data of
the standard deviation d, as in EDM's preconditioning (Karras et al. 2022, Table 1). The level l
depends on the noise alone, h and :math:`g_k` on the features at each pixel. The head begins with
l = h = 0 and small :math:`g_k`, and m stays within a factor :math:`e^{\pm 8}` of
:math:`\kappa\, e^{l}`.

With ``blocks`` it predicts the variances v of the coefficients of blocks instead
(:mod:`medscore.uncertainty.blocks`): the means over each block of a map m of each coefficient, each
with a level l of its own.

The head has one 3 x 3 convolution in the place of the network's last layer, so it depends on no
further pixels, and a network that works in tiles still does. For a network whose last layer is not
known, the head reads the network's input and output instead, with three dilated convolutions.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from medscore.io.specs import Strict
from medscore.nets.embedding import PositionalEmbedding
from medscore.nets.output import output_of
from medscore.nets.spec import Few, Positive
from medscore.types import Images, Times
from medscore.uncertainty.blocks import COEFFICIENTS, BlockCovariance
from medscore.uncertainty.learned import LearnedCovariance
from medscore.uncertainty.low_rank import DiagonalLowRank

RANGE = 8.0
"""Largest logarithm of the variance at a pixel, relative to that of its noise level."""

REACHES = (1, 2, 4)
"""Dilations of the convolutions of a head that reads images, which sees 15 x 15 pixels."""

LEVEL = 32
"""Features of the noise level."""


class CovarianceHeadSpec(Strict):
    """Parameters of :class:`CovarianceHead`.

    Attributes:
        rank: number of vectors b_k; 0 for a diagonal covariance.
        blocks: whether the covariance is diagonal in the cosine transforms of blocks instead.
        width: channels between the features and the output.
        features: channels of the features before the network's last layer; None for a network whose
            last layer is not known.
        fold: side of the blocks of pixels that are channels of the features.
        image_channels: channels of the images.
        data_std: standard deviation of the data.
    """

    rank: int = Field(default=0, ge=0, le=64)
    blocks: bool = False
    width: Positive = 32
    features: Positive | None = None
    fold: Few = 1
    image_channels: Positive = 1
    data_std: float = Field(gt=0)

    @property
    def variances(self) -> int:
        """Maps of variances for each channel of the images."""
        return COEFFICIENTS if self.blocks else 1

    def build(self) -> CovarianceHead:
        """The untrained head, initialised with torch's global generator."""
        return CovarianceHead(self)


class CovarianceHead(nn.Module):
    """The covariance of x_0 given x_t, from the features of a network.

    Args:
        spec: parameters of the head.
    """

    def __init__(self, spec: CovarianceHeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.sha256 = ""
        """SHA-256 hash of the weights in the file that the head was loaded from."""
        known = spec.features is not None
        inputs = spec.features or 2 * spec.image_channels
        levels = spec.variances * spec.image_channels
        own = levels * spec.fold**2
        outputs = own + spec.rank * spec.image_channels * spec.fold**2
        layers = list[nn.Module]()
        for reach in (1,) if known else REACHES:
            layers += [nn.Conv2d(inputs, spec.width, 3, padding=reach, dilation=reach), nn.SiLU()]
            inputs = spec.width
        last = nn.Conv2d(spec.width, outputs, 1)
        spatial = nn.Sequential(*layers, last, nn.PixelShuffle(spec.fold))
        level = nn.Sequential(
            PositionalEmbedding(LEVEL), nn.Linear(LEVEL, LEVEL), nn.SiLU(), nn.Linear(LEVEL, levels)
        )
        with torch.no_grad():
            last.weight[:own].zero_()
            last.weight[own:] *= 0.1
            cast(Tensor, last.bias).zero_()
            cast(nn.Linear, level[-1]).weight.zero_()
            cast(Tensor, cast(nn.Linear, level[-1]).bias).zero_()
        self.network = nn.ModuleDict({"spatial": spatial, "level": level})
        """All weights of the head."""

    def forward(self, features: Tensor) -> Images:
        """The maps h and g_k of each pixel, (batch, (1 + rank) channel, H, W), or with blocks the
        maps h of each coefficient, (batch, 16 channel, H, W).

        Args:
            features: the features before the last layer, (batch, features, H / fold, W / fold); or
                input and output of the network.
        """
        return cast(Tensor, self.network["spatial"](features))

    def covariance(self, maps: Images, ratio: Times) -> LearnedCovariance:
        """The covariance of x_0 given x_t.

        Args:
            maps: the maps h and g_k.
            ratio: noise-to-signal ratio sigma / alpha of each image.
        """
        with torch.autocast(maps.device.type, enabled=False):
            return self._covariance(maps.to(ratio.dtype), ratio)

    def _covariance(self, maps: Images, ratio: Times) -> LearnedCovariance:
        spec, log_s = self.spec, torch.log(ratio)
        weights = next(self.network["level"].parameters())
        level = self.network["level"]((4 * log_s).to(weights.dtype)).to(ratio.dtype)
        white = torch.log1p((ratio / spec.data_std) ** 2)  # -log kappa
        log_scale = ((2 * log_s - white)[:, None] + level)[:, :, None, None]
        h, g = maps.tensor_split([level.shape[1]], 1)
        marginal = torch.exp(log_scale + RANGE * torch.tanh(h / RANGE))
        if spec.blocks:
            return BlockCovariance.from_maps(marginal)
        vectors = g.reshape(len(g), spec.rank, *h.shape[1:])
        diagonal = marginal / (1 + vectors.square().sum(1))
        return DiagonalLowRank(diagonal, diagonal.sqrt()[:, None] * vectors)


class WithHead(nn.Module):
    """A network and its head in one evaluation.

    Args:
        network: the network F(u, c).
        head: the head, which reads the features before the network's last layer.
    """

    def __init__(self, network: nn.Module, head: CovarianceHead) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        """The output of the network and behind it that of the head, along the channels.

        Args:
            u: images (batch, channel, H, W), with context maps if the network needs them.
            c: time variable of each image, (batch,).
        """
        layer = last_layer(self.network) if self.head.spec.features is not None else None
        if layer is None:
            output = output_of(self.network(u, c))
            images = u[:, : self.head.spec.image_channels]
            return torch.cat([output, self.head(torch.cat([images, output], 1))], dim=1)
        seen = list[Tensor]()
        watch = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            output = output_of(self.network(u, c))
        finally:
            watch.remove()
        return torch.cat([output, self.head(seen[-1]).to(output.dtype)], dim=1)


def last_layer(network: nn.Module) -> nn.Module | None:
    """The last layer of a network, if the network says which it is.

    Args:
        network: the network; not placed on a grid.
    """
    found = getattr(network, "last_layer", None)
    return found if isinstance(found, nn.Module) else None


def head_spec(
    network: nn.Module,
    channels: int,
    data_std: float,
    rank: int,
    width: int,
    *,
    blocks: bool = False,
) -> CovarianceHeadSpec:
    """The specification of a head for a network.

    Args:
        network: the network; not placed on a grid.
        channels: channels of the images.
        data_std: standard deviation of the data.
        rank: number of vectors b_k.
        width: channels between the features and the output.
        blocks: whether the covariance is diagonal in the cosine transforms of blocks.
    """
    layer = last_layer(network)
    weights = [m for m in layer.modules() if isinstance(m, nn.Conv2d)] if layer else []
    features = weights[0].in_channels if weights else None
    fold = math.isqrt(weights[0].out_channels // channels) if weights else 1
    return CovarianceHeadSpec(
        rank=rank, blocks=blocks, width=width, features=features, fold=fold,
        image_channels=channels, data_std=data_std,
    )  # fmt: skip
