"""RefineNet: the U-Net of NCSN and NCSNv2 (Lin et al. 2017; Appendices B.3.1 and B.4.1).

The encoder has stages of two residual blocks; each stage after the first halves the resolution, or
keeps it and uses dilated convolutions. The decoder is a cascade of refine blocks, one for each
stage, deepest first: residual convolution units on each input, multi-resolution fusion, chained
residual pooling, and more residual convolution units. Blocks are called as ``block(x, level)``, and
pass ``level`` to their normalisations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

Norm = Callable[[int], nn.Module]
"""Makes a layer of :mod:`medscore.nets.normalisation` for a number of channels."""

Pool = Callable[[], nn.Module]
"""Makes a 5 x 5 pooling layer that keeps the resolution."""


def conv3(inputs: int, outputs: int, *, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the resolution.

    Args:
        inputs: input channels.
        outputs: output channels.
        dilation: dilation of the kernel.
        bias: whether it has a bias.
    """
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=bias)


class ResBlock(nn.Module):
    """Pre-activation residual block: pool(conv(conv(x))) + shortcut(pool(x)).

    A normalisation and an ELU precede each of its two convolutions.

    Args:
        inputs: input channels.
        outputs: output channels.
        norm: makes the normalisations.
        dilation: dilation of the convolutions.
        pool: downsampling, or the identity.
        shortcut: layer of the skip connection.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Norm,
        *,
        dilation: int,
        pool: nn.Module,
        shortcut: nn.Module,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList([norm(inputs), norm(inputs)])
        self.convs = nn.ModuleList(
            [conv3(inputs, inputs, dilation=dilation), conv3(inputs, outputs, dilation=dilation)]
        )
        self.pool, self.shortcut = pool, shortcut

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(functional.elu(norm(h, level)))
        return cast(Tensor, self.pool(h) + self.shortcut(self.pool(x)))


def plain(width: int, norm: Norm, dilation: int) -> ResBlock:
    """A residual block that keeps channels and resolution.

    Args:
        width: channels.
        norm: makes the normalisations.
        dilation: dilation of the convolutions.
    """
    keep = nn.Identity()
    return ResBlock(width, width, norm, dilation=dilation, pool=keep, shortcut=keep)


def down(inputs: int, outputs: int, norm: Norm, dilation: int) -> ResBlock:
    """The first block of a later stage: averages 2 x 2 pixels, or dilates its convolutions instead.

    Args:
        inputs: input channels.
        outputs: output channels.
        norm: makes the normalisations.
        dilation: dilation of the convolutions; 1 halves the resolution.
    """
    pool: nn.Module = nn.AvgPool2d(2)
    shortcut: nn.Module = nn.Conv2d(inputs, outputs, 1)
    if dilation > 1:
        pool, shortcut = nn.Identity(), conv3(inputs, outputs, dilation=dilation)
    return ResBlock(inputs, outputs, norm, dilation=dilation, pool=pool, shortcut=shortcut)


class Chain(nn.ModuleList):
    """Blocks applied one after the other."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        for block in self:
            x = block(x, level)
        return x


class ResidualConvUnit(nn.Module):
    """x plus two convolutions of x, each preceded by a normalisation and an ELU.

    Args:
        width: channels.
        norm: makes the normalisations.
    """

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList([norm(width), norm(width)])
        self.convs = nn.ModuleList([conv3(width, width, bias=False) for _ in range(2)])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(functional.elu(norm(h, level)))
        return x + h


class Fusion(nn.Module):
    """Multi-resolution fusion: convolve each input, interpolate it to the finest grid, and add.

    Args:
        inputs: channels of each input, finest grid first.
        outputs: output channels.
        norm: makes the normalisations.
    """

    def __init__(self, inputs: Sequence[int], outputs: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList([norm(width) for width in inputs])
        self.convs = nn.ModuleList([conv3(width, outputs) for width in inputs])

    def forward(self, xs: Sequence[Tensor], level: Tensor) -> Tensor:
        grid = xs[0].shape[2:]
        adapted = (
            conv(norm(x, level)) for norm, conv, x in zip(self.norms, self.convs, xs, strict=True)
        )
        total, *rest = (
            h
            if h.shape[2:] == grid
            else functional.interpolate(h, grid, mode="bilinear", align_corners=True)
            for h in adapted
        )
        return cast(Tensor, sum(rest, start=total))


class ChainedResidualPooling(nn.Module):
    """An ELU, then the sum over a chain of two stages of pooling and convolution.

    Args:
        width: channels.
        norm: makes the normalisations.
        pool: makes the pooling layer.
    """

    def __init__(self, width: int, norm: Norm, pool: Pool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([norm(width), norm(width)])
        self.convs = nn.ModuleList([conv3(width, width, bias=False) for _ in range(2)])
        self.pool = pool()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = total = functional.elu(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(self.pool(norm(h, level)))
            total = total + h
        return total


class RefineBlock(nn.Module):
    """RefineBlock of Tables B.7 and B.8; with a conditional normalisation, CondRefineBlock.

    Args:
        inputs: channels of each input, finest grid first.
        outputs: output channels; those of the input if there is only one.
        norm: makes the normalisations.
        pool: makes the pooling layer.
        units: number of residual convolution units at the end.
    """

    def __init__(
        self, inputs: Sequence[int], outputs: int, norm: Norm, pool: Pool, *, units: int
    ) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(
            Chain(ResidualConvUnit(width, norm) for _ in range(2)) for width in inputs
        )
        self.fuse = Fusion(inputs, outputs, norm) if len(inputs) > 1 else None
        self.pooling = ChainedResidualPooling(outputs, norm, pool)
        self.output = Chain(ResidualConvUnit(outputs, norm) for _ in range(units))

    def forward(self, xs: Sequence[Tensor], level: Tensor) -> Tensor:
        hs = [adapt(x, level) for adapt, x in zip(self.adapt, xs, strict=True)]
        h = hs[0] if self.fuse is None else self.fuse(hs, level)
        return cast(Tensor, self.output(self.pooling(h, level), level))


class RefineNet(nn.Module):
    """The network of Tables B.7 and B.8.

    Args:
        image_channels: channels of the images.
        widths: channels of each stage, finest first.
        dilations: dilation of each stage (:class:`~medscore.nets.refinenet_spec.RefineNetSpec`).
        norm: makes the normalisations of the residual blocks and before the last convolution.
        refine_norm: makes the normalisations of the refine blocks.
        pool: makes the pooling layers of the refine blocks.
    """

    def __init__(
        self,
        image_channels: int,
        widths: Sequence[int],
        dilations: Sequence[int],
        *,
        norm: Norm,
        refine_norm: Norm,
        pool: Pool,
    ) -> None:
        super().__init__()
        self.first = conv3(image_channels, widths[0])
        heads = [plain(widths[0], norm, dilations[0])] + [
            down(before, width, norm, dilation)
            for before, width, dilation in zip(widths, widths[1:], dilations[1:], strict=False)
        ]
        self.stages = nn.ModuleList(
            Chain([head, plain(width, norm, dilation)])
            for head, width, dilation in zip(heads, widths, dilations, strict=True)
        )
        # a refine block outputs the channels of the stage it is fused with next
        self.refines = nn.ModuleList()
        inputs, outputs = [widths[-1]], widths[-1]
        for stage in reversed(range(len(widths))):
            if stage < len(widths) - 1:
                inputs, outputs = [widths[stage], outputs], widths[max(stage - 1, 0)]
            units = 3 if stage == 0 else 1
            self.refines.append(RefineBlock(inputs, outputs, refine_norm, pool, units=units))
        self.norm = norm(widths[0])
        self.last = conv3(widths[0], image_channels)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The output of the network, of the shape of ``x``.

        Args:
            x: images (batch, channel, H, W).
            level: argument of the normalisations, (batch,).
        """
        h, features = self.first(x), []
        for stage in self.stages:
            h = stage(h, level)
            features.append(h)
        deepest, *rest = self.refines
        h = deepest([features.pop()], level)
        for refine in rest:
            h = refine([features.pop(), h], level)
        return cast(Tensor, self.last(functional.elu(self.norm(h, level))))
